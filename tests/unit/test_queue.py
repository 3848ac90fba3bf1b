"""What a worker writes on a ticket when it claims it."""

import json
from typing import Any

import pytest

from runtime.queue import context_of, stamp
from runtime.tickets import to_json
from telemetry.semconv import TICKET_CONTEXT

CONTEXT = {"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01", "accepted_at": 1.0}


def test_the_attempt_is_in_the_run_s_metadata() -> None:
    job = {"attempt": 2, "payload": {"kwargs": {"metadata": {"order": 7, TICKET_CONTEXT: CONTEXT}}}}
    assert stamp(job) == CONTEXT | {"attempt": 2}
    assert job["payload"] == {"kwargs": {"metadata": {"order": 7, TICKET_CONTEXT: CONTEXT | {"attempt": 2}}}}


def test_a_run_that_goes_on_after_a_pause_stays_in_its_trace() -> None:
    job: dict[str, Any] = {
        "attempt": 2,
        "payload": {
            "kwargs": {"metadata": {TICKET_CONTEXT: CONTEXT}},
            "continue": {"updated_tools": [], "kwargs": {"metadata": {"by": "me"}}},
        },
    }
    stamp(job)
    expected = {"by": "me", TICKET_CONTEXT: CONTEXT | {"attempt": 2}}
    assert job["payload"]["continue"] == {"updated_tools": [], "kwargs": {"metadata": expected}}


@pytest.mark.parametrize(
    "payload",
    [{}, {"kwargs": None}, {"kwargs": {"metadata": None}}, {"kwargs": {"metadata": "text"}}, {"continue": {}}],
)
def test_a_ticket_of_another_door_is_stamped_too(payload: dict[str, Any]) -> None:
    """A claim that raised would leave the ticket running with nobody at work."""
    job = {"attempt": 1, "payload": payload}
    assert context_of(job) == {}
    assert stamp(job) == {"attempt": 1}
    assert payload["kwargs"]["metadata"][TICKET_CONTEXT] == {"attempt": 1}


def test_the_first_claim_says_how_long_the_ticket_waited() -> None:
    job: dict[str, Any] = {"attempt": 1, "payload": {"kwargs": {"metadata": {TICKET_CONTEXT: dict(CONTEXT)}}}}
    assert stamp(job)["wait"] > 1_000_000_000, "accepted at the beginning of 1970"
    job["attempt"] = 2
    assert "wait" not in stamp(job), "the second claim's wait is not the queue's"


@pytest.mark.parametrize(
    "value", [2**70, -(2**70), {1: "a key that is no text"}, "\u00e9\U0001f986", 1.5, None, [True]]
)
def test_whatever_json_has_is_on_the_ticket(value: Any) -> None:
    job = {"id": "1", "component_type": "agent", "component_id": "a", "session_id": "s", "payload": {"input": value}}
    assert json.loads(to_json(job))["payload"] == json.loads(json.dumps({"input": value}))


def test_what_json_has_not_is_refused() -> None:
    job = {"id": "1", "component_type": "agent", "component_id": "a", "session_id": "s", "payload": {"input": object()}}
    with pytest.raises(TypeError):
        to_json(job)
