"""A webhook's body as what an agent is given."""

import pytest

from runtime.payload import Payload, default
from runtime.payload import parse as parse_body
from runtime.problems import Problem


def parse(body: bytes) -> Payload:
    return default(parse_body(body))


@pytest.mark.parametrize("name", ["input", "message", "prompt"])
def test_the_input_has_three_names(name: str) -> None:
    assert parse(f'{{"{name}": "Hällo"}}'.encode()) == Payload("Hällo")


def test_a_body_of_another_kind_is_the_input_as_it_was_written() -> None:
    body = b'{ "alert":  "disk", "session_id": "s" }'
    assert parse(body) == Payload(body.decode(), session_id="s")


def test_everything_that_a_body_may_say() -> None:
    body = b'{"input": "x", "session_id": "s", "user_id": "u", "metadata": {"a": [1, 2.5, null, {"b": true}]}}'
    assert parse(body) == Payload("x", "s", "u", {"a": [1, 2.5, None, {"b": True}]})
    assert parse(b'{"input": "x", "session_id": null, "user_id": null, "metadata": null}') == Payload("x")


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", 400, "not JSON"),
        (b'{"input": Infinity}', 400, "Infinity"),
        (b"null", 422, "null"),
        (b'"text"', 422, "a string"),
        (b"7", 422, "a number"),
        (b"true", 422, "a boolean"),
        (b'{"input": "x", "session_id": "' + b"s" * 256 + b'"}', 422, "session_id"),
        (b'{"a\\u0000": 1}', 422, "a key in body"),
        (b'{"input": "x", "metadata": {"deep": [{"n": 1e999}]}}', 422, "body.metadata.deep[0].n"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, 422, "nested"),
    ],
)
def test_what_is_wrong_is_named(body: bytes, status: int, text: str) -> None:
    with pytest.raises(Problem) as problem:
        parse(body)
    assert problem.value.status == status and text in problem.value.detail
