"""What a dashboard of ours must have beyond Grafana's schema. `problems` says each as a line.

The rules of Grafana's dashboard-linter that are not about PromQL (a title, a description, units, targets, not editable)
are among them; it has no rules for ClickHouse. Its rule that the datasource is a variable is not followed: datasources
are provisioned with fixed uids, and a variable would be a choice that nobody has.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

Board = Mapping[str, Any]

COLUMNS = 24
FORMATS = {"timeseries": {0}, "heatmap": {0}, "stat": {0, 1}, "table": {1}, "bargauge": {1}, "logs": {2}, "traces": {3}}
QUERY_TYPES = ("timeseries", "table", "logs", "traces")
UNITLESS = {"table", "logs", "traces"}  # a table's columns have units of their own
PHOENIX_AND_RUNTIME = {"phoenix_url", "runtime_url"}  # on every board, used or not: the page puts its settings in them

# Of the ClickHouse plugin's macros (4.20) those that the page expands, too; the plugin leaves what it does not know.
MACROS = {"timeFilter", "timeFilter_ms", "fromTime", "toTime", "timeInterval", "interval_s", "conditionalAll"}

_VARIABLE = re.compile(r"\$\{?([a-zA-Z_]\w*)")
_BOARD = re.compile(r"^/d/([^/?]+)(?:/[^?]*)?(?:\?(.*))?$")


def problems(boards: Mapping[str, Board]) -> list[str]:
    """`boards` by their uid, all of them: links go from one to the other."""
    found = []
    for uid, board in boards.items():
        rules = (_board(uid, board), _layout(board), _variables(board), _links(board, boards))
        found += [f"{uid}: {problem}" for rule in rules for problem in rule]
        for panel in panels(board):
            found += [f"{uid}, {panel.get('title') or panel.get('id')}: {problem}" for problem in _panel(panel)]
    return found


def panels(board: Board) -> Iterator[Mapping[str, Any]]:
    """All but rows, those in collapsed rows too."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels", ())
        else:
            yield panel


