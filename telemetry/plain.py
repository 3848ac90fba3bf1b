"""What agno hands over, as it is now: strings by reference, all else as text, so that nothing changes it later.

agno's objects are read with getattr: they are its internals, and a field that moved must cost an attribute, not a run.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from operator import attrgetter
from typing import Any

import orjson

Value = tuple[str, bool]  # text, and whether it is JSON
Calls = tuple[tuple[str, str, str], ...]  # id, name, arguments
Message = tuple[str, str | None, str | None, Calls, str | None, tuple[str, ...]]

_MEDIA = ("images", "audio", "videos", "files")
_FIELDS = ("role", "content", "tool_calls", "reasoning_content", *_MEDIA)
_fields = attrgetter(*_FIELDS)
_JSON_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY


def text(value: Any) -> str:
    """`value` as people would read it: strings as they are, all else as JSON. Never raises."""
    if isinstance(value, str):
        return value
    try:
        if hasattr(value, "model_dump_json"):
            return str(value.model_dump_json())
        try:
            return orjson.dumps(value, default=_plainer, option=_JSON_OPTIONS).decode()
        except orjson.JSONEncodeError:  # what orjson does not take: huge integers, lone surrogates, deep nesting
            return json.dumps(value, ensure_ascii=False, default=str)
    except Exception as error:  # it is a user's object: its methods may do anything
        return f"<{type(value).__name__} cannot be shown: {type(error).__name__}>"


def value(given: Any) -> Value | None:
    """For `input.value` and `output.value`; None for None."""
    return None if given is None else (text(given), not isinstance(given, str))


def messages(conversation: Iterable[Any]) -> list[Message]:
    """(role, content, tool call id, tool calls, reasoning, media) for each of agno's Messages, or their like."""
    return [message(it) for it in conversation]


def message(it: Any) -> Message:
    """Of a Message, or a model's response. Never by `vars`, which makes a dictionary of a dataclass for good."""
    try:
        role, body, calls, reasoning, *media = _fields(it)
    except AttributeError:  # agno's changed, or are a user's own
        role, body, calls, reasoning, *media = (getattr(it, name, None) for name in _FIELDS)
    call_id = getattr(it, "tool_call_id", None)
    return (
        role or "assistant",
        body if body is None or type(body) is str else text(body),
        call_id,
        tool_calls(calls) if calls else (),
        reasoning or None,
        _media(media) if any(media) else (),
    )


def tool_calls(calls: Iterable[Any]) -> Calls:
    """(id, name, arguments) of each, which are in the OpenAI shape {"id", "function": {"name", "arguments"}}."""
    found = []
    for call in calls:
        if isinstance(call, Mapping):
            function = call.get("function") or {}
            found.append(
                (str(call.get("id") or ""), str(function.get("name", "")), text(function.get("arguments", "")))
            )
    return tuple(found)


def first(*values: Any) -> Any:
    """The first value that is not None."""
    return next((it for it in values if it is not None), None)


def _media(media: Iterable[Any]) -> tuple[str, ...]:
    """Where images, sounds, videos and files are, or that they are there; never their bytes."""
    found = []
    for kind, given in zip(_MEDIA, media, strict=True):
        for one in given if isinstance(given, list | tuple) else (given,) if given else ():
            found.append(f"{kind}: {getattr(one, 'url', None) or getattr(one, 'id', None) or 'inline'}")
    return tuple(found)


def _plainer(it: Any) -> Any:
    if hasattr(it, "model_dump"):
        return it.model_dump()
    if is_dataclass(it) and not isinstance(it, type):
        return asdict(it)
    return str(it)
