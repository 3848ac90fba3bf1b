"""AgentOS' database: sessions, runs, traces, approvals. The queue is not there: runtime/queue.py."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, TypeVar

from agno.db.postgres.engine import create_postgres_engine
from sqlalchemy.exc import InterfaceError, OperationalError, TimeoutError
from sqlalchemy.orm import scoped_session, sessionmaker
from tenacity import Retrying, retry_if_exception_type, wait_exponential

from runtime import lanes
from runtime.approvals.records import Records
from runtime.connections import CONNECT
from runtime.replica import Replica, Session

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


def _reads(method: M) -> M:
    """From the replica, where there is one and the caller may be told what is not the latest."""

    @wraps(method)
    def reading(self: "Database", *args: Any, **kwargs: Any) -> Any:
        found = None if self.replica is None else self.replica.read(partial(method, self, *args, **kwargs))
        return method(self, *args, **kwargs) if found is None else found

    return reading  # type: ignore[return-value]


class Database(Records):
    get_session = _reads(_waits(Records.get_session))
    get_sessions = _reads(Records.get_sessions)
    get_run = _reads(_waits(Records.get_run))
    get_runs = _reads(_waits(Records.get_runs))
    get_trace = _reads(Records.get_trace)
    get_traces = _reads(Records.get_traces)
    get_trace_stats = _reads(Records.get_trace_stats)
    get_span = _reads(Records.get_span)
    get_spans = _reads(Records.get_spans)
    upsert_session = _waits(Records.upsert_session)
    upsert_run = _waits(Records.upsert_run)
    update_run_in_session = _waits(Records.update_run_in_session)

    def __init__(self, database_url: str, read_url: str | None = None) -> None:
        engine = create_postgres_engine(
            database_url, pool_size=10, max_overflow=20, pool_timeout=5, connect_args=CONNECT
        )
        super().__init__(db_engine=engine, db_schema=SCHEMA)
        self.replica = Replica(read_url) if read_url else None
        if self.replica is not None:
            self.Session = scoped_session(sessionmaker(engine, class_=Session, expire_on_commit=False))

    def dispose(self) -> None:
        """Closes all connections."""
        self.db_engine.dispose()
        if self.replica is not None:
            self.replica.engine.dispose()
