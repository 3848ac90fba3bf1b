"""Settlements: what becomes of tickets. Those that are made at the same time are committed together."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential

from runtime import sql
from runtime.connections import Connection, connect
from runtime.group import Group
from runtime.tickets import storable
from telemetry import secrets

_SQL = sql.load("tickets")


@dataclass(slots=True)
class Settlement:
    """What becomes of a ticket if it still is what is said here, as `settle` in sql/tickets.sql reads it."""

    id: str
    status: str | None  # None: again while attempts are left, else failed
    worker: str | None = None
    attempt: int | None = None
    error: str | None = None
    delay: float = 0.0
    was: Sequence[str] | None = None  # None: running
    keep_error: bool = False
    again: bool = False  # made before, without an answer
    component: str | None = None  # whose ticket it is; known once it is settled

    def row(self, n: int) -> dict[str, Any]:
        row = {"id": self.id, "n": n, "status": self.status, "worker": self.worker, "attempt": self.attempt}
        if self.error is not None or self.delay:
            row |= {"error": storable(secrets.without(self.error or "")), "delay": self.delay}
        if self.was is not None:
            row |= {"was": self.was, "keep_error": self.keep_error}
        return row


class Settlements:
    """For any number of threads and event loops. `on_given_up` is told whose ticket has failed for good."""

    def __init__(self, database_url: str) -> None:
        self.on_given_up: Callable[[str], None] = lambda component: None
        self.group: Group[Settlement, str | None] = Group("settle", lambda: connect(database_url, "settle"), settle)
        self.open = self.group.open
        self.close = self.group.close

    async def make(self, settlement: Settlement) -> str | None:
        """The new status; None when the ticket is no longer what it was thought to be.

        Goes on while Postgres is away: a run is not executed again because its end could not be written down. A
        settlement whose answer was lost is looked for.
        """
        try:
            status = await self.group.do(settlement)
        except psycopg.OperationalError:
            settlement = replace(settlement, again=True)
            status = await _again(self._make, settlement)
        if status == "failed" and settlement.component is not None:
            self.on_given_up(settlement.component)
        return status

    async def _make(self, settlement: Settlement) -> str | None:
        return await self.group.do(settlement)


_again = AsyncRetrying(
    retry=retry_if_exception_type(psycopg.OperationalError), wait=wait_exponential(multiplier=0.1, max=2)
)


def settle(connection: Connection, settlements: Sequence[Settlement]) -> list[str | None]:
    """The new status of each, None where the ticket is no longer what it was thought to be."""
    given = json.dumps([settlement.row(n) for n, settlement in enumerate(settlements)])
    with connection.pipeline():  # one transaction
        settled = connection.execute(_SQL["settle"], {"given": given}).fetchall()
        lanes = [lane for _, _, lane, _, _ in settled if lane is not None]
        if lanes:
            connection.execute(_SQL["lock_lanes"], {"lanes": lanes})
            connection.execute(_SQL["promote"], {"lanes": lanes})
    statuses = {n: status for n, status, _, _, _ in settled}
    for n, _, _, component, _ in settled:
        settlements[n].component = component
    if lost := [n for n, settlement in enumerate(settlements) if settlement.again and n not in statuses]:
        rows = connection.execute(_SQL["outcomes"], {"ids": [settlements[n].id for n in lost]})
        outcomes = {(id, attempt): (status, component) for id, attempt, status, component in rows}
        for n in lost:
            settlement = settlements[n]
            status, settlement.component = outcomes.get((settlement.id, settlement.attempt), (None, None))
            if status in ((settlement.status,) if settlement.status else ("queued", "failed")):
                statuses[n] = status
    return [statuses.get(n) for n in range(len(settlements))]
