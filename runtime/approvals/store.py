"""Approvals in Postgres: agno's record, who waits for it and what has to be told, always in one commit."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

from runtime import sql
from runtime.approvals import notices
from runtime.connections import UNAVAILABLE, make_pool

_SQL = sql.load("approvals")


@dataclass(frozen=True)
class Asked:
    """The run that waits, as a ticket names it, and where it was when it asked."""

    run_id: str
    attempt: int
    component_type: str
    component_id: str
    traceparent: str | None = None
    authority: dict[str, Any] | None = None


@dataclass(frozen=True)
class Decision:
    """`status`: approved, rejected or expired. `through`: the route that it came by (ours, agno, timeout)."""

    status: str
    through: str
    by: str | None = None
    reason: str | None = None  # a rejection's, or the note of who approved
    arguments: dict[str, Any] | None = None  # those that replace the model's
    data: dict[str, Any] = field(default_factory=dict)  # what GET /approvals shows of it


@dataclass(frozen=True)
class Stored:
    """An approval. `record`: agno's row. The run is None for a record that agno alone knows."""

    record: dict[str, Any]
    run_id: str | None
    component_type: str | None
    component_id: str | None
    decision: Decision | None


@dataclass(frozen=True)
class Decided:
    """Times in seconds since 1970."""

    record: dict[str, Any]
    decision: Decision
    run_id: str
    traceparent: str | None
    asked_at: float
    decided_at: float


@dataclass(frozen=True)
class Waiting:
    """A run all of whose approvals are decided: by approval id, those that it has not gone on with yet are in `new`."""

    run_id: str
    component_type: str
    component_id: str
    authority: dict[str, Any] | None
    decisions: Mapping[str, Decision]
    new: frozenset[str]


@dataclass(frozen=True)
class Notice:
    id: str
    approval_id: str
    body: str
    attempt: int