def unseen(boards: Iterable[Board], instruments: Iterable[str], reasons: Mapping[str, str]) -> list[str]:
    """Instruments that no query names and no reason excuses; and reasons that excuse nothing."""
    text = "\n".join(value for board in boards for value in _texts(board, "rawSql"))
    seen = {name for name in instruments if re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", text)}
    idle = reasons.keys() - (set(instruments) - seen)
    return [f"{name} is on no panel" for name in instruments if name not in seen and not reasons.get(name)] + [
        f"{name} is excused, and is seen or no instrument" for name in sorted(idle)
    ]


def unknown(board: Board, instruments: Iterable[str]) -> list[str]:
    """Names that a query compares MetricName with, and that are no instrument of ours."""
    text = "\n".join(_texts(board, "rawSql"))
    named = re.findall(r"MetricName\s*=\s*'([^']*)'", text)
    for several in re.findall(r"MetricName\s+IN\s*\(([^)]*)\)", text):
        named += re.findall(r"'([^']*)'", several)
    return sorted({name for name in named if name.startswith(("agno.", "gen_ai."))} - set(instruments))


def _board(uid: str, board: Board) -> Iterator[str]:
    if board.get("uid") != uid:
        yield f"its uid is {board.get('uid')!r}"
    for key in ("title", "description", "tags", "timezone", "time"):
        if not board.get(key):
            yield f"has no {key}"
    if board.get("editable") is not False:
        yield "is editable, though it comes from a file"
    if board.get("id") is not None:
        yield "has an id, which is the one of some Grafana"
    if board.get("schemaVersion", 0) < 39:
        yield "its schemaVersion is below 39"
    macros = {name for sql in _texts(board, "rawSql") for name in re.findall(r"\$__(\w+)", sql)}
    yield from (f"uses the macro $__{name}, which is none" for name in sorted(macros - MACROS))
    ids = Counter(panel.get("id") for panel in [*panels(board), *(p for p in board["panels"] if p["type"] == "row")])
    yield from (f"the panel id {number} is there twice" for number, times in ids.items() if times > 1)


def _panel(panel: Mapping[str, Any]) -> Iterator[str]:
    kind, defaults = panel["type"], panel.get("fieldConfig", {}).get("defaults", {})
    for key in ("title", "description", "id"):
        if not panel.get(key):
            yield f"has no {key}"
    if kind == "text":
        return
    if kind not in FORMATS:
        yield f"the page does not draw {kind}"
        return
    if kind not in UNITLESS and not defaults.get("unit"):
        yield "has no unit"
    if not defaults.get("noValue"):
        yield "has no noValue, so it is blank without data"
    steps = [step["value"] for step in defaults.get("thresholds", {}).get("steps", [])]
    if steps and (steps[0] is not None or any(b is None or (a is not None and a >= b) for a, b in pairwise(steps))):
        yield f"its thresholds {steps} do not begin with null and rise"
    yield from _targets(panel, kind)
    yield from _overrides(panel, defaults)


def _targets(panel: Mapping[str, Any], kind: str) -> Iterator[str]:
    targets = panel.get("targets", [])
    if not targets:
        yield "has no query"
    if len({target.get("refId") for target in targets}) < len(targets):
        yield "has two queries of one refId"
    for each in (panel, *targets):
        if each.get("datasource", {}).get("uid") != "clickhouse":
            yield f"its datasource is {each.get('datasource')}"
    for target in targets:
        if not target.get("rawSql", "").strip():
            yield "has an empty query"
        if target.get("format") not in FORMATS[kind]:
            yield f"the format {target.get('format')} is not one for {kind}"
        elif target.get("queryType") != QUERY_TYPES[target["format"]]:
            yield f"the queryType {target.get('queryType')} is not that of format {target['format']}"


def _overrides(panel: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[str]:
    """An override of a column that no query has does nothing, and nobody notices."""
    if "__field.labels" in defaults.get("displayName", ""):
        return  # series are named by values
    sql = "\n".join(target.get("rawSql", "") for target in panel.get("targets", []))
    for override in panel.get("fieldConfig", {}).get("overrides", []):
        name = override["matcher"].get("options", "")
        if override["matcher"]["id"] == "byName" and not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", sql):
            yield f"overrides {name!r}, which its query does not have"


def _layout(board: Board) -> Iterator[str]:
    """Every cell of the grid down to the last panel is covered, once."""
    covered: Counter[tuple[int, int]] = Counter()
    for panel in board["panels"]:
        at = panel.get("gridPos")
        if at is None or at["x"] < 0 or at["y"] < 0 or at["w"] < 1 or at["h"] < 1 or at["x"] + at["w"] > COLUMNS:
            yield f"{panel.get('title')} has no place in the grid: {at}"
            return
        covered.update((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"]))
    twice = {y for (x, y), times in covered.items() if times > 1}
    height = max((y for x, y in covered), default=-1) + 1
    empty = {y for y in range(height) for x in range(COLUMNS) if not covered[x, y]}
    if twice:
        yield f"panels overlap at y={min(twice)}"
    if empty:
        yield f"there is a gap at y={min(empty)}"


def _variables(board: Board) -> Iterator[str]:
    variables = board.get("templating", {}).get("list", [])
    declared = [variable["name"] for variable in variables]
    yield from (f"the variable {name} is declared twice" for name, times in Counter(declared).items() if times > 1)
    elsewhere = [board["panels"], board.get("annotations"), board.get("links"), [v.get("query") for v in variables]]
    used = {name for text in _texts(elsewhere) for name in _VARIABLE.findall(text) if not name.startswith("__")}
    yield from (f"uses the variable {name}, which is not declared" for name in sorted(used - set(declared)))
    unused = set(declared) - used - PHOENIX_AND_RUNTIME
    yield from (f"declares the variable {name}, which nothing uses" for name in sorted(unused))


def _links(board: Board, boards: Mapping[str, Board]) -> Iterator[str]:
    for url in _texts(board, "url"):
        match = _BOARD.match(url)
        if match is None:
            if not url.startswith(("http://", "https://", "${phoenix_url}", "${runtime_url}")):
                yield f"the link {url} goes nowhere"
            continue
        uid, query = match[1], match[2] or ""
        if uid not in boards:
            yield f"the link {url} goes to no board"
            continue
        known = {variable["name"] for variable in boards[uid].get("templating", {}).get("list", [])}
        wanted = set(re.findall(r"(?:^|&)var-(\w+)=", query)) | set(re.findall(r"\$\{(\w+):queryparam\}", query))
        yield from (
            f"the link {url} gives {uid} the variable {name}, which it has not" for name in sorted(wanted - known)
        )


def _texts(value: Any, key: str | None = None, *, under: bool = False) -> Iterator[str]:
    """Every text in it, or every text under `key`."""
    if isinstance(value, str):
        if key is None or under:
            yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(item, key, under=name == key)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item, key, under=under)
