"""Grafana's macros and variables in a committed query, expanded as its ClickHouse plugin 4 does; values are bound.

A query is taken apart once, when its board is loaded, and what is not known here is an error then. What a client gives
never becomes SQL: times and intervals are whole numbers, all else is a parameter of ClickHouse, `{agent_0:String}`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dashboards.viewer.timerange import Range

ALL = "$__all"
_TOKEN = re.compile(r"\$__(?P<macro>\w+)|\$\{(?P<braced>[^}]*)\}|\$(?P<plain>[A-Za-z]\w*)|\[\[\w+(?::\w+)?\]\]")
_BOUND = re.compile(r"(?<!\$)\{\s*\w+\s*:\s*\w")


class MacroError(ValueError):
    """The query cannot be expanded."""


@dataclass(frozen=True)
class Variable:
    """`options`: of a custom variable, all it may be. `default`: what holds when a request does not say."""

    name: str
    kind: str  # query, custom, textbox or constant
    multi: bool = False
    include_all: bool = False
    options: tuple[str, ...] = ()
    default: tuple[str, ...] = ("",)

    @property
    def is_number(self) -> bool:
        return self.kind == "custom" and all(option.isdecimal() and option.isascii() for option in self.options)


@dataclass(frozen=True)
class Values:
    """What a request chose: `interval` in seconds, and of every variable its values, (ALL,) for all."""

    range: Range
    interval: int
    variables: Mapping[str, tuple[str, ...]]


@dataclass
class _Expansion:
    values: Values
    parameters: dict[str, str] = field(default_factory=dict)

    def bind(self, name: str) -> str:
        """The variable's values as a list of ClickHouse parameters."""
        places = []
        for number, value in enumerate(self.values.variables[name]):
            self.parameters[f"{name}_{number}"] = value
            places.append(f"{{{name}_{number}:String}}")
        return ", ".join(places)


Part = Callable[[_Expansion], str]


@dataclass(frozen=True)
class Query:
    """A committed query, taken apart."""

    parts: tuple[Part, ...]

    def expand(self, values: Values) -> tuple[str, dict[str, str]]:
        """SQL for ClickHouse, and its parameters."""
        expansion = _Expansion(values)
        return "".join(part(expansion) for part in self.parts), expansion.parameters


def parse(sql: str, variables: Mapping[str, Variable]) -> Query:
    """Raises MacroError, which says what is not known."""
    sql = sql.strip().rstrip(";")
    if not sql:
        raise MacroError("there is no SQL")
    if found := _BOUND.search(sql):
        raise MacroError(f"{found[0]}...: parameters of ClickHouse are made here, not written")
    return Query(tuple(_Parser(variables).parts(sql, frozenset())))


class _Parser:
    def __init__(self, variables: Mapping[str, Variable]) -> None:
        self.variables = variables

    def parts(self, sql: str, chosen: frozenset[str]) -> list[Part]:
        """`chosen`: variables that are not "all" wherever this piece is used."""
        found: list[Part] = []
        position = 0
        while token := _TOKEN.search(sql, position):
            found.append(_text(sql[position : token.start()]))
            position = token.end()
            if name := token["macro"]:
                argument, position = _argument(sql, position, name)
                found.extend(self.macro(name, argument, chosen))
            elif token[0].startswith("[["):
                raise MacroError(f"{token[0]}: write ${{name}}")
            else:
                found.append(self.variable(token[0], token["braced"] or token["plain"], chosen))
        found.append(_text(sql[position:]))
        return found

    def macro(self, name: str, argument: str | None, chosen: frozenset[str]) -> list[Part]:
        if name in _PLAIN and not argument:
            return [_PLAIN[name]]
        if name == "conditionalAll" and argument:
            return [self.conditional(argument, chosen)]
        if name in _WITH_COLUMN and argument:
            column = self.parts(argument.strip(), chosen)
            return [piece for part in _WITH_COLUMN[name] for piece in (column if part is None else [part])]
        raise MacroError(f"$__{name}{'' if argument is None else f'({argument})'}: there is no such macro here")

    def conditional(self, argument: str, chosen: frozenset[str]) -> Part:
        condition, comma, name = argument.rpartition(",")
        name = name.strip().lstrip("$").strip("{}")
        if not comma or name not in self.variables:
            raise MacroError(f"$__conditionalAll({argument}): write a condition, a comma and a variable")
        parts = self.parts(condition.strip(), chosen | {name})

        def expand(expansion: _Expansion) -> str:
            if ALL in expansion.values.variables[name]:
                return "1=1"
            return "".join(part(expansion) for part in parts)

        return expand

    def variable(self, token: str, text: str, chosen: frozenset[str]) -> Part:
        name, _, form = text.partition(":")
        variable = self.variables.get(name)
        if variable is None:
            raise MacroError(f"{token}: there is no such variable")
        if variable.include_all and name not in chosen:
            raise MacroError(f"{token}: it may be all, so it belongs into $__conditionalAll(..., ${name})")
        if form == "singlequote":
            return lambda expansion: expansion.bind(name)
        if not form and variable.is_number:
            return lambda expansion: _number(expansion, name)
        raise MacroError(f"{token}: write ${{{name}:singlequote}}")


def _number(expansion: _Expansion, name: str) -> str:
    """One of the board's options, which are numbers; 0 is the interval that was asked for."""
    return str(int(expansion.values.variables[name][0]) or expansion.values.interval)


def _text(text: str) -> Part:
    return lambda _: text


def _interval(expansion: _Expansion) -> str:
    return str(expansion.values.interval)


def _seconds(of: str) -> Part:
    return lambda expansion: f"toDateTime({getattr(expansion.values.range, of) // 1000})"


def _milliseconds(of: str) -> Part:
    return lambda expansion: f"fromUnixTimestamp64Milli({getattr(expansion.values.range, of)})"


_PLAIN: dict[str, Part] = {
    "fromTime": _seconds("start"),
    "toTime": _seconds("end"),
    "fromTime_ms": _milliseconds("start"),
    "toTime_ms": _milliseconds("end"),
    "interval_s": _interval,
}
# None: the column
_WITH_COLUMN: dict[str, tuple[Part | None, ...]] = {
    "timeFilter": (None, _text(" >= "), _seconds("start"), _text(" AND "), None, _text(" <= "), _seconds("end")),
    "timeFilter_ms": (
        None,
        _text(" >= "),
        _milliseconds("start"),
        _text(" AND "),
        None,
        _text(" <= "),
        _milliseconds("end"),
    ),
    "timeInterval": (
        _text("toStartOfInterval(toDateTime("),
        None,
        _text("), INTERVAL "),
        _interval,
        _text(" second)"),
    ),
}


def _argument(sql: str, position: int, name: str) -> tuple[str | None, int]:
    """What is within the parentheses at `position`, and where they end. None when there are none."""
    if not sql.startswith("(", position):
        return None, position
    depth, quoted, at = 0, "", position
    while at < len(sql):
        character = sql[at]
        if quoted:
            at += character == "\\"
            quoted = "" if character == quoted else quoted
        elif character in "'`\"":
            quoted = character
        elif character in "()":
            depth += 1 if character == "(" else -1
            if depth == 0:
                return sql[position + 1 : at], at + 1
        at += 1
    raise MacroError(f"$__{name}: its parentheses are not closed")
