"""The body of a webhook: parsed, checked, and turned into a prompt, a session, a user and metadata."""

import json
import math
from dataclasses import dataclass, field
from typing import Any

from runtime.problems import Problem

_INPUTS = ("input", "message", "prompt")
MAX_NAME = 255


@dataclass(frozen=True)
class Payload:
    """What an agent is given. `input` is the whole JSON text when the body names none."""

    input: str
    session_id: str | None = None
    user_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


def parse(body: bytes) -> Payload:
    """Raises a 400 Problem when it is not JSON, a 422 one that names the field when it is not what we can take."""
    text = body.decode()
    try:
        content = json.loads(text, parse_constant=_no_constant)
        _check(content, "body")
    except RecursionError as error:
        raise Problem(422, "the body is nested too deeply") from error
    except ValueError as error:
        raise Problem(400, f"the body is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise Problem(422, f"the body must be a JSON object, not {_kind(content)}", field="body")
    named = next((name for name in _INPUTS if name in content), None)
    metadata = content.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise Problem(422, f"metadata must be an object, not {_kind(metadata)}", field="metadata")
    return Payload(
        input=_text(content, named) or "" if named else text,
        session_id=_name(content, "session_id"),
        user_id=_name(content, "user_id"),
        metadata=metadata or {},
    )


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


def _check(value: Any, path: str) -> None:
    """Refuses what JSON allows and Postgres' jsonb does not: NUL, lone surrogates, numbers beyond a float."""
    if isinstance(value, str):
        if "\x00" in value:
            raise Problem(422, f"{path} contains the character NUL", field=path)
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Problem(422, f"{path} contains half of a surrogate pair", field=path) from error
    elif isinstance(value, dict):
        for key, item in value.items():
            _check(key, f"a key in {path}")
            _check(item, f"{path}.{key}"[:200])
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _check(item, f"{path}[{number}]"[:200])
    elif isinstance(value, float) and not math.isfinite(value):
        raise Problem(422, f"{path} is a number that is too large", field=path)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")