class Store:
    """Every call raises one of UNAVAILABLE within seconds while Postgres is away. From any thread.

    `notify`: whether notices are written; `base_url`: what their links begin with. `on_decided` hears of the decisions
    that this process made, `on_change` that there is something to send or to go on with.
    """

    def __init__(self, database_url: str, timeout_seconds: int, base_url: str, notify: bool) -> None:
        self.timeout_seconds = timeout_seconds
        self.on_change: Callable[[], None] = lambda: None
        self.on_decided: Callable[[Decided], None] = lambda decided: None
        self._base_url = base_url
        self._notify = notify
        self._pool = make_pool(database_url, "approvals")
        self._seen: set[str] = set()

    def open(self) -> None:
        """Does not wait for Postgres."""
        self._pool.open()

    def close(self) -> None:
        self._pool.close(timeout=2)

    def create(self, records: Iterable[dict[str, Any]], asked: Asked) -> None:
        """Adds agno's records, one for each tool call; what an earlier attempt of the run asked is withdrawn."""
        now = time.time()
        with self._transaction() as connection:
            connection.execute(_SQL["withdraw"], vars(asked))
            for given in records:
                record = {**given, "expires_at": int(now + self.timeout_seconds)}
                connection.execute(_SQL["create"], {"record": json.dumps(record)})
                wait = {**vars(asked), "authority": Jsonb(asked.authority) if asked.authority else None}
                times = {"created_at": now, "expires_at": now + self.timeout_seconds}
                connection.execute(_SQL["wait"], {**wait, **times, "approval_id": record["id"]})
                self._tell(connection, notices.REQUESTED, record, asked.run_id)
        self.on_change()

    def get(self, approval_id: str) -> Stored | None:
        with self._pool.connection() as connection:
            row = connection.execute(_SQL["get"], {"id": approval_id}).fetchone()
        if row is None:
            return None
        record, run_id, component_type, component_id, status, reason, arguments = row
        decision = Decision(status, "", record["resolved_by"], reason, arguments) if status else None
        return Stored(record, run_id, component_type, component_id, decision)

    def of_run(self, run_id: str) -> list[str]:
        """The ids of the approvals that a run, its members or its steps asked for, newest first."""
        with self._pool.connection() as connection:
            return [row[0] for row in connection.execute(_SQL["of_run"], {"run_id": run_id})]

    def decide(self, approval_id: str, decision: Decision) -> dict[str, Any] | None:
        """agno's record as it is now; None when it is not pending (any more): somebody else decided."""
        decided = None
        with self._transaction() as connection:
            row = connection.execute(
                _SQL["decide"],
                {"id": approval_id, "status": decision.status, "by": decision.by, "data": Jsonb(decision.data)},
            ).fetchone()
            if row is None and decision.through != "timeout":
                return None
            values = {**vars(decision), "id": approval_id}
            values |= {"arguments": Jsonb(decision.arguments) if decision.arguments is not None else None}
            wait = connection.execute(_SQL["decided"], values).fetchone()
            if row is not None and wait is not None:
                decided = Decided(row[0], decision, *wait)
                self._tell(connection, notices.RESOLVED, row[0], decided.run_id, decision)
        if decided is not None:
            self.on_decided(decided)
        self.on_change()
        return row[0] if row is not None else None

    def withdraw(self, run_id: str) -> None:
        """The run has ended: what it still asked for is cancelled."""
        with self._transaction() as connection:
            connection.execute(_SQL["withdraw_run"], {"run_id": run_id})

    def overdue(self) -> list[str]:
        with self._pool.connection() as connection:
            return [row[0] for row in connection.execute(_SQL["overdue"])]

    def due(self) -> list[str]:
        """Runs to go on with, some of them."""
        with self._pool.connection() as connection:
            return [row[0] for row in connection.execute(_SQL["due"])]

    @contextmanager
    def going_on(self, run_id: str) -> Iterator[tuple[Waiting, Callable[[bool], None]] | None]:
        """The run, for this process alone, and what to call at the end: with False it is tried again soon.

        None when another process has it.
        """
        with self._transaction() as connection:
            locked = connection.execute(_SQL["lock"], {"run_id": run_id}).fetchone()
            rows = connection.execute(_SQL["decisions"], {"run_id": run_id}).fetchall() if locked and locked[0] else []
            new = frozenset(row[0] for row in rows if row[8])
            if not new or any(row[1] is None for row in rows):
                yield None
                return
            decisions = {row[0]: Decision(row[1], row[4] or "", None, row[2], row[3], row[9] or {}) for row in rows}

            def end(is_done: bool) -> None:
                connection.execute(_SQL["continued" if is_done else "later"], {"run_id": run_id})

            yield Waiting(run_id, rows[0][6], rows[0][7], rows[0][5], decisions, new), end

    def claim_notices(self) -> list[Notice]:
        with self._pool.connection() as connection:
            return [Notice(*row) for row in connection.execute(_SQL["claim_notices"])]

    def delivered(self, notice: Notice) -> None:
        with self._pool.connection() as connection:
            connection.execute(_SQL["delivered"], {"id": notice.id})

    def not_delivered(self, notice: Notice, error: str) -> bool:
        """Whether it is given up now; the approval then says so."""
        with self._transaction() as connection:
            row = connection.execute(_SQL["failed"], {"id": notice.id, "error": error}).fetchone()
            if gave_up := bool(row and row[0]):
                connection.execute(_SQL["not_notified"], {"id": notice.approval_id, "error": error})
        return gave_up

    def prune(self) -> None:
        with self._pool.connection() as connection:
            connection.execute(_SQL["prune_notices"])

    def pending(self) -> list[tuple[float, Mapping[str, str]]]:
        """For agno.approvals.pending: by agent, also 0 for one that had some; nothing while Postgres is away."""
        try:
            with self._pool.connection() as connection:
                counts: dict[str, int] = dict(connection.execute(_SQL["pending"]).fetchall())
        except UNAVAILABLE:
            return []
        self._seen |= counts.keys()
        return [(counts.get(agent, 0), {"agent_id": agent}) for agent in sorted(self._seen)]

    @contextmanager
    def _transaction(self) -> Iterator[Connection[Any]]:
        with self._pool.connection() as connection, connection.transaction():
            yield connection

    def _tell(
        self,
        connection: Connection[Any],
        event: str,
        record: Mapping[str, Any],
        run_id: str,
        decision: Decision | None = None,
    ) -> None:
        if self._notify:
            notice_id, body = notices.compose(event, record, run_id, self._base_url, decision)
            connection.execute(_SQL["notify"], {"id": notice_id, "approval_id": record["id"], "body": body})
