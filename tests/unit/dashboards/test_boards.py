"""Boards and rules as files: what is read of them, and what is refused at the start, by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from dashboards.viewer.boards import BoardError, load
from dashboards.viewer.macros import ALL
from dashboards.viewer.pages import rendered
from dashboards.viewer.rules import RulesError, found
from dashboards.viewer.rules import load as load_rules


def panel(id: int = 1, sql: str = "SELECT 1", **more: Any) -> dict[str, Any]:
    return {"id": id, "type": "stat", "title": "Runs", "targets": [{"refId": "A", "rawSql": sql}], **more}


def written(directory: Path, uid: str = "fleet", **more: Any) -> Path:
    document = {"uid": uid, "title": uid.title(), "panels": [panel()], **more}
    (directory / f"{uid}.json").write_text(json.dumps(document))
    return directory


def test_the_order_is_the_menus(tmp_path: Path) -> None:
    for uid in ("zoo", "agent", "storage", "fleet", "another"):
        written(tmp_path, uid)
    assert list(load(tmp_path)) == ["fleet", "agent", "storage", "another", "zoo"]


def test_panels_of_a_folded_row_are_found(tmp_path: Path) -> None:
    row = {"id": 5, "type": "row", "title": "More", "panels": [panel(6)]}
    board = load(written(tmp_path, panels=[panel(), row]))["fleet"]
    assert {id: list(targets) for id, targets in board.queries.items()} == {1: ["A"], 5: [], 6: ["A"]}


def test_variables_and_their_defaults(tmp_path: Path) -> None:
    given = [
        {"name": "agent", "type": "query", "query": "SELECT 1", "multi": True, "includeAll": True},
        {"name": "kind", "type": "query", "query": {"rawSql": "SELECT 2"}, "current": {"value": ["agent"]}},
        {"name": "interval", "type": "custom", "options": [{"value": "0"}, {"value": "60"}]},
        {"name": "run_id", "type": "textbox"},
        {"name": "phoenix_url", "type": "constant", "query": "http://old", "hide": 2},
    ]
    board = load(written(tmp_path, templating={"list": given}))["fleet"]
    assert {name: variable.default for name, variable in board.variables.items()} == {
        "agent": (ALL,),
        "kind": ("agent",),
        "interval": ("0",),
        "run_id": ("",),
        "phoenix_url": ("",),
    }
    assert list(board.choices) == ["agent", "kind"]
    shown = board.with_constants({"phoenix_url": "http://new"})["templating"]["list"][-1]
    assert shown["query"] == "http://new" and shown["current"] == {"text": "http://new", "value": "http://new"}
    assert board.document["templating"]["list"][-1]["query"] == "http://old"


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"panels": [panel(sql="SELECT $__nope(1)")]}, r"fleet.json: panel 1 \(Runs\), A: \$__nope"),
        ({"panels": [panel(), panel()]}, "another panel has this id"),
        ({"panels": [panel(type="gauge")]}, "draws no gauge"),
        ({"panels": [{"id": 1, "type": "stat", "targets": [{"refId": "A"}]}]}, "KeyError: 'rawSql'"),
        ({"panels": 5}, "no dashboard"),
        ({"templating": {"list": [{"name": "x", "type": "interval"}]}}, "variable x: the page knows no interval"),
        ({"templating": {"list": [{"name": "x", "type": "query", "query": "$y"}]}}, "variable x: .*no such variable"),
        ({"uid": "other"}, "its uid is other"),
    ],
)
def test_what_cannot_be_drawn_is_named(tmp_path: Path, more: dict[str, Any], why: str) -> None:
    written(tmp_path, **{"uid": "fleet", **more})
    path = next(tmp_path.glob("*.json"))
    path.rename(tmp_path / "fleet.json")
    with pytest.raises(BoardError, match=why):
        load(tmp_path)


RULE = {
    "name": "TooSlow",
    "title": "Too slow",
    "group": "agents",
    "severity": "warning",
    "sql": "SELECT 1",
    "labels": ["agent_id"],
    "for_seconds": 0,
    "unit": "s",
    "summary": "{agent_id}: p95 {value} over {objective}",
    "description": "",
    "board": "agent",
    "runbook": "docs/alerts.md#tooslow",
}


def rules_file(directory: Path, *rules: dict[str, Any]) -> Path:
    path = directory / "alerts.json"
    path.write_text(json.dumps(rules))
    return path


def test_rules_that_cannot_be_evaluated_are_refused(tmp_path: Path) -> None:
    assert load_rules(tmp_path / "none.json") == ()
    for wrong in (
        [{**RULE, "summary": "{nobody}"}],
        [{**RULE, "summary": "{agent_id.__class__}"}],
        [{**RULE, "severity": "loud"}],
        [{key: value for key, value in RULE.items() if key != "sql"}],
        [RULE, RULE],
    ):
        with pytest.raises(RulesError, match=r"alerts\.json"):
            load_rules(rules_file(tmp_path, *wrong))


def test_of_an_instances_rows_the_worst_counts_and_no_value_is_no_breach(tmp_path: Path) -> None:
    (rule,) = load_rules(rules_file(tmp_path, RULE))
    names = ("agent_id", "value", "objective", "trace_id")
    rows = [["a", 40, 30, "t1"], ["a", 45, 30, "t2"], ["b", None, 30, ""], ["c", 3, None, ""], ["{d}", 1, 30, ""]]
    instances = found(rule, {"meta": [{"name": name} for name in names], "data": rows})
    assert [(one.labels["agent_id"], one.is_over, one.trace_id) for one in instances.values()] == [
        ("a", True, "t2"),
        ("{d}", False, ""),
    ]
    assert instances['{"agent_id": "a"}'].summary == "a: p95 45 s over 30 s"


def test_the_runbooks_headings_can_be_linked_to() -> None:
    html = rendered(
        "# Alerts\n\n## TooSlow\n\nSee `x`.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n<script>alert(1)</script>"
    )
    assert '<h2 id="tooslow">TooSlow</h2>' in html
    assert "<table>" in html and "<script>" not in html
