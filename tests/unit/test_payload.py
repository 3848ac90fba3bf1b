"""A webhook's body as what an agent is given."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.payload import FORM, Payload, default, default_of, parse
from runtime.problems import Problem


def payload(body: bytes) -> Payload:
    return default(parse(body))


@pytest.mark.parametrize("name", ["input", "message", "prompt"])
def test_the_input_has_three_names(name: str) -> None:
    assert payload(f'{{"{name}": "Hällo"}}'.encode()) == Payload("Hällo")


def test_a_body_of_another_kind_is_the_input_as_it_was_written() -> None:
    body = b'{ "alert":  "disk", "session_id": "s" }'
    assert payload(body) == Payload(body.decode(), session_id="s")


def test_everything_that_a_body_may_say() -> None:
    body = b'{"input": "x", "session_id": "s", "user_id": "u", "metadata": {"a": [1, 2.5, null, {"b": true}]}}'
    assert payload(body) == Payload("x", "s", "u", {"a": [1, 2.5, None, {"b": True}]})
    assert payload(b'{"input": "x", "session_id": null, "user_id": null, "metadata": null}') == Payload("x")


def test_what_a_source_sends_means_nothing_to_us_but_its_text() -> None:
    body = parse(b'{"message": "disk full", "session_id": 7, "user_id": [], "metadata": 1}')
    assert default_of("grafana", "d-1", body) == Payload("disk full", "grafana-d-1")
    body = parse(b'{"message": {"text": "no"}}')
    assert default_of("shop", "d-1", body) == Payload(body.text, "shop-d-1")


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", 400, "not JSON"),
        (b'{"input": Infinity}', 400, "Infinity"),
        (b'{"input": "\x00"}', 400, "not JSON"),
        (b'{"input": "\xff"}', 400, "UTF-8"),
        (b"null", 422, "null"),
        (b'"text"', 422, "a string"),
        (b"7", 422, "a number"),
        (b"true", 422, "a boolean"),
        (b'{"input": "x", "session_id": "' + b"s" * 256 + b'"}', 422, "session_id"),
        (b'{"a\\u0000": 1}', 422, "a key in body"),
        (b'{"a\\ud800": {"b": "\\ud800"}}', 422, "half of a surrogate pair"),
        (b'{"input": "x", "metadata": {"deep": [{"n": 1e999}]}}', 422, "too large"),
        (b'{"n": ' + b"9" * 5000 + b"}", 422, "too large"),
        (b'{"n": ' + b"9" * 400 + b".5}", 422, "too large"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, 422, "nested"),
        (b'{"a":' * 102 + b"1" + b"}" * 102, 422, "nested"),
    ],
)
def test_what_is_wrong_is_named(body: bytes, status: int, text: str) -> None:
    with pytest.raises(Problem) as problem:
        payload(body)
    assert problem.value.status == status and text in problem.value.detail
    json.dumps(problem.value.fields, ensure_ascii=False).encode()


def test_what_is_large_but_not_too_large() -> None:
    number = 10**400
    assert payload(f'{{"input": "x", "metadata": {{"n": {number}}}}}'.encode()).metadata == {"n": number}
    deep = b'{"a":' * 100 + b"1" + b"}" * 100
    assert payload(deep).input == deep.decode()
    assert payload(b'{"list": [' + b",".join([b"{}"] * 500) + b"]}").session_id is None


def test_of_keys_that_occur_twice_the_last_one_counts() -> None:
    assert payload(b'{"input": "one", "input": "two"}') == Payload("two")


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON; charset=UTF-8", 'application/cloudevents+json;charset="utf-8"'],
)
def test_kinds_of_json(content_type: str) -> None:
    assert parse(b'{"input": "x"}', content_type).content == {"input": "x"}


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "multipart/form-data", "application/json; charset=latin-1", "json", ";;;"]
)
def test_other_types_and_encodings_are_refused(content_type: str) -> None:
    with pytest.raises(Problem) as problem:
        parse(b'{"input": "x"}', content_type)
    assert problem.value.status == 415


def test_a_form_is_an_object_of_its_fields() -> None:
    body = parse(b"input=H%C3%A4llo+du&tag=a&tag=b&empty=", FORM)
    assert body.content == {"input": "Hällo du", "tag": ["a", "b"], "empty": ""}
    assert default(body) == Payload("Hällo du")
    assert json.loads(parse(b"a=1", FORM).text) == {"a": "1"}


def test_the_form_of_github_is_the_json_in_it() -> None:
    body = parse(b"payload=%7B%22action%22%3A+%22opened%22%7D", FORM)
    assert body.content == {"action": "opened"} and body.text == '{"action": "opened"}'


@pytest.mark.parametrize(
    ("form", "status"),
    [(b"payload=no", 400), (b"payload=[]", 422), (b"a=%ff", 400), (b"a=%00", 422), (b"a=1&" * 1001, 422)],
)
def test_what_is_wrong_with_a_form(form: bytes, status: int) -> None:
    with pytest.raises(Problem) as problem:
        parse(form, FORM)
    assert problem.value.status == status


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.one_of(json_values.map(lambda value: json.dumps(value).encode()), st.binary(), st.text().map(str.encode)))
def test_any_body_is_taken_or_a_problem(body: bytes) -> None:
    """And what is taken, Postgres can hold."""
    for content_type in ("application/json", FORM):
        try:
            given = default(parse(body, content_type))
        except Problem as problem:
            assert problem.status in (400, 422)
            json.dumps([problem.detail, problem.fields], ensure_ascii=False).encode()
        else:
            held: Any = json.dumps([given.input, given.session_id, given.user_id, given.metadata], allow_nan=False)
            assert "\\u0000" not in held.replace("\\\\", "")
