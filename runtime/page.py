"""The JSON view of /api/metrics as one plain HTML page: tables, no script, nothing loaded from anywhere."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Agent runtime</title><style>
:root { color-scheme: light dark }
body { font: 14px/1.4 system-ui, sans-serif; margin: 2rem }
table { border-collapse: collapse; margin: .3rem 0 1rem }
th, td { border-bottom: 1px solid #8884; padding: .15rem .7rem .15rem 0; text-align: left; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums }
h2 { font-size: 1.1rem; margin: 1.5rem 0 0 } h3 { font-size: 1rem; margin: .8rem 0 0 } small { opacity: .7 }
</style></head><body><h1>Agent runtime</h1>
"""
HEADERS = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}


def render(view: Mapping[str, Any]) -> str:
    """`view` is what ?format=json answers: instruments with values as tables, all else as it comes."""
    parts = [_HEAD, '<p><a href="?format=json">JSON</a> · <a href="?format=prometheus">Prometheus</a></p>']
    for name, content in view.items():
        parts.append(f"<h2>{escape(name.replace('_', ' '))}</h2>")
        if name == "instruments":
            parts += [_instrument(instrument) for instrument in content if instrument["values"]]
        else:
            parts.append(_content(content))
    return "".join([*parts, "</body></html>\n"])


def _instrument(instrument: Mapping[str, Any]) -> str:
    unit = f" in {instrument['unit']}" if not instrument["unit"].startswith("{") else ""
    title = (
        f"<h3>{escape(instrument['name'])} <small>{escape(instrument['help'])} {instrument['kind']}{unit}</small></h3>"
    )
    return title + _content([{**value["attributes"], **_rest(value)} for value in instrument["values"]])


def _rest(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key != "attributes"}


def _content(content: Any) -> str:
    if isinstance(content, Mapping) and content:
        rows = "".join(f"<tr><th>{escape(str(key))}</th>{_cell(item)}</tr>" for key, item in content.items())
        return f"<table>{rows}</table>"
    if isinstance(content, Sequence) and not isinstance(content, str) and content and isinstance(content[0], Mapping):
        columns = list(dict.fromkeys(key for row in content for key in row))
        head = "".join(f"<th>{escape(str(column))}</th>" for column in columns)
        rows = "".join(f"<tr>{''.join(_cell(row.get(column)) for column in columns)}</tr>" for row in content)
        return f"<table><tr>{head}</tr>{rows}</table>"
    return f"<p>{escape(_text(content))}</p>"


def _cell(value: Any) -> str:
    if isinstance(value, Mapping) and "link" in value and "trace_id" in value:
        return f'<td><a href="{escape(value["link"])}">{escape(value["trace_id"])}</a></td>'
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f'<td class="number">{value:,}</td>'
    return f"<td>{escape(_text(value))}</td>"


def _text(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
