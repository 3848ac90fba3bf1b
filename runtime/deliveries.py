"""Deliveries: each webhook received once, remembered so that the same one sent again gets the same answer."""

import logging
import time
from dataclasses import dataclass
from typing import Any

from runtime import sql
from runtime.acceptance import Submission
from runtime.connections import UNAVAILABLE
from runtime.queue import Queue

log = logging.getLogger(__name__)

_SQL = sql.load("deliveries")
_PRUNE_SECONDS = 3600


@dataclass(frozen=True)
class Delivery:
    """One row. (source, delivery_id) is its identity; the rest says what became of it."""

    source: str
    delivery_id: str
    body_hash: str
    component_id: str
    run_id: str
    session_id: str
    trace_id: str | None


@dataclass(frozen=True)
class Accepted:
    """`delivery` is what is stored: when it is not `new`, that of the first one with the same identity."""

    new: bool
    delivery: Delivery


class Deliveries:
    """The table. Every call raises one of UNAVAILABLE within seconds when Postgres is away."""

    def __init__(self, queue: Queue, retention_days: int) -> None:
        self._queue = queue
        self._retention_days = retention_days
        self._pruned_at = float("-inf")

    async def accept(self, delivery: Delivery, job: dict[str, Any]) -> Accepted:
        """Commits the delivery and its ticket together, once per identity. `job` is agno's, with the delivery's ids.

        Raises QueueFull, or one of UNAVAILABLE: then it may be stored all the same, and sent again it is found. Raises
        psycopg.DataError for text that Postgres cannot hold.
        """
        self._prune_now_and_then()
        submission = Submission.of_delivery(
            delivery.source, delivery.delivery_id, delivery.body_hash, delivery.trace_id, job, self._queue.max_depth
        )
        row = await self._queue.accepting.do(submission)
        stored = delivery if row is None else Delivery(*row)
        return Accepted(stored.run_id == delivery.run_id, stored)

    async def find(self, source: str, delivery_id: str) -> Delivery | None:
        rows = await self._queue.rows(_SQL["find"], sources=[source], ids=[delivery_id])
        return Delivery(*rows[0]) if rows else None

    def _prune_now_and_then(self) -> None:
        """The table is pruned by what makes it grow."""
        now = time.monotonic()
        if now - self._pruned_at > _PRUNE_SECONDS:
            self._pruned_at = now
            self._queue.later(self._prune)

    def _prune(self) -> None:
        try:
            self._queue.delete(_SQL["prune"], days=self._retention_days)
        except UNAVAILABLE as error:
            log.warning("old deliveries could not be pruned: %s", error)
