"""A ticket as agno's queue knows it (a dict, see agno.db.schemas.jobs.QueuedJob), and what a webhook put on it."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from telemetry import semconv

CHANNEL = "tickets"  # NOTIFY when something can be claimed
ENDED = ("completed", "failed", "cancelled")

# As `ticket` in sql/tickets.sql
NAMES = (
    "id",
    "component_type",
    "component_id",
    "session_id",
    "job_type",
    "deployment_id",
    "user_id",
    "payload",
    "status",
    "attempt",
    "max_attempts",
    "idempotency_key",
    "available_at",
    "locked_by",
    "locked_at",
    "error",
    "created_at",
    "updated_at",
    "completed_at",
    "priority",
)


def to_job(row: Sequence[Any]) -> dict[str, Any]:
    """A row of `ticket` in sql/tickets.sql."""
    return dict(zip(NAMES, row, strict=True))


def lane_of(job: Mapping[str, Any]) -> str | None:
    """The session whose tickets it waits for, when it is to wait for any."""
    payload = job.get("payload") or {}
    return job["session_id"] if payload.get("serialize_session") is True else None


def to_json(job: Mapping[str, Any], **more: str | None) -> str:
    """As `given` in sql/tickets.sql reads it. Raises TypeError or ValueError when the payload is no JSON."""
    now = job.get("created_at") or time.time()
    return _encode(
        {
            "id": job["id"],
            "component_type": job["component_type"],
            "component_id": job["component_id"],
            "session_id": job["session_id"],
            "job_type": job.get("job_type", "run"),
            "deployment_id": job.get("deployment_id"),
            "user_id": job.get("user_id"),
            "payload": job.get("payload") or {},
            "attempt": job.get("attempt", 0),
            "max_attempts": job.get("max_attempts", 1),
            "idempotency_key": job.get("idempotency_key") or None,
            # The server's clock decides when that is; the client only says how much later than now
            "delay": max(0, (job.get("available_at") or now) - now),
            "priority": job.get("priority", 0),
            "lane": lane_of(job),
            **more,
        }
    )


def _encode(value: Mapping[str, Any]) -> str:
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # an integer of more than 64 bits, and what is no JSON
        return json.dumps(value, allow_nan=False)


def storable(text: str) -> str:
    """Without what Postgres cannot hold."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def stamp(job: dict[str, Any]) -> dict[str, Any]:
    """Writes the attempt, and the first one's wait in seconds, into the run's metadata; answers the context.

    Also into the metadata of a run that goes on after a pause.

    Never raises: the ticket is claimed, and would wait for its lease to end.
    """
    payload = job["payload"]
    context = {**context_of(job), "attempt": job["attempt"]}
    context.pop("wait", None)
    if job["attempt"] == 1 and isinstance(context.get("accepted_at"), int | float):
        context["wait"] = max(0.0, time.time() - context["accepted_at"])
    _kwargs(payload)["metadata"] = {**_metadata(payload), semconv.TICKET_CONTEXT: context}
    if again := payload.get("continue"):
        _kwargs(again)["metadata"] = {**_metadata(again), semconv.TICKET_CONTEXT: context}
    return context


def context_of(job: Mapping[str, Any]) -> dict[str, Any]:
    """What the webhook put on the ticket; empty for a ticket that did not come from one."""
    context = _metadata(job["payload"] or {}).get(semconv.TICKET_CONTEXT)
    return context if isinstance(context, dict) else {}


def trace_id_of(context: Mapping[str, Any]) -> str | None:
    """The trace id within the context's W3C traceparent (version-traceid-spanid-flags)."""
    parts = str(context.get("traceparent", "")).split("-")
    return parts[1] if len(parts) == 4 else None


def _kwargs(payload: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(payload.get("kwargs"), dict):
        payload["kwargs"] = {}
    kwargs: dict[str, Any] = payload["kwargs"]
    return kwargs


def _metadata(payload: Mapping[str, Any]) -> dict[str, Any]:
    metadata = (payload.get("kwargs") or {}).get("metadata")
    return metadata if isinstance(metadata, dict) else {}
