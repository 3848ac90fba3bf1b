"""Connections to Postgres that answer or fail within seconds, also when the server hangs or its machine is gone."""

from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import PQGen
from psycopg_pool import ConnectionPool, PoolTimeout

T = TypeVar("T")
SECONDS = 3.5  # for one answer of the server

# What a Postgres that is away raises.
UNAVAILABLE: tuple[type[Exception], ...] = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)

# A server that is away is an error within seconds, also one whose machine is gone without a word (TCP knows in 25 s).
CONNECT: dict[str, Any] = {
    "connect_timeout": 3,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}

# Every query of ours is made for one index, and planned once. A plan that was made while the table was small, or for an
# empty queue by its statistics, would read and sort the whole queue for each claim.
_PLANS = " ".join(
    f"-c {setting}"
    for setting in (
        "plan_cache_mode=force_generic_plan",
        "enable_seqscan=off",
        "enable_sort=off",
        "enable_hashjoin=off",
        "enable_mergejoin=off",
        "jit=off",
    )
)


class Connection(psycopg.Connection[Any]):
    """Raises OperationalError, and is closed, when the server takes longer than SECONDS."""

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        try:
            return super().wait(gen, interval, SECONDS if timeout is None else timeout)
        except errors._WaitTimeout:
            self.pgconn.finish()  # what the server does with the query is unknown
            raise psycopg.OperationalError(f"Postgres did not answer within {SECONDS} s") from None

    def is_alive(self) -> bool:
        """Whether the server has not hung up; asks only the socket. For a connection that is idle."""
        if self.closed:
            return False
        try:
            self.pgconn.consume_input()
        except psycopg.OperationalError:
            return False
        return not self.broken


def connect(database_url: str, name: str) -> Connection:
    """In autocommit, in which what is sent in one pipeline is one transaction. Raises one of UNAVAILABLE."""
    return Connection.connect(database_url, autocommit=True, application_name=name, options=_PLANS, **CONNECT)


def make_pool(database_url: str, name: str) -> ConnectionPool[Connection]:
    """Opens nothing yet."""
    return ConnectionPool(
        database_url,
        connection_class=Connection,
        min_size=1,
        max_size=8,
        timeout=3,
        open=False,
        name=name,
        kwargs={"autocommit": True, "application_name": name, "options": _PLANS, **CONNECT},
        check=_check,
    )


def _check(connection: Connection) -> None:
    if not connection.is_alive():
        raise psycopg.OperationalError("the server has hung up")
