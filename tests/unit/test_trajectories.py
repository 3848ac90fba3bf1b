"""Reading recorded conversations: what is accepted, what is said about the rest, what a replay will count."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stack.trajectories import FormatError, counts, parse, read
from tests import trajectories


def call(name: Any = "lookup", arguments: Any = "{}", identifier: str = "c1") -> dict[str, Any]:
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def result(content: str = "42", identifier: str = "c1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": identifier, "name": "lookup", "content": content}


SYSTEM = {"role": "system", "content": "Be kind."}
USER = {"role": "user", "content": "Hello"}
ANSWER = {"role": "assistant", "content": "Hi"}
GOOD = [SYSTEM, USER, calling(call()), result(), ANSWER, USER, ANSWER]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([{"traj": GOOD}, {"traj": GOOD}]),
        json.dumps([{"messages": GOOD}, GOOD]),
        json.dumps({"traj": GOOD}) + "\n\n" + json.dumps({"messages": GOOD}) + "\n",
        json.dumps(GOOD) + "\n" + json.dumps(GOOD),
    ],
)
def test_the_accepted_forms_give_the_same_turns(text: str) -> None:
    first, second = parse(text)
    assert first == second
    assert first.system == "Be kind."
    assert [turn.input for turn in first.turns] == ["Hello", "Hello"]
    assert [message["role"] for message in first.turns[0].recording] == ["assistant", "tool", "assistant"]


def test_one_conversation_alone_is_a_file() -> None:
    assert parse(json.dumps(GOOD)) == parse(json.dumps({"traj": GOOD})) == parse(json.dumps([{"traj": GOOD}]))


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    [conversation] = parse(json.dumps([{"role": "user", "content": parts}]))
    assert conversation.turns[0].input == "Hello"


def test_a_call_id_used_twice_in_a_turn_is_made_unique_with_its_result() -> None:
    [conversation] = parse(json.dumps([USER, calling(call()), result("1"), calling(call()), result("2")]))
    first, one, second, two = conversation.turns[0].recording
    assert (first["tool_calls"][0]["id"], one["tool_call_id"], one["content"]) == ("c1", "c1", "1")
    assert (second["tool_calls"][0]["id"], two["tool_call_id"], two["content"]) == ("c1-2", "c1-2", "2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{nope", "not JSON"),
        ("[]", "the file holds no conversation"),
        ("7", "a list of conversations is expected, not a number"),
        (json.dumps({"traj": GOOD}) + "\n{nope", "line 2: not JSON"),
        (json.dumps([{"traj": GOOD}, 3]), "entry 2: messages: a list of messages is expected, not a number"),
        (json.dumps([{"task": 1}]), "entry 1: traj: missing"),
        (json.dumps([{"traj": {}}]), "entry 1: traj: a list of messages is expected, not an object"),
        (json.dumps([{"traj": []}]), "entry 1: no user message"),
        (json.dumps([{"traj": ["hi"]}]), "entry 1, message 1: an object is expected, not a text"),
        (json.dumps([{"traj": GOOD}, [USER, {"content": "x"}]]), "entry 2, message 2: role: missing"),
        (json.dumps([[{"role": "robot", "content": "x"}]]), "entry 1, message 1: role: input tag 'robot'"),
        (json.dumps([[{"role": "user"}]]), "entry 1, message 1: content: missing"),
        (json.dumps([[{"role": "user", "content": 5}]]), "entry 1, message 1: content: "),
        (
            json.dumps([[USER, calling({"id": "c1", "type": "function", "function": {"arguments": "{}"}})]]),
            "entry 1, message 2: tool_calls[0].function.name: missing",
        ),
        (
            json.dumps([[USER, calling(call(), call(name=3, identifier="c2"))]]),
            "entry 1, message 2: tool_calls[1].function.name: input should be a valid string",
        ),
        (
            json.dumps([[USER, calling(call(arguments="{nope"))]]),
            "entry 1, message 2: tool_calls[0].function.arguments: not JSON",
        ),
        (
            json.dumps([[USER, calling(call(arguments="[]"))]]),
            "entry 1, message 2: tool_calls[0].function.arguments: a JSON object is expected, not a list",
        ),
        (
            json.dumps([[USER, calling(call()), result(identifier="c9")]]),
            "entry 1, message 3: tool_call_id: c9 is not an open tool call",
        ),
        (
            json.dumps([[USER, calling(call()), ANSWER]]),
            "entry 1, message 3: role: a tool message is expected, c1 has no result",
        ),
        (json.dumps([[USER, ANSWER, ANSWER]]), "entry 1, message 3: role: a user message is expected"),
        (json.dumps([[ANSWER, USER]]), "entry 1, message 1: role: a user message must come before"),
        (json.dumps([[USER, SYSTEM]]), "entry 1, message 2: role: a system message can only be the first"),
    ],
)
def test_an_error_names_the_entry_and_the_field(text: str, message: str) -> None:
    with pytest.raises(FormatError) as error:
        parse(text)
    assert str(error.value).startswith(message)


def test_counts_of_a_recording_that_breaks_off() -> None:
    broken_off = [
        USER,
        calling(call(), call("save", identifier="c2")),
        result("Error: no"),
        result("ok", "c2"),
        USER,
    ]
    total = counts(parse(json.dumps([GOOD, broken_off, [USER, calling(call())]])), repeat=2)
    assert (total.sessions, total.runs, total.model_calls, total.tool_errors) == (6, 10, 10, 2)
    assert total.tool_calls == Counter(lookup=6, save=2)


def test_counts_of_the_recorded_conversations(tmp_path: Path) -> None:
    path = trajectories.file(tmp_path)
    entries = [entry["traj"] for entry in json.loads(path.read_text())]
    messages = [message for entry in entries for message in entry]
    roles = Counter(message["role"] for message in messages)
    total = counts(read(path))
    assert (total.sessions, total.runs, total.model_calls) == (len(entries), roles["user"], roles["assistant"])
    assert total.tool_calls.total() == roles["tool"]
    assert total.tool_calls == Counter(
        call["function"]["name"] for message in messages for call in message.get("tool_calls") or []
    )
    assert total.tool_errors == sum(m["role"] == "tool" and m["content"].startswith("Error") for m in messages) > 0
