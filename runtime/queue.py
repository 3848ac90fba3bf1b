"""Tickets: agno's durable queue in Postgres, with the webhook's context on every ticket."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agno.db.postgres import PostgresDb
from agno.db.postgres.engine import create_postgres_engine
from agno.db.schemas.jobs import QueuedJob
from agno.os.job_queue import QueueWorker, aenqueue_ticket, wake_queue_worker
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError, SQLAlchemyError, TimeoutError

from runtime.deliveries import CONNECT
from telemetry import semconv
from telemetry.metrics import Instruments

SCHEMA = "agno"
QUEUE = "default"
UNAVAILABLE = (OperationalError, InterfaceError, TimeoutError)
_OF_KEY = text(f"SELECT * FROM {SCHEMA}.agno_jobs WHERE idempotency_key = :key")
_DEPTH = text(
    f"SELECT status, count(*), extract(epoch FROM now()) - min(available_at) FROM {SCHEMA}.agno_jobs"
    " WHERE status IN ('queued', 'running', 'paused') GROUP BY status"
)


class QueueFull(Exception):
    """As many tickets wait as may."""


@dataclass(frozen=True)
class Accepted:
    """A committed ticket; `new` is False when it was there before. `context` is what its first webhook put on it."""

    new: bool
    run_id: str
    session_id: str
    component_id: str
    context: Mapping[str, Any]


class Database(PostgresDb):
    """AgentOS' database and the store of its queue. `instruments` is set once telemetry has started."""

    def __init__(self, database_url: str) -> None:
        engine = create_postgres_engine(
            database_url, pool_size=10, max_overflow=20, pool_timeout=5, connect_args=CONNECT
        )
        super().__init__(db_engine=engine, db_schema=SCHEMA)
        self.instruments: Instruments | None = None

    def enqueue_job(self, job: dict[str, Any], max_depth: int = 0) -> dict[str, Any]:
        """As agno's, but a delivery's key is one for all users (runtime.migrate makes the index that sees to it)."""
        try:
            return super().enqueue_job(job, max_depth)
        except IntegrityError:
            with self.db_engine.connect() as connection:
                stored = connection.execute(_OF_KEY, {"key": job["idempotency_key"]}).mappings().first()
            if stored is None:
                raise
            return {"accepted": False, "reason": "duplicate", "job": dict(stored)}

    def claim_job(
        self, worker_id: str, lock_grace_seconds: int = 60, deployment_id: str | None = None
    ) -> dict[str, Any] | None:
        job = super().claim_job(worker_id, lock_grace_seconds, deployment_id)
        if job is not None:
            wait = stamp(job).get("wait")
            if self.instruments is not None and wait is not None:
                self.instruments.ticket_waited(job["component_id"], wait)
        return job

    def depth(self) -> Iterable[tuple[float, Mapping[str, str]]]:
        """Tickets by state, for agno.queue.depth; nothing while Postgres is away."""
        return [(count, {"queue": QUEUE, "state": status}) for status, count, _ in self._states()]

    def oldest(self) -> Iterable[tuple[float, Mapping[str, str]]]:
        """Seconds that the oldest waiting ticket waits, for agno.queue.oldest.age; 0 when none does."""
        ages = [age for status, _, age in self._states() if status == "queued"]
        return [(max(0.0, float(ages[0])) if ages else 0.0, {"queue": QUEUE})]

    def _states(self) -> list[Any]:
        try:
            with self.db_engine.connect() as connection:
                return list(connection.execute(_DEPTH))
        except SQLAlchemyError:
            return []


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


async def enqueue(
    worker: QueueWorker,
    component: Any,
    kind: str,
    *,
    key: str,
    run_id: str,
    session_id: str,
    user_id: str | None,
    prompt: str,
    metadata: Mapping[str, Any],
    context: Mapping[str, Any],
) -> Accepted:
    """Commits a ticket, once per `key`: the second time answers the first ticket.

    Raises QueueFull or UNAVAILABLE.
    """
    job = QueuedJob(
        id=run_id,
        component_type=kind,
        component_id=component.id,
        session_id=session_id,
        user_id=user_id,
        payload={"input": prompt, "kwargs": {"metadata": {**metadata, semconv.TICKET_CONTEXT: dict(context)}}},
        max_attempts=worker.config.max_attempts,
        idempotency_key=key,
    ).to_dict()
    result = await aenqueue_ticket(worker, job, component)
    if result["reason"] == "queue_full":
        raise QueueFull
    stored = result["job"]
    if result["accepted"]:
        wake_queue_worker(worker)
    return Accepted(
        new=result["accepted"],
        run_id=stored["id"],
        session_id=stored["session_id"],
        component_id=stored["component_id"],
        context=context_of(stored),
    )
