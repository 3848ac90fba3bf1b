"""The queue: agno's durable queue contract on our table `tickets`. agno/job_queue/store.py says what it asks."""

import asyncio
import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from runtime import sql
from runtime.acceptance import Acceptance, QueueFull, Submission
from runtime.connections import UNAVAILABLE, connect, make_pool
from runtime.group import Group
from runtime.settlements import Settlement, Settlements, settle
from runtime.tickets import CHANNEL, ENDED, NAMES, context_of, stamp, storable, to_job, trace_id_of
from telemetry.metrics import Instruments

__all__ = ["CHANNEL", "UNAVAILABLE", "Queue", "QueueFull", "States", "context_of", "stamp", "trace_id_of"]

T = TypeVar("T")
log = logging.getLogger(__name__)

QUEUE = "default"
_SQL = sql.load("tickets")
_BATCH = 500  # rows in one statement that deletes


@dataclass(frozen=True)
class States:
    """Tickets by state (those that have ended are not counted), and the seconds for which the oldest could have run."""

    tickets: Mapping[str, int]
    oldest: float


class Queue:
    """Tickets in Postgres, for any number of processes. The methods may be called from any thread or event loop.

    Every call raises one of UNAVAILABLE within seconds while Postgres is away. `instruments` is set once telemetry has
    started.
    """

    serializes_sessions = True

    def __init__(self, database_url: str, max_depth: int = 10_000) -> None:
        self.max_depth = max_depth
        self.instruments: Instruments | None = None
        self.accepting: Group[Submission, Any] = Group(
            "accept", lambda: connect(database_url, "accept"), Acceptance().run
        )
        self.settlements = Settlements(database_url)
        self._pool = make_pool(database_url, "queue")
        self._executor = ThreadPoolExecutor(4, "queue")

    def open(self) -> None:
        """Does not wait for Postgres."""
        self._pool.open()
        self.accepting.open()
        self.settlements.open()

    def close(self) -> None:
        """What was handed in is still done."""
        self.accepting.close()
        self.settlements.close()
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._pool.close(timeout=2)

    # The worker's

    def claim(
        self,
        worker_id: str,
        limit: int,
        lease_seconds: int,
        busy: Collection[str] = (),
        deployment_id: str | None = None,
    ) -> list[dict[str, Any]]:
        """Up to `limit` tickets that are now this worker's, in the order in which they are to run.

        `busy` are the components whose tickets stay. A ticket is another's when its lease has not been renewed for
        `lease_seconds`.
        """
        rows = self._fetch(
            _SQL["claim"],
            worker=worker_id,
            most=limit,
            lease=lease_seconds,
            busy=list(busy),
            deployment_id=deployment_id,
        )
        rows.sort(key=lambda row: (-row[-1], row[0]))
        jobs = [to_job(row[1:]) for row in rows]
        for job in jobs:
            wait = stamp(job).get("wait")
            if self.instruments is not None and wait is not None:
                self.instruments.ticket_waited(job["component_id"], wait)
        return jobs

    def heartbeat(self, worker_id: str, ids: Sequence[str]) -> int:
        """Renews the leases; answers how many were still this worker's."""
        return self._change(_SQL["heartbeat"], worker=worker_id, ids=list(ids)) if ids else 0

    async def claim_job(
        self, worker_id: str, lock_grace_seconds: int = 60, deployment_id: str | None = None
    ) -> dict[str, Any] | None:
        jobs = await self._soon(self.claim, worker_id, 1, lock_grace_seconds, (), deployment_id)
        return jobs[0] if jobs else None

    async def heartbeat_jobs(self, worker_id: str, job_ids: list[str]) -> int:
        return await self._soon(self.heartbeat, worker_id, job_ids)

    async def complete_job(
        self, job_id: str, worker_id: str, attempt: int, status: str, error: str | None = None
    ) -> bool:
        """False when the ticket is no longer this worker's in this attempt."""
        settlement = Settlement(job_id, status, worker_id, attempt, error=error)
        return await self.settlements.make(settlement) is not None

    async def retry_or_fail_job(
        self, job_id: str, worker_id: str, attempt: int, error: str, retry_delay_seconds: float = 30
    ) -> str | None:
        """`queued` or `failed`; None when the ticket is no longer this worker's in this attempt."""
        delay = max(0.0, retry_delay_seconds)
        settlement = Settlement(job_id, None, worker_id, attempt, error=error, delay=delay)
        return await self.settlements.make(settlement)

    async def sweep_exhausted_jobs(self, lock_grace_seconds: int = 60, limit: int = 20) -> list[dict[str, Any]]:
        """Tickets whose lease and attempts have run out."""
        rows = await self.rows(_SQL["exhausted"], lease=lock_grace_seconds, most=limit)
        return [to_job(row) for row in rows]

    async def acquire_sweep(self, job_id: str, worker_id: str, lock_grace_seconds: int = 60) -> bool:
        return bool(await self._changed("acquire", id=job_id, worker=worker_id, lease=lock_grace_seconds))

    async def settle_swept_job(self, job_id: str, worker_id: str, status: str, error: str | None = None) -> bool:
        if status not in (*ENDED, "paused"):
            return False
        settlement = Settlement(job_id, status, worker_id, error=error)
        return await self.settlements.make(settlement) is not None

    # What people and their clients ask for

    async def enqueue_job(self, job: dict[str, Any], max_depth: int = 0) -> dict[str, Any]:
        """{"accepted", "reason": None, "duplicate" or "queue_full", "job"}.

        Raises psycopg.errors.UniqueViolation for an id that is there already.
        """
        try:
            stored = await self.accepting.do(Submission.of_job(job, max_depth))
        except QueueFull:
            return {"accepted": False, "reason": "queue_full", "job": None}
        if stored is None:
            return {"accepted": True, "reason": None, "job": dict(job)}
        return {"accepted": False, "reason": "duplicate", "job": stored}

    async def cancel_job(self, job_id: str) -> bool:
        """False for a ticket that is running or has ended."""
        settlement = Settlement(job_id, "cancelled", was=("queued", "paused"), keep_error=True)
        return await self._soon(self._settle_waiting, settlement)

    async def settle_paused_job(self, job_id: str, status: str, error: str | None = None) -> bool:
        if status not in ENDED:
            return False
        return await self._soon(self._settle_waiting, Settlement(job_id, status, error=error, was=("paused",)))

    async def continue_job(self, job_id: str, continue_payload: dict[str, Any]) -> dict[str, Any]:
        """{"outcome": "queued", "attach" (it is on its way already) or "conflict" (it has ended), "job"}."""
        inputs = json.dumps(continue_payload, allow_nan=False)
        while True:
            rows = await self.rows(_SQL["continue"], id=job_id, inputs=inputs)
            if rows:
                return {"outcome": "queued", "job": to_job(rows[0][:-1])}
            job = await self.get_job(job_id, strict=True)
            if job is None or job["status"] in ENDED:
                return {"outcome": "conflict", "job": job}
            if job["status"] != "paused":  # else it has just become so
                return {"outcome": "attach", "job": job}

    async def requeue_job(self, job_id: str) -> bool:
        """One more attempt of a ticket that failed or was cancelled, behind its session's other tickets."""

        def requeue() -> bool:
            with self._pool.connection() as connection, connection.transaction():
                connection.execute(_SQL["lock_lane_of"], {"id": job_id})
                return connection.execute(_SQL["requeue"], {"id": job_id}).fetchone() is not None

        return await self._soon(requeue) if _can_be_id(job_id) else False

    async def get_job(self, job_id: str, strict: bool = False) -> dict[str, Any] | None:
        """None when there is none, and, unless it is asked for strictly, when Postgres is away."""
        if not _can_be_id(job_id):
            return None
        try:
            rows = await self.rows(_SQL["get"], id=job_id)
        except UNAVAILABLE as error:
            if strict:
                raise
            log.warning("ticket %s cannot be read: %s", job_id, error)
            return None
        return to_job(rows[0]) if rows else None

    async def session_blocker(self, job_id: str) -> str | None:
        """The id of the ticket that a waiting one waits for, or None."""
        rows = await self.rows(_SQL["blocker"], id=job_id) if _can_be_id(job_id) else []
        return rows[0][0] if rows else None

    async def count_queued_jobs(self) -> int:
        rows = await self.rows(_SQL["count_queued"], most=None)
        return int(rows[0][0])

    async def list_jobs(
        self,
        status: str | list[str] | None = None,
        limit: int = 20,
        page: int = 1,
        sort_by: str | None = "created_at",
        sort_order: str | None = "desc",
        *,
        session_id: str | list[str] | None = None,
        user_id: str | None = None,
        raise_on_error: bool = False,
    ) -> tuple[list[dict[str, Any]], int]:
        """A page and the number of all. An unknown `sort_by` is ignored. Errors are raised either way."""
        values = {
            "statuses": [status] if isinstance(status, str) else status,
            "sessions": [session_id] if isinstance(session_id, str) else session_id,
            "user": user_id,
        }
        if not all(_can_be_id(text) for text in (*(values["sessions"] or ()), user_id or "")):
            return [], 0
        direction = "ASC" if sort_order == "asc" else "DESC"
        order = {name: f"t.{name}" for name in NAMES} | {"updated_at": "coalesce(t.updated_at, t.created_at)"}
        by = f"{order[sort_by]} {direction}, " if sort_by in order else ""
        query = _SQL["page"] + f" ORDER BY {by}t.seq {direction} LIMIT %(limit)s OFFSET %(offset)s".encode()
        rows = await self.rows(query, **values, limit=limit, offset=max(page - 1, 0) * limit)
        count = await self.rows(_SQL["count"], **values)
        return [to_job(row) for row in rows], int(count[0][0])

    async def queue_stats(self) -> dict[str, Any]:
        rows = await self.rows(_SQL["stats"])
        ages = {status: age for status, _, age in rows}
        return {
            "counts": {status: number for status, number, _ in rows},
            "oldest_queued_age_seconds": ages.get("queued"),
        }

    async def cleanup_jobs(self, older_than_seconds: int = 86_400) -> int:
        """Deletes tickets that ended longer ago; a paused one has not ended."""
        return await self._soon(lambda: self.delete(_SQL["prune"], seconds=older_than_seconds))

    # The instruments'

    def states(self) -> States:
        rows = self._fetch(_SQL["states"])
        oldest = max((float(age or 0) for _, _, age in rows), default=0.0)
        return States({status: number for status, number, _ in rows if number}, max(0.0, oldest))

    # How

    async def rows(self, query: bytes, **values: Any) -> list[Any]:
        return await self._soon(lambda: self._fetch(query, **values))

    def delete(self, query: bytes, **values: Any) -> int:
        """In small steps, so that nobody waits for it. `query` takes `most`."""
        total = 0
        while deleted := self._change(query, **values, most=_BATCH):
            total += deleted
        return total

    def later(self, function: Callable[[], None]) -> None:
        """On a thread that may wait for Postgres."""
        self._executor.submit(function)

    def _fetch(self, query: bytes, **values: Any) -> list[Any]:
        with self._pool.connection() as connection:
            return connection.execute(query, values).fetchall()

    def _change(self, query: bytes, **values: Any) -> int:
        with self._pool.connection() as connection:
            return connection.execute(query, values).rowcount

    def _settle_waiting(self, settlement: Settlement) -> bool:
        """Of a ticket that does not run: it may be another's next in its lane, so the lane's lock comes first."""
        if not _can_be_id(settlement.id):
            return False
        with self._pool.connection() as connection, connection.transaction():
            connection.execute(_SQL["lock_lane_of"], {"id": settlement.id})
            return settle(connection, [settlement]) != [None]

    async def _changed(self, query: str, **values: Any) -> int:
        return await self._soon(lambda: self._change(_SQL[query], **values))

    async def _soon(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)


def _can_be_id(text: str) -> bool:
    return storable(text) == text
