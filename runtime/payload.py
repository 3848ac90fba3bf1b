"""The body of a webhook: parsed, checked, and turned into a prompt, a session, a user and metadata."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from runtime.problems import Problem

FORM = "application/x-www-form-urlencoded"
MAX_NAME = 255
MAX_DEPTH = 100
MAX_FIELDS = 1000
_INPUTS = ("input", "message", "prompt")


@dataclass(frozen=True)
class Payload:
    """What an agent is given. `input` is the whole JSON text when the body names none."""

    input: str
    session_id: str | None = None
    user_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Body:
    """`text` is the JSON as it was written."""

    content: dict[str, Any]
    text: str


def parse(body: bytes, content_type: str = "application/json") -> Body:
    """A JSON object, or a form: GitHub's (`payload=<json>`) is the JSON in it, any other an object of its fields.

    Raises a Problem: 415 for another type or encoding, 400 when it is not JSON, 422 when it is what we cannot take.
    Of keys that occur twice the last one counts, in a form they become a list.
    """
    media_type, charset = _content_type(content_type)
    form = media_type == FORM
    if not form and media_type != "application/json" and not media_type.endswith("+json"):
        given = media_type or "absent"
        raise Problem(415, f"the content type must be application/json, +json or {FORM}, not {given}")
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise Problem(415, f"the charset must be UTF-8, not {charset}")
    text = _decoded(body)
    return _form(text) if form else _json(text)


def loads(body: bytes) -> Any:
    """JSON of any kind, which Postgres and Python's stack can take. Raises a Problem: 400 or 422."""
    content = _content(_decoded(body))
    check(content, "body")
    return content


def default(body: Body) -> Payload:
    """What the body itself says: `input` (or `message`, `prompt`), `session_id`, `user_id`, `metadata`.

    Raises a 422 Problem that names the field.
    """
    content = body.content
    named = next((name for name in _INPUTS if name in content), None)
    metadata = content.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise Problem(422, f"metadata must be an object, not {_kind(metadata)}", field="metadata")
    return Payload(
        input=_text(content, named) or "" if named else body.text,
        session_id=_name(content, "session_id"),
        user_id=_name(content, "user_id"),
        metadata=metadata or {},
    )


def default_of(source: str, delivery_id: str, body: Body) -> Payload:
    """The same of a source whose body was not written for us: a text where there is one, a session per delivery."""
    texts = (body.content.get(name) for name in _INPUTS)
    prompt = next((text for text in texts if isinstance(text, str)), body.text)
    return Payload(prompt, session_id=f"{source}-{delivery_id}")


def check(value: Any, path: str, depth: int = 0) -> None:
    """Refuses what JSON allows and Postgres' jsonb or Python's stack does not: a 422 Problem names where it is."""
    if depth > MAX_DEPTH:
        raise Problem(422, f"the body is nested more than {MAX_DEPTH} levels deep", field="body")
    if isinstance(value, str):
        if "\x00" in value:
            raise Problem(422, f"{_printable(path)} contains the character NUL", field=_printable(path))
        try:
            value.encode()
        except UnicodeEncodeError as error:
            detail = f"{_printable(path)} contains half of a surrogate pair"
            raise Problem(422, detail, field=_printable(path)) from error
    elif isinstance(value, dict):
        for key, item in value.items():
            check(key, f"a key in {path}")
            check(item, f"{path}.{key}"[:200], depth + 1)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            check(item, f"{path}[{number}]"[:200], depth + 1)


def _decoded(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Problem(400, f"the body is not UTF-8: byte {error.start}") from error


def _content(text: str) -> Any:
    try:
        return _decoder.decode(text)
    except RecursionError as error:
        raise Problem(422, f"the body is nested more than {MAX_DEPTH} levels deep", field="body") from error
    except json.JSONDecodeError as error:
        raise Problem(400, f"the body is not JSON: {error}") from error
    except ValueError as error:
        raise Problem(422, "the body contains a number that is too large", field="body") from error


def _json(text: str) -> Body:
    content = _content(text)
    if not isinstance(content, dict):
        raise Problem(422, f"the body must be a JSON object, not {_kind(content)}", field="body")
    if "\\u" in text or text.count("{") + text.count("[") > MAX_DEPTH:  # else there is nothing to find
        check(content, "body")
    return Body(content, text)


def _form(text: str) -> Body:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError as error:
        raise Problem(400, "the form is not UTF-8") from error
    except ValueError as error:
        raise Problem(422, f"the form has more than {MAX_FIELDS} fields", field="body") from error
    if [name for name, _ in pairs] == ["payload"]:
        return _json(pairs[0][1])
    fields: dict[str, Any] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    content = {name: values[0] if len(values) == 1 else values for name, values in fields.items()}
    check(content, "body")
    return Body(content, json.dumps(content, ensure_ascii=False))


@lru_cache(64)
def _content_type(header: str) -> tuple[str, str]:
    """The media type, and the charset (utf-8 where none is named)."""
    media_type, *parameters = header.lower().split(";")
    named: Mapping[str, str] = {k.strip(): v.strip(' "') for k, _, v in (p.partition("=") for p in parameters)}
    return media_type.strip(), named.get("charset", "utf-8")


def _text(content: dict[str, Any], name: str) -> str | None:
    value = content.get(name)
    if value is not None and not isinstance(value, str):
        raise Problem(422, f"{name} must be a string, not {_kind(value)}", field=name)
    return value


def _name(content: dict[str, Any], name: str) -> str | None:
    value = _text(content, name)
    if value is not None and not 0 < len(value) <= MAX_NAME:
        raise Problem(422, f"{name} must have 1 to {MAX_NAME} characters", field=name)
    return value


def _printable(path: str) -> str:
    return path.encode(errors="replace").decode().replace("\x00", "")


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")


def _no_constant(name: str) -> None:
    raise json.JSONDecodeError(f"{name} is no JSON number", "", 0)


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError("too large")
    return value


_decoder = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)
