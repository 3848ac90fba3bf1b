"""Deliveries: each webhook received once, remembered so that the same one sent again gets the same answer."""

import asyncio
import hashlib
import logging
from contextlib import suppress
from dataclasses import astuple, dataclass
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

log = logging.getLogger(__name__)

UNAVAILABLE = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)
_PRUNE_SECONDS = 3600

# A server that is away is an error within seconds, also one whose machine is gone without a word (TCP knows in 25 s).
CONNECT: dict[str, Any] = {
    "connect_timeout": 3,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}

_FIND = """
SELECT source, delivery_id, body_hash, component_id, run_id, session_id, trace_id
FROM deliveries WHERE source = %s AND delivery_id = %s
"""
_RECORD = """
INSERT INTO deliveries (source, delivery_id, body_hash, component_id, run_id, session_id, trace_id)
VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (source, delivery_id) DO NOTHING
"""
_PRUNE = "DELETE FROM deliveries WHERE received_at < now() - make_interval(days => %s)"


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

    def is_same(self, body_hash: str, component_id: str) -> bool:
        """Whether a delivery with the same id asks for the same thing."""
        return (self.body_hash, self.component_id) == (body_hash, component_id)


def hash_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


class Deliveries:
    """The table, on a pool of its own. Every call raises one of UNAVAILABLE within seconds when Postgres is away."""

    def __init__(self, database_url: str, retention_days: int) -> None:
        self._retention_days = retention_days
        self._pool = AsyncConnectionPool(
            database_url,
            min_size=1,
            max_size=8,
            timeout=3,
            open=False,
            kwargs={"autocommit": True, "application_name": "deliveries", **CONNECT},
            check=AsyncConnectionPool.check_connection,
        )
        self._pruning: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self._pool.open()
        self._pruning = asyncio.create_task(self._prune())

    async def close(self) -> None:
        if self._pruning is not None:
            self._pruning.cancel()
            with suppress(asyncio.CancelledError):
                await self._pruning
        await self._pool.close()

    async def find(self, source: str, delivery_id: str) -> Delivery | None:
        async with self._pool.connection() as connection:
            row = await (await connection.execute(_FIND, (source, delivery_id))).fetchone()
        return Delivery(*row) if row else None

    async def record(self, delivery: Delivery) -> None:
        """Idempotent: the first one with an identity stays."""
        async with self._pool.connection() as connection:
            await connection.execute(_RECORD, astuple(delivery))

    async def _prune(self) -> None:
        while True:
            try:
                async with self._pool.connection() as connection:
                    await connection.execute(_PRUNE, (self._retention_days,))
            except UNAVAILABLE as error:
                log.warning("old deliveries could not be pruned: %s", error)
            await asyncio.sleep(_PRUNE_SECONDS)
