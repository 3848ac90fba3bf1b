"""AgentOS' database: sessions, runs, traces, approvals. The queue is not there: runtime/queue.py."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from agno.db.postgres.engine import create_postgres_engine
from sqlalchemy.exc import InterfaceError, OperationalError, TimeoutError
from tenacity import Retrying, retry_if_exception_type, wait_exponential

from runtime import lanes
from runtime.approvals.records import Records
from runtime.connections import CONNECT

SCHEMA = "agno"
UNAVAILABLE: tuple[type[Exception], ...] = (OperationalError, InterfaceError, TimeoutError)  # what SQLAlchemy raises
M = TypeVar("M", bound=Callable[..., Any])


def _waits(method: M) -> M:
    """A run waits for Postgres. agno would go on without its history, or without having stored what it came to.

    All that is so called may be done twice. Requests are not held up: they are answered with an error.
    """

    @wraps(method)
    def waiting(*args: Any, **kwargs: Any) -> Any:
        if not lanes.is_lane():
            return method(*args, **kwargs)
        return Retrying(retry=retry_if_exception_type(UNAVAILABLE), wait=wait_exponential(multiplier=0.1, max=2))(
            method, *args, **kwargs
        )

    return waiting  # type: ignore[return-value]


class Database(Records):
    get_session = _waits(Records.get_session)
    get_run = _waits(Records.get_run)
    get_runs = _waits(Records.get_runs)
    upsert_session = _waits(Records.upsert_session)
    upsert_run = _waits(Records.upsert_run)
    update_run_in_session = _waits(Records.update_run_in_session)

    def __init__(self, database_url: str) -> None:
        engine = create_postgres_engine(
            database_url, pool_size=10, max_overflow=20, pool_timeout=5, connect_args=CONNECT
        )
        super().__init__(db_engine=engine, db_schema=SCHEMA)
