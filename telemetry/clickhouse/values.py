"""OpenTelemetry values as the collector's ClickHouse exporter (v0.161) writes them: attribute maps of strings.

Source of the rules: pcommon.Value.AsString of the collector's pdata v1.67 (JSON as Go's encoding/json writes it
without HTML escaping), and the OTLP encoder of the Python SDK, which leaves out what it cannot encode.
"""

import json
import math
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import Any

STRING_MAP = "Map(LowCardinality(String), String)"
KEY = itemgetter(0)

# Go escapes these two everywhere in JSON, Python never.
LINE_SEPARATORS = str.maketrans({"\u2028": "\\u2028", "\u2029": "\\u2029"})


class NotEncodable(ValueError):
    """OTLP has no such value: an integer beyond 64 bits, an object of another type."""


def attribute_map(attributes: Mapping[str, Any] | None) -> dict[str, str]:
    """Attributes as strings, sorted by key; what OTLP cannot carry is left out, as the OTLP exporter leaves it out."""
    if not attributes:
        return {}
    strings = {}
    for key, value in sorted(attributes.items(), key=KEY):
        if type(value) is str:
            strings[key] = value
            continue
        try:
            strings[key] = as_string(value)
        except NotEncodable:
            continue
    return strings


def as_string(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(checked(value))
    if isinstance(value, float):
        return float_string(value)
    if isinstance(value, bytes):
        return b64encode(value).decode()
    try:
        return go_json(value)
    except NotFinite:
        return ""  # Go's encoder refuses NaN and infinity, and the error is ignored there
    except RecursionError:
        raise NotEncodable("nested too deeply") from None


class NotFinite(ValueError):
    """NaN or infinity inside an array or a map."""


def go_json(value: Any) -> str:
    """JSON as Go writes it: no spaces, keys sorted, floats without ".0", bytes in base64."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).translate(LINE_SEPARATORS)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotFinite
        return float_string(value)
    if isinstance(value, bytes):
        return f'"{b64encode(value).decode()}"'
    if isinstance(value, Sequence):
        return f"[{','.join(map(go_json, value))}]"
    if isinstance(value, Mapping):
        items = sorted(((str(key), item) for key, item in value.items()), key=KEY)
        return "{" + ",".join(f"{go_json(key)}:{go_json(item)}" for key, item in items) + "}"
    if value is None:
        return "null"
    if isinstance(value, int):  # a bool is one
        return as_string(value)
    raise NotEncodable(f"{type(value).__name__} is no OpenTelemetry value")


def checked(value: int) -> int:
    if not -(2**63) <= value < 2**63:
        raise NotEncodable("an integer beyond 64 bits")
    return value


def float_string(value: float) -> str:
    """The shortest text that reads back as `value`, with an exponent only below 1e-6 and from 1e21 on (ES6)."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    text = repr(value)
    size = abs(value)
    if size != 0 and (size < 1e-6 or size >= 1e21):
        mantissa, _, exponent = text.partition("e")
        sign = exponent[0]
        digits = exponent[1:].lstrip("0") if sign == "-" else exponent[1:]
        return f"{mantissa.removesuffix('.0')}e{sign}{digits}"
    if "e" in text:
        text = f"{Decimal(text):f}"
    return text.removesuffix(".0")


def trace_id(value: int | None) -> str:
    """32 hex digits, or nothing for no id."""
    return f"{value:032x}" if value else ""


def span_id(value: int | None) -> str:
    """16 hex digits, or nothing for no id."""
    return f"{value:016x}" if value else ""


def nanoseconds(value: int | None) -> int:
    """Unix nanoseconds as the server keeps them, signed: what is beyond the year 2262 wraps around, as in Go."""
    return ((value or 0) + 2**63) % 2**64 - 2**63


def service_name(resource: Mapping[str, Any]) -> str:
    name = resource.get("service.name")
    return as_string(name) if name is not None else ""


def sendable(column: Any) -> Any:
    """A copy in which every string can be written as UTF-8: a lone surrogate becomes "?"."""
    if isinstance(column, str):
        return column.encode(errors="replace").decode()
    if isinstance(column, dict):
        return {sendable(key): sendable(value) for key, value in column.items()}
    if isinstance(column, list):
        return [sendable(value) for value in column]
    return column


def transposed(rows: Iterable[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Columns out of rows; `width` columns also when there are no rows."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    return columns or [[] for _ in range(width)]
