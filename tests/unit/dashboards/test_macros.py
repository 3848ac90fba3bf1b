"""Grafana's macros and variables: what SQL becomes of them, and what is refused when a board is loaded."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.viewer.macros import ALL, MacroError, Values, Variable, parse
from dashboards.viewer.timerange import Range

VARIABLES = {
    "agent": Variable("agent", "query", multi=True, include_all=True, default=(ALL,)),
    "run_id": Variable("run_id", "textbox"),
    "interval": Variable("interval", "custom", options=("0", "60"), default=("0",)),
    "status": Variable("status", "custom", options=("ok", "failed"), default=("ok",)),
}


def expand(sql: str, **chosen: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    variables = {name: variable.default for name, variable in VARIABLES.items()} | chosen
    return parse(sql, VARIABLES).expand(Values(Range(1_700_000_000_123, 1_700_003_600_999), 30, variables))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("SELECT 1;", "SELECT 1"),
        ("$__timeFilter(t)", "t >= toDateTime(1700000000) AND t <= toDateTime(1700003600)"),
        (
            "$__timeFilter(toDateTime(a, ')'))",
            "toDateTime(a, ')') >= toDateTime(1700000000) AND toDateTime(a, ')') <= toDateTime(1700003600)",
        ),
        (
            "$__timeFilter_ms(t)",
            "t >= fromUnixTimestamp64Milli(1700000000123) AND t <= fromUnixTimestamp64Milli(1700003600999)",
        ),
        ("$__fromTime, $__toTime", "toDateTime(1700000000), toDateTime(1700003600)"),
        ("$__timeInterval(t) AS time", "toStartOfInterval(toDateTime(t), INTERVAL 30 second) AS time"),
        ("count() / $__interval_s", "count() / 30"),
        ("INTERVAL $interval second", "INTERVAL 30 second"),
        ("match(name, '^a$') AND b = '$1'", "match(name, '^a$') AND b = '$1'"),
        ("$__conditionalAll(agent_id IN (${agent:singlequote}), $agent)", "1=1"),
    ],
)
def test_macros(written: str, expected: str) -> None:
    assert expand(written) == (expected, {})


def test_values_are_bound() -> None:
    sql = "$__conditionalAll(agent_id IN (${agent:singlequote}), $agent) AND run_id = ${run_id:singlequote}"
    assert expand(sql, agent=("a", "it's"), run_id=("r",)) == (
        "agent_id IN ({agent_0:String}, {agent_1:String}) AND run_id = {run_id_0:String}",
        {"agent_0": "a", "agent_1": "it's", "run_id_0": "r"},
    )


def test_a_condition_may_hold_macros_and_commas() -> None:
    sql = "$__conditionalAll(f(a, ${agent:singlequote}) AND $__timeFilter(t), ${agent})"
    expanded, _ = expand(sql, agent=("x",))
    assert expanded == "f(a, {agent_0:String}) AND t >= toDateTime(1700000000) AND t <= toDateTime(1700003600)"


def test_a_chosen_interval_wins() -> None:
    assert expand("$interval", interval=("60",)) == ("60", {})


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "no SQL"),
        ("$__timeGroup(t)", "no such macro"),
        ("$__timeFilter", "no such macro"),
        ("$__timeFilter()", "no such macro"),
        ("$__timeFilter(t", "not closed"),
        ("$nobody", "no such variable"),
        ("${nobody:singlequote}", "no such variable"),
        ("${run_id}", "write ${run_id:singlequote}"),
        ("$run_id", "write ${run_id:singlequote}"),
        ("${run_id:csv}", "write ${run_id:singlequote}"),
        ("${status}", "write ${status:singlequote}"),
        ("[[run_id]]", "write ${name}"),
        ("IN (${agent:singlequote})", "belongs into $__conditionalAll"),
        ("$__conditionalAll(a = 1, $run)", "a condition, a comma and a variable"),
        ("$__conditionalAll($agent)", "a condition, a comma and a variable"),
        ("x = {run_id_0:String}", "made here"),
    ],
)
def test_what_is_not_known_is_an_error_at_load(written: str, why: str) -> None:
    with pytest.raises(MacroError, match=re.escape(why)):
        parse(written, VARIABLES)


@given(values=st.lists(st.text(min_size=1), min_size=1, max_size=5), run=st.text())
def test_whatever_is_given_the_sql_is_the_same(values: list[str], run: str) -> None:
    sql = "$__conditionalAll(agent_id IN (${agent:singlequote}), $agent) AND run_id = ${run_id:singlequote}"
    expanded, parameters = expand(sql, agent=tuple(values), run_id=(run,))
    if ALL not in values:
        places = ", ".join(f"{{agent_{number}:String}}" for number in range(len(values)))
        assert expanded == f"agent_id IN ({places}) AND run_id = {{run_id_0:String}}"
        assert list(parameters.values()) == [*values, run]
