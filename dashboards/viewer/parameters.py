"""What a request chose: its query parameters, checked against the variables of the board."""

from collections.abc import Mapping

from starlette.datastructures import QueryParams

from dashboards.viewer import timerange
from dashboards.viewer.boards import Board
from dashboards.viewer.macros import ALL, Values, Variable
from dashboards.viewer.problems import Problem

MOST_VALUES = 500  # of one variable; whoever wants more wants all
MOST_CHARACTERS = 20_000  # of all values: they go to ClickHouse in the address
PREFIX = "var-"


def values(board: Board, given: QueryParams, constants: Mapping[str, str]) -> Values:
    """Raises a Problem (400) that names the parameter."""
    known = {"from", "to", "interval"}
    open_to_clients = {name for name, variable in board.variables.items() if variable.kind != "constant"}
    for name in given:
        if name not in known and not (name.startswith(PREFIX) and name.removeprefix(PREFIX) in open_to_clients):
            raise _bad(name, f"{board.uid} has no such parameter")
        if name in known and len(given.getlist(name)) > 1:
            raise _bad(name, "it was given more than once")
    if sum(len(value) for _, value in given.multi_items()) > MOST_CHARACTERS:
        raise Problem(400, f"the values are longer than {MOST_CHARACTERS} characters together")
    range = timerange.parse(given.get("from", "now-6h"), given.get("to", "now"))
    chosen = {
        name: (constants.get(name, ""),)
        if variable.kind == "constant"
        else _chosen(variable, given.getlist(f"{PREFIX}{name}"))
        for name, variable in board.variables.items()
    }
    return Values(range, timerange.interval(given.get("interval"), range), chosen)


def _chosen(variable: Variable, given: list[str]) -> tuple[str, ...]:
    name = f"{PREFIX}{variable.name}"
    if not given:
        return variable.default
    if variable.include_all and ALL in given:
        return (ALL,)
    if len(given) > 1 and not variable.multi:
        raise _bad(name, "only one value")
    if len(given) > MOST_VALUES:
        raise _bad(name, f"at most {MOST_VALUES} values; {ALL} means all")
    for value in given:
        if "\0" in value:
            raise _bad(name, "a value cannot hold NUL")
        if variable.kind == "custom" and value not in variable.options:
            raise _bad(name, f"one of {', '.join(variable.options)}")
    return tuple(given)


def _bad(name: str, why: str) -> Problem:
    short = name if len(name) <= 60 else f"{name[:60]}..."
    return Problem(400, f"{short}: {why}", parameter=short)
