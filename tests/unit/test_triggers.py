"""Triggers: which deliveries they want, and what they make of them."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from runtime.payload import Payload
from runtime.problems import Problem
from runtime.triggers import Delivered, Trigger, event_of, open_headers

BODY: dict[str, Any] = {
    "action": "opened",
    "issue": {"number": 7, "title": "It's <broken>", "body": None, "labels": [{"name": "bug"}], "locked": False},
    "items": ["a"],
    "sender": {"login": "octo"},
}
DEFAULT = Payload("the default", "github-d-1", None, {"kept": True})


def delivered(body: dict[str, Any] = BODY, event: str | None = "issues") -> Delivered:
    return Delivered("github", event, "d-1", {"x-github-event": "issues"}, body)


def shaped(**texts: Any) -> Payload:
    return Trigger(to="support", source="github", **texts).shape(delivered(), DEFAULT)


@pytest.mark.parametrize(
    ("when", "wanted"),
    [
        ({}, True),
        ({"event": "issues"}, True),
        ({"event": ["push", "issues"], "action": "opened"}, True),
        ({"event": "push"}, False),
        ({"action": ["closed", "reopened"]}, False),
        ({"issue.number": "7", "issue.locked": "false"}, True),
        ({"issue.labels.0.name": "bug"}, True),
        ({"issue.labels.1.name": "bug"}, False),
        ({"issue.labels.-1.name": "bug"}, False),
        ({"issue.labels.name": "bug"}, False),
        ({"issue": "7"}, False),
        ({"issue.body": ""}, False),
        ({"nothing.at.all": "x"}, False),
        (lambda delivered: delivered.body["issue"]["number"] > 5, True),
        (lambda delivered: "", False),
    ],
)
def test_what_is_wanted(when: Any, wanted: bool) -> None:
    assert Trigger(to="support", source="github", when=when).matches(delivered()) is wanted


def test_no_event_is_never_wanted() -> None:
    assert not Trigger(to="support", when={"event": "None"}).matches(delivered(event=None))


def test_templates_shape_the_run() -> None:
    assert shaped(
        prompt="{{ event }} {{ body.issue.title }}: {{ body.issue.body }}",
        session_id="{{ source }}-{{ body.issue.number }}",
        user_id="{{ body.sender.login }}",
    ) == Payload("issues It's <broken>: ", "github-7", "octo", {"kept": True})


def test_functions_shape_the_run() -> None:
    assert shaped(prompt=lambda d: d.body["action"], user_id=lambda d: None) == Payload(
        "opened", "github-d-1", None, {"kept": True}
    )


def test_without_texts_the_default_stays() -> None:
    assert shaped() == DEFAULT


def test_values_are_shown_as_json_has_them() -> None:
    assert shaped(prompt="{{ body.issue.locked }} {{ body.issue.labels }} {{ body.items }}").input == (
        'false [{"name": "bug"}] ["a"]'
    )
    assert json.loads(shaped(prompt="{{ body | tojson }}").input) == BODY
    assert shaped(prompt="{% for key, value in body.issue.items() if value %}{{ key }} {% endfor %}").input == (
        "number title labels "
    )


def test_headers_are_lower_case_and_without_secrets() -> None:
    headers = {
        "Authorization": "Bearer x",
        "webhook-signature": "v1,x",
        "X-Hub-Signature-256": "x",
        "X-Gitlab-Token": "x",
        "cookie": "x",
        "X-API-Key": "x",
        "X-GitHub-Event": "issues",
    }
    assert open_headers(headers) == {"x-github-event": "issues"}


@pytest.mark.parametrize(
    ("headers", "body", "event"),
    [
        ({"x-github-event": "push"}, {"type": "other"}, "push"),
        ({"x-gitlab-event": "Push Hook"}, {}, "Push Hook"),
        ({}, {"webhookEvent": "jira:issue_created"}, "jira:issue_created"),
        ({}, {"type": "user.created"}, "user.created"),
        ({}, {"type": 7}, None),
        ({}, {}, None),
    ],
)
def test_what_senders_call_an_event(headers: dict[str, str], body: dict[str, Any], event: str | None) -> None:
    assert event_of(headers, body) == event


def explode(delivered: Delivered) -> str:
    raise RuntimeError("the password is hunter2")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{ body.issue.nothing }}", "has no attribute 'nothing'"),
        ("{{ body.issue.title.__class__ }}", "unsafe"),
        ("{{ body.issue.number / 0 }}", "ZeroDivisionError"),
        ("{% for n in range(10000000) %}{% endfor %}x", "OverflowError"),
        (explode, "RuntimeError"),
        (lambda delivered: 7, "gave int"),
        (lambda delivered: "\ud800", "surrogate"),
        (lambda delivered: "a\x00", "NUL"),
    ],
)
def test_what_fails_on_a_delivery_is_told_without_secrets(text: Any, why: str) -> None:
    with pytest.raises(Problem) as problem:
        shaped(prompt=text)
    assert problem.value.status == 422 and problem.value.fields["field"] == "prompt"
    assert why in problem.value.detail and "hunter2" not in problem.value.detail


@pytest.mark.parametrize("text", ["{{ '' }}", "{{ body.issue.body }}", "{{ 'x' * 256 }}"])
def test_a_session_has_a_name(text: str) -> None:
    with pytest.raises(Problem, match="1 to 255"):
        shaped(session_id=text)


def test_a_condition_that_fails_is_told() -> None:
    trigger = Trigger(to="support", source="github", when=lambda delivered: 1 / 0 > 1)
    with pytest.raises(Problem, match=r"the when of the trigger github -> support .*ZeroDivisionError"):
        trigger.matches(delivered())


async def later(delivered: Delivered) -> str:
    return ""


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Trigger(to="a", source="Git Hub"), "source 'Git Hub'"),
        (lambda: Trigger(to="a", prompt="{{ x"), "prompt, line 1"),
        (lambda: Trigger(to="a", prompt="one\n{% if %}"), "prompt, line 2"),
        (lambda: Trigger(to="a", user_id="{{ issue.number }}"), "user_id: .* nothing called issue"),
        (lambda: Trigger(to="a", prompt="{{ body | shout }}"), "shout"),
        (lambda: Trigger(to="a", prompt="{% include 'x' %}"), "other templates"),
        (lambda: Trigger(to="a", prompt=7), "template or a function"),
        (lambda: Trigger(to="a", prompt=later), "async"),
        (lambda: Trigger(to="a", when={"action": 7}), "when"),
        (lambda: Trigger(to="a", when={7: "x"}), "when"),
        (lambda: Trigger(to="a", when="opened"), "when"),
        (lambda: Trigger(to="a", when=later), "async"),
        (lambda: Trigger(to="a", priority=40_000), "priority"),
        (lambda: Trigger(to="a", priority="high"), "priority"),
    ],
)
def test_what_cannot_work_is_an_error_of_the_file(make: Callable[[], Trigger], error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        make()
