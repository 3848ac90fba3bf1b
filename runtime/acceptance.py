"""Accepting: deliveries and tickets that come at the same time are committed together, within the queue's limit."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from runtime import sql
from runtime.connections import Connection
from runtime.tickets import lane_of, to_job, to_json

_TICKETS = sql.load("tickets")
_DELIVERIES = sql.load("deliveries")
_COUNT_SECONDS = 0.25  # so old may the number of tickets be by which one is accepted; none is refused by an old number
_LEISURE = 100  # of a long queue it may be older: at most a hundredth of the time goes into counting


class QueueFull(Exception):
    """As many tickets wait as may."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A ticket to be, `json` as sql/tickets.sql reads it. Its `key` is what makes it the same as another: (source,
    delivery id) of a `delivery`, else (idempotency key, user) if it has one."""

    id: str
    json: str
    lane: str | None
    key: tuple[str, str | None] | None
    delivery: bool
    max_depth: int

    @classmethod
    def of_job(cls, job: Mapping[str, Any], max_depth: int) -> "Submission":
        key = (job["idempotency_key"], job.get("user_id")) if job.get("idempotency_key") else None
        return cls(job["id"], to_json(job), lane_of(job), key, False, max_depth)

    @classmethod
    def of_delivery(
        cls, source: str, delivery_id: str, body_hash: str, trace_id: str | None, job: Mapping[str, Any], max_depth: int
    ) -> "Submission":
        text = to_json(job, source=source, delivery_id=delivery_id, body_hash=body_hash, trace_id=trace_id)
        return cls(job["id"], text, lane_of(job), (source, delivery_id), True, max_depth)


class Acceptance:
    """Used by one thread. `run` answers what was there before: a row of `deliveries` or a job; None: it is new."""

    def __init__(self) -> None:
        self._queued = 0
        self._count_at = float("-inf")

    def run(self, connection: Connection, submissions: Sequence[Submission]) -> list[Any]:
        refused = self._refused(connection, submissions)
        taken = [s for s in submissions if s.id not in refused]
        created = self._insert(connection, taken) if taken else set()
        self._queued += len(created)
        known = _known(connection, [s for s in taken if s.id not in created])
        answers: list[Any] = []
        for submission in submissions:
            if submission.id in created:
                answers.append(None)
            elif submission.id in refused:
                answers.append(QueueFull())
            else:
                answers.append(_before(submission, known))
        return answers

    def _insert(self, connection: Connection, submissions: Sequence[Submission]) -> set[str]:
        """The ids of those that are new."""
        deliveries = [s for s in submissions if s.delivery]
        others = sorted((s for s in submissions if not s.delivery), key=lambda s: (s.key or ("", None))[0])
        lanes = [s.lane for s in submissions if s.lane is not None]
        with connection.pipeline():  # one transaction
            if lanes:
                connection.execute(_TICKETS["lock_lanes"], {"lanes": lanes})
            cursors = [
                connection.execute(_TICKETS[query], {"given": _json(part)})
                for query, part in (("accept", deliveries), ("enqueue", others))
                if part
            ]
        return {row[0] for cursor in cursors for row in cursor}

    def _refused(self, connection: Connection, submissions: Sequence[Submission]) -> set[str]:
        """The ids of those for which there is no room, duplicates never among them."""
        limits = [s.max_depth for s in submissions if s.max_depth > 0]
        if not limits:
            return set()
        if time.monotonic() > self._count_at:
            self._count(connection, max(limits))
        if self._queued + len(submissions) <= min(limits):
            return set()
        self._count(connection, max(limits))
        seen = set(_known(connection, submissions))
        refused, queued = set(), self._queued
        for submission in submissions:
            key = (submission.delivery, submission.key)
            if submission.key is not None and key in seen:
                continue
            if 0 < submission.max_depth <= queued:
                refused.add(submission.id)
                continue
            queued += 1
            seen.add(key)
        return refused

    def _count(self, connection: Connection, most: int) -> None:
        began = time.monotonic()
        row = connection.execute(_TICKETS["count_queued"], {"most": most}).fetchone()
        self._queued = row[0] if row else 0
        ended = time.monotonic()
        self._count_at = ended + max(_COUNT_SECONDS, _LEISURE * (ended - began))


def _known(connection: Connection, submissions: Sequence[Submission]) -> dict[tuple[bool, Any], Any]:
    """What is stored under their keys: a row of `deliveries` or a job, by (is a delivery, key)."""
    deliveries = [s.key for s in submissions if s.key is not None and s.delivery]
    others = [s.key for s in submissions if s.key is not None and not s.delivery]
    known: dict[tuple[bool, Any], Any] = {}
    if deliveries:
        sources, ids = zip(*deliveries, strict=True)
        for row in connection.execute(_DELIVERIES["find"], {"sources": list(sources), "ids": list(ids)}):
            known[True, (row[0], row[1])] = row
    if others:
        keys, users = zip(*others, strict=True)
        for row in connection.execute(_TICKETS["of_keys"], {"keys": list(keys), "users": list(users)}):
            job = to_job(row)
            known[False, (job["idempotency_key"], job["user_id"])] = job
    return known


def _before(submission: Submission, known: Mapping[tuple[bool, Any], Any]) -> Any:
    """What was stored before it, or why it is not known whether anything was."""
    stored = known.get((submission.delivery, submission.key))
    if stored is None:  # pruned, between two statements
        return psycopg.OperationalError("what was accepted before it is gone: send it again")
    return stored


def _json(submissions: Sequence[Submission]) -> str:
    return "[" + ",".join(f'{{"n":{n},{s.json[1:]}' for n, s in enumerate(submissions)) + "]"
