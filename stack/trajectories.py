"""Recorded conversations in OpenAI chat format: reads and checks a file, and splits it into user turns.

A file is a JSON list, or JSONL, of conversations: `{"traj": [messages]}`, `{"messages": [messages]}` or a
bare list of messages. A conversation begins with an optional system message and a user message. Every user
message is one turn, and becomes one run. What follows until the next user message is what the agent did: each
assistant message is one model call, each of its tool calls one tool call. A recording may break off: a last
user message without an answer is a run without a model call, a last tool call with nothing after it (or even
without its result) ends its run. So the counts of a replay are those of the file: `counts`.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError


class FormatError(ValueError):
    """The file is not of the form. The text names entry, message and field, all counted from 1 in the file."""


class Part(BaseModel):
    type: Literal["text"]
    text: str


class Function(BaseModel):
    name: str = Field(min_length=1)
    arguments: str


class ToolCall(BaseModel):
    id: str = Field(min_length=1)
    type: Literal["function"] = "function"
    function: Function


class Spoken(BaseModel):
    """A message; fields that we do not know are left out."""

    model_config = ConfigDict(extra="ignore")
    content: str | list[Part] | None = None

    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class System(Spoken):
    role: Literal["system", "developer"]
    content: str | list[Part]


class User(Spoken):
    role: Literal["user"]
    content: str | list[Part]


class Assistant(Spoken):
    role: Literal["assistant"]
    tool_calls: list[ToolCall] | None = None


class ToolResult(Spoken):
    role: Literal["tool"]
    content: str | list[Part]
    tool_call_id: str = Field(min_length=1)


Message = Annotated[System | User | Assistant | ToolResult, Field(discriminator="role")]
MESSAGE: TypeAdapter[System | User | Assistant | ToolResult] = TypeAdapter(Message)


@dataclass
class Turn:
    """One user message, and what followed: `{"role", "content", "tool_calls" or "tool_call_id"}` each."""

    input: str
    recording: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Conversation:
    system: str | None
    turns: list[Turn]


@dataclass
class Counts:
    """What a replay of the conversations must leave behind."""

    sessions: int = 0
    runs: int = 0
    model_calls: int = 0
    tool_calls: Counter[str] = field(default_factory=Counter)
    tool_errors: int = 0


def is_error(content: str) -> bool:
    """Whether a recorded tool result is a tool error: tau-bench, and most frameworks, let its text begin so."""
    return content.startswith("Error")


def counts(conversations: Iterable[Conversation], repeat: int = 1) -> Counts:
    total = Counts()
    for conversation in conversations:
        total.sessions += repeat
        total.runs += repeat * len(conversation.turns)
        for message in (message for turn in conversation.turns for message in turn.recording):
            if message["role"] == "assistant":
                total.model_calls += repeat
                for call in message.get("tool_calls", []):
                    total.tool_calls[call["function"]["name"]] += repeat
            elif is_error(message["content"]):
                total.tool_errors += repeat
    return total


def read(path: Path) -> list[Conversation]:
    """Raises FormatError when any entry of the file is not of the form, OSError when it cannot be read."""
    return parse(path.read_text(encoding="utf-8-sig"))


def parse(text: str) -> list[Conversation]:
    entries = list(_entries(text))
    if not entries:
        raise FormatError("the file holds no conversation")
    return [_conversation(name, entry) for name, entry in entries]


def _entries(text: str) -> Iterable[tuple[str, Any]]:
    try:
        content = json.loads(text)
    except ValueError as error:
        lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        if len(lines) < 2:
            raise FormatError(f"not JSON: {error}") from error
        return [(f"line {number}", _json_line(number, line)) for number, line in lines]
    if isinstance(content, dict):
        return [("entry 1", content)]  # JSONL of one line
    if not isinstance(content, list):
        raise FormatError(f"a list of conversations is expected, not {_kind(content)}")
    if content and all(isinstance(entry, dict) and "role" in entry for entry in content):
        return [("entry 1", content)]  # one bare conversation
    return [(f"entry {number}", entry) for number, entry in enumerate(content, 1)]


def _json_line(number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise FormatError(f"line {number}: not JSON: {error}") from error


def _conversation(name: str, entry: Any) -> Conversation:
    field_name = "messages"
    if isinstance(entry, dict):
        field_name = "traj" if "traj" in entry else "messages"
        if field_name not in entry:
            raise FormatError(f"{name}: traj: missing (nor is there messages)")
        entry = entry[field_name]
    if not isinstance(entry, list):
        raise FormatError(f"{name}: {field_name}: a list of messages is expected, not {_kind(entry)}")
    messages = [_message(f"{name}, message {number}", message) for number, message in enumerate(entry, 1)]
    return _split(name, messages)


def _message(name: str, message: Any) -> System | User | Assistant | ToolResult:
    if not isinstance(message, dict):
        raise FormatError(f"{name}: an object is expected, not {_kind(message)}")
    if "role" not in message:
        raise FormatError(f"{name}: role: missing")
    try:
        parsed = MESSAGE.validate_python(message, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = _path(first["loc"][1:]) or "role"
        what = "missing" if first["type"] == "missing" else first["msg"][:1].lower() + first["msg"][1:]
        raise FormatError(f"{name}: {where}: {what}") from error
    for at, call in enumerate(parsed.tool_calls or [] if isinstance(parsed, Assistant) else []):
        try:
            arguments = json.loads(call.function.arguments)
        except ValueError as error:
            raise FormatError(f"{name}: tool_calls[{at}].function.arguments: not JSON: {error}") from error
        if not isinstance(arguments, dict):
            where = f"tool_calls[{at}].function.arguments"
            raise FormatError(f"{name}: {where}: a JSON object is expected, not {_kind(arguments)}")
    return parsed


def _path(location: Sequence[int | str]) -> str:
    """("tool_calls", 0, "function", "name") -> tool_calls[0].function.name; without the members of unions."""
    names = [part for part in location if part not in ("str", "list[Part]")]
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in names).lstrip(".")


def _split(name: str, messages: Sequence[System | User | Assistant | ToolResult]) -> Conversation:
    conversation = Conversation(system=None, turns=[])
    pending: dict[str, str] = {}  # recorded id of a call without a result -> its id in the replay
    used: Counter[str] = Counter()
    for number, message in enumerate(messages, 1):
        where = f"{name}, message {number}"
        if pending and not isinstance(message, ToolResult):
            raise FormatError(f"{where}: role: a tool message is expected, {next(iter(pending))} has no result")
        if isinstance(message, System):
            if number > 1:
                raise FormatError(f"{where}: role: a {message.role} message can only be the first")
            conversation.system = message.text()
        elif isinstance(message, User):
            used.clear()
            conversation.turns.append(Turn(message.text()))
        elif not conversation.turns:
            raise FormatError(f"{where}: role: a user message must come before {message.role} messages")
        elif isinstance(message, Assistant):
            recording = conversation.turns[-1].recording
            if recording and recording[-1]["role"] == "assistant":
                raise FormatError(f"{where}: role: a user message is expected, the answer ended the turn")
            recording.append({"role": "assistant", "content": message.text()})
            if calls := [_renamed(call, used, pending) for call in message.tool_calls or []]:
                recording[-1]["tool_calls"] = calls
        else:
            if message.tool_call_id not in pending:
                raise FormatError(f"{where}: tool_call_id: {message.tool_call_id} is not an open tool call")
            identifier = pending.pop(message.tool_call_id)
            result = {"role": "tool", "tool_call_id": identifier, "content": message.text()}
            conversation.turns[-1].recording.append(result)
    if not conversation.turns:
        raise FormatError(f"{name}: no user message")
    return conversation


def _renamed(call: ToolCall, used: Counter[str], pending: dict[str, str]) -> dict[str, Any]:
    """The call with an id that is unique in its turn: recordings are seen to use one twice."""
    used[call.id] += 1
    pending[call.id] = call.id if used[call.id] == 1 else f"{call.id}-{used[call.id]}"
    return call.model_dump() | {"id": pending[call.id]}


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", type(None): "null", bool: "a boolean"}
    return names.get(type(value), "a number")
