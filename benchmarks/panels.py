"""The dashboards' panels, asked as the page asks them: over each dashboard's own range, as the read-only user."""

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from dashboards.viewer import timerange
from dashboards.viewer.boards import Board, load
from dashboards.viewer.macros import Values
from dashboards.viewer.queries import PANEL, ClickHouse

AT_ONCE = 6  # as a browser asks one host
_ROLLUP = re.compile(r"\boperations\(")


def panels(
    values: Mapping[str, str], now: int | None = None, *, only: str = ""
) -> Iterator[tuple[str, str, dict[str, str]]]:
    """`dashboard: panel`, its SQL and its parameters; with `(rollup)` when it reads the rollups.

    `values`: of the variables that have no default (an agent, a run). `now`: the end of the range, in milliseconds.
    `only`: of this dashboard, else of all.
    """
    for board in load().values():
        if only not in ("", board.uid):
            continue
        title = {panel["id"]: panel["title"] for panel in board.document["panels"]}
        for number, targets in board.queries.items():
            for query in targets.values():
                sql, parameters = query.expand(chosen(board, values, now))
                kind = " (rollup)" if _ROLLUP.search(sql) else ""
                yield f"{board.uid}: {title[number]}{kind}", sql, parameters


def chosen(board: Board, values: Mapping[str, str], now: int | None = None) -> Values:
    span = board.document["time"]
    range = timerange.parse(span["from"], span["to"])
    if now is not None:
        range = timerange.Range(now - (range.end - range.start), now)
    variables = {
        name: (values[name],) if name in values and variable.default == ("",) else variable.default
        for name, variable in board.variables.items()
    }
    return Values(range, timerange.interval(None, range), variables)


def page(clickhouse: ClickHouse, uid: str, values: Mapping[str, str]) -> None:
    """Everything that opening a dashboard asks for: its variables, then its panels, some at once."""
    board = load()[uid]
    asked = chosen(board, values)
    queries = [*board.choices.values(), *board.annotations]
    queries += [query for targets in board.queries.values() for query in targets.values()]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for answer in [threads.submit(clickhouse.query, *query.expand(asked), PANEL) for query in queries]:
            answer.result()
