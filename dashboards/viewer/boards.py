"""The committed dashboards, read and checked once: what cannot be drawn is an error at the start."""

import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dashboards.viewer import macros
from dashboards.viewer.macros import ALL, MacroError, Query, Variable

GENERATED = Path(__file__).resolve().parents[1] / "grafana" / "dashboards"
ORDER = ("fleet", "agent", "pipeline", "models", "tools", "run", "storage")
PANELS = frozenset({"timeseries", "stat", "table", "bargauge", "heatmap", "traces", "logs", "row", "text"})


class BoardError(ValueError):
    """A file is not a dashboard that this page can draw."""


@dataclass(frozen=True)
class Board:
    """`queries`: of each panel (by id) its targets (by refId). `choices`: the queries of variables."""

    uid: str
    title: str
    description: str
    document: Mapping[str, Any]
    variables: Mapping[str, Variable]
    choices: Mapping[str, Query]
    queries: Mapping[int, Mapping[str, Query]]
    annotations: tuple[Query, ...]

    def with_constants(self, constants: Mapping[str, str]) -> dict[str, Any]:
        """The document with the page's own addresses in its constant variables."""
        document: dict[str, Any] = deepcopy(dict(self.document))
        for variable in _variables(document):
            if variable["type"] == "constant" and variable["name"] in constants:
                value = constants[variable["name"]]
                variable |= {"query": value, "current": {"text": value, "value": value}}
        return document


def load(directory: Path = GENERATED) -> dict[str, Board]:
    """By uid, in the order of the page's menu. Raises BoardError, which names file, panel and query."""
    found: dict[str, Board] = {}
    for path in sorted(directory.glob("*.json")):
        try:
            board = _board(json.loads(path.read_text()))
            if board.uid != path.stem:
                raise BoardError(f"its uid is {board.uid}")
        except (BoardError, json.JSONDecodeError) as error:
            raise BoardError(f"{path.name}: {error}") from error
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise BoardError(f"{path.name} is no dashboard: {type(error).__name__}: {error}") from error
        found[board.uid] = board
    places = {uid: place for place, uid in enumerate(ORDER)}
    return dict(sorted(found.items(), key=lambda item: (places.get(item[0], len(places)), item[0])))


def _board(document: dict[str, Any]) -> Board:
    variables = {variable.name: variable for variable in map(_variable, _variables(document))}
    queries: dict[int, dict[str, Query]] = {}
    for panel in _panels(document["panels"]):
        place = f"panel {panel['id']} ({panel.get('title', '')})"
        if panel["type"] not in PANELS:
            raise BoardError(f"{place}: the page draws no {panel['type']}")
        if panel["id"] in queries:
            raise BoardError(f"{place}: another panel has this id")
        queries[panel["id"]] = {
            target["refId"]: _query(f"{place}, {target['refId']}", target["rawSql"], variables)
            for target in panel.get("targets", [])
        }
    return Board(
        uid=document["uid"],
        title=document["title"],
        description=document.get("description", ""),
        document=document,
        variables=variables,
        choices={
            one["name"]: _query(f"variable {one['name']}", _sql(one["query"]), variables)
            for one in _variables(document)
            if one["type"] == "query"
        },
        queries=queries,
        annotations=tuple(
            _query(f"annotation {one['name']}", sql, variables)
            for one in document.get("annotations", {}).get("list", [])
            if (sql := _sql(one.get("target", one)))
        ),
    )


def _variables(document: dict[str, Any]) -> list[dict[str, Any]]:
    variables: list[dict[str, Any]] = document.get("templating", {}).get("list", [])
    return variables


def _panels(panels: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Also those within a row that is folded."""
    for panel in panels:
        yield panel
        yield from _panels(panel.get("panels") or [])


def _variable(given: dict[str, Any]) -> Variable:
    kind, include_all = given["type"], bool(given.get("includeAll"))
    if kind not in ("query", "custom", "textbox", "constant"):
        raise BoardError(f"variable {given['name']}: the page knows no {kind}")
    options = tuple(str(option["value"]) for option in given.get("options", [])) if kind == "custom" else ()
    current = (given.get("current") or {}).get("value")
    if current in (None, [], "") and kind == "custom":
        current = options[0]
    default = tuple(map(str, current)) if isinstance(current, list) else (str(current or ""),)
    if include_all and (ALL in default or default in ((), ("",))):
        default = (ALL,)
    return Variable(given["name"], kind, bool(given.get("multi")), include_all, options, default or ("",))


def _query(place: str, sql: str, variables: Mapping[str, Variable]) -> Query:
    try:
        return macros.parse(sql, variables)
    except MacroError as error:
        raise BoardError(f"{place}: {error}") from error


def _sql(query: Any) -> str:
    """The plugin writes a query as text, or as an object."""
    sql = query.get("rawSql", "") if isinstance(query, dict) else query
    return str(sql)
