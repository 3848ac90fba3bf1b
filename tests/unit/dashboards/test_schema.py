"""Grafana's schema: what it takes, and what it refuses. All broken boards are compiled at once: it takes seconds."""

import json
from collections.abc import Callable
from typing import Any

from tests.unit.dashboards.boards import boards
from tests.validators import schema


def part(board: Any, kind: str) -> Any:
    return next(panel for panel in board["panels"] if panel["type"] == kind)


def defaults(board: Any) -> Any:
    return part(board, "stat")["fieldConfig"]["defaults"]


def override(name: str, value: object) -> Callable[[Any], object]:
    return lambda b: part(b, "table")["fieldConfig"]["overrides"][0]["properties"].append({"id": name, "value": value})


BROKEN: dict[str, tuple[Callable[[Any], object], str]] = {
    "dashboard": (lambda b: b.update(refreshEvery="1m"), "'\"refreshEvery\"' does not exist"),
    "panel": (lambda b: part(b, "stat").update(titel="Runs"), "'\"titel\"' does not exist"),
    "kind": (lambda b: part(b, "stat").update(type="number"), "not assignable"),
    "unit": (lambda b: defaults(b).update(units="s"), "'\"units\"' does not exist"),
    "decimals": (lambda b: defaults(b).update(decimals="2"), "'string' is not assignable to type 'number'"),
    "colour": (lambda b: defaults(b)["color"].update(mode="threshold"), "Did you mean '\"thresholds\"'?"),
    "threshold": (lambda b: defaults(b)["thresholds"]["steps"][0].update(value="0"), "not assignable"),
    "option": (lambda b: part(b, "stat")["options"].update(graph="none"), "'\"graph\"' does not exist"),
    "value": (lambda b: part(b, "stat")["options"].update(graphMode="line chart"), "not assignable"),
    "legend": (lambda b: part(b, "timeseries")["options"]["legend"].update(displayMode="row"), "not assignable"),
    "override": (override("custom.widht", 3), "not assignable"),
    "width": (override("custom.width", "3"), "not assignable"),
    "query": (lambda b: part(b, "stat")["targets"][0].update(sql="SELECT 1"), "'\"sql\"' does not exist"),
    "format": (lambda b: part(b, "stat")["targets"][0].update(format=4), "not assignable"),
    "grid": (lambda b: part(b, "stat")["gridPos"].pop("w"), "'w' is missing"),
    "variable": (lambda b: b["templating"]["list"].append({"name": "a", "type": "query", "multy": True}), "multy"),
    "annotation": (lambda b: b["annotations"]["list"].append({"name": "Reloads"}), "missing the following"),
}


def test_good_boards_pass_and_each_mistake_is_said() -> None:
    texts = {}
    for name, (breaks, _) in BROKEN.items():
        broken = boards()["fleet"]
        breaks(broken)
        texts[name] = json.dumps(broken, indent=2)
    good = {f"good-{uid}": json.dumps(board, indent=2) for uid, board in boards().items()}
    found = schema.problems({**texts, **good})
    assert {problem.split(".json")[0] for problem in found} == set(BROKEN)
    for name, (_, what) in BROKEN.items():
        assert what in "\n".join(problem for problem in found if problem.startswith(f"{name}.json"))


def test_the_line_is_the_file_s() -> None:
    board = boards()["fleet"]
    board["refreshEvery"] = "1m"
    text = json.dumps(board, indent=2)
    line = next(number for number, each in enumerate(text.splitlines(), 1) if "refreshEvery" in each)
    (problem,) = schema.problems({"fleet": text})
    assert problem.startswith(f"fleet.json, line {line}: ")
