"""The linter of dashboards: each rule has a board that breaks it."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.dashboards.boards import boards, panel
from tests.validators import lint

Boards = dict[str, Any]
BROKEN: dict[str, Callable[[Boards], object]] = {
    "its uid is 'fleets'": lambda b: b["fleet"].update(uid="fleets"),
    "has no title": lambda b: b["fleet"].update(title=""),
    "has no tags": lambda b: b["fleet"].update(tags=[]),
    "is editable": lambda b: b["fleet"].pop("editable"),
    "has an id": lambda b: b["fleet"].update(id=3),
    "schemaVersion is below": lambda b: b["fleet"].update(schemaVersion=38),
    "the panel id 1 is there twice": lambda b: b["fleet"]["panels"][1].update(id=1),
    "Panel 1: has no description": lambda b: first(b).pop("description"),
    "fleet, 1: has no title": lambda b: first(b).pop("title"),
    "has no unit": lambda b: defaults(b).pop("unit"),
    "has no noValue": lambda b: defaults(b).pop("noValue"),
    "do not begin with null": lambda b: defaults(b)["thresholds"]["steps"].pop(0),
    "and rise": lambda b: defaults(b)["thresholds"]["steps"].append({"value": 9, "color": "red"}),
    "the page does not draw gauge": lambda b: first(b).update(type="gauge"),
    "has no query": lambda b: first(b).update(targets=[]),
    "has two queries of one refId": lambda b: first(b)["targets"].append(first(b)["targets"][0]),
    "its datasource is {'uid': 'prometheus'}": lambda b: first(b).update(datasource={"uid": "prometheus"}),
    "its datasource is {}": lambda b: first(b)["targets"][0].update(datasource={}),
    "has an empty query": lambda b: first(b)["targets"][0].update(rawSql=" "),
    "uses the macro $__timeFilters": lambda b: first(b)["targets"][0].update(rawSql="SELECT 1 WHERE $__timeFilters(a)"),
    "the format 3 is not one for stat": lambda b: first(b)["targets"][0].update(format=3),
    "the queryType logs": lambda b: first(b)["targets"][0].update(queryType="logs"),
    "overrides 'agent_id', which": lambda b: b["fleet"]["panels"][2]["targets"][0].update(rawSql="SELECT agents_id"),
    "panels overlap at y=0": lambda b: first(b)["gridPos"].update(w=9),
    "there is a gap at y=3": lambda b: first(b)["gridPos"].update(h=3),
    "has no place in the grid": lambda b: first(b)["gridPos"].update(x=20),
    "uses the variable kind": lambda b: first(b)["targets"][0].update(rawSql="SELECT $kind"),
    "declares the variable kind": lambda b: b["agent"]["templating"]["list"].append({"name": "kind"}),
    "the variable agent is declared twice": lambda b: b["agent"]["templating"]["list"].append({"name": "agent"}),
    "goes to no board": lambda b: link(b).update(url="/d/agents?${__url_time_range}"),
    "goes nowhere": lambda b: link(b).update(url="d/agent"),
    "gives agent the variable agent_id": lambda b: link(b).update(url="/d/agent?var-agent_id=${__value.raw}"),
    "gives fleet the variable agent": lambda b: link(b).update(url="/d/fleet?${agent:queryparam}"),
}


def first(b: Boards) -> Any:
    return b["fleet"]["panels"][0]


def defaults(b: Boards) -> Any:
    return first(b)["fieldConfig"]["defaults"]


def link(b: Boards) -> Any:
    return b["fleet"]["panels"][2]["fieldConfig"]["overrides"][0]["properties"][0]["value"][0]


def test_boards_in_which_all_is_right_pass() -> None:
    assert lint.problems(boards()) == []


@pytest.mark.parametrize("problem", BROKEN)
def test_what_breaks_a_rule_is_said(problem: str) -> None:
    broken = boards()
    BROKEN[problem](broken)
    assert problem in "\n".join(lint.problems(broken))


def test_a_panel_in_a_collapsed_row_is_looked_at_too() -> None:
    found = boards()
    inner = panel(8, "stat", "SELECT 1", 1, (0, 13, 24, 4), description="")
    place = {"x": 0, "y": 12, "w": 24, "h": 1}
    found["fleet"]["panels"].append({"id": 7, "type": "row", "collapsed": True, "gridPos": place, "panels": [inner]})
    assert lint.problems(found) == ["fleet, Panel 8: has no description"]


def test_instruments_are_seen_or_excused() -> None:
    found = boards()
    first(found)["targets"][0]["rawSql"] = "SELECT 1 WHERE MetricName = 'agno.queue.wait'"
    instruments = ("agno.queue.wait", "agno.queue", "agno.agent.runs")
    assert lint.unseen(found.values(), instruments, {"agno.queue": "not of interest"}) == [
        "agno.agent.runs is on no panel"
    ]
    assert lint.unseen(found.values(), instruments[:1], {"agno.queue.wait": "seen now", "agno.gone": "x"}) == [
        "agno.gone is excused, and is seen or no instrument",
        "agno.queue.wait is excused, and is seen or no instrument",
    ]


def test_an_instrument_that_is_none_is_found() -> None:
    found = boards()["fleet"]
    sql = "SELECT 1 WHERE MetricName = 'agno.queue.waits' OR MetricName IN ('agno.agent.runs', 'gen_ai.gone')"
    found["panels"][0]["targets"][0]["rawSql"] = sql
    assert lint.unknown(found, ["agno.agent.runs"]) == ["agno.queue.waits", "gen_ai.gone"]
