"""AgentOS' database: sessions, runs, traces, approvals. The queue is not there: runtime/queue.py."""

from agno.db.postgres.engine import create_postgres_engine
from sqlalchemy.exc import InterfaceError, OperationalError, TimeoutError

from runtime.approvals.records import Records
from runtime.connections import CONNECT

SCHEMA = "agno"
UNAVAILABLE: tuple[type[Exception], ...] = (OperationalError, InterfaceError, TimeoutError)  # what SQLAlchemy raises


class Database(Records):
    def __init__(self, database_url: str) -> None:
        engine = create_postgres_engine(
            database_url, pool_size=10, max_overflow=20, pool_timeout=5, connect_args=CONNECT
        )
        super().__init__(db_engine=engine, db_schema=SCHEMA)
