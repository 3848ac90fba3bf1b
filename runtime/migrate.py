"""Brings Postgres up to date: our tables by Alembic, and those of agno's that telemetry and the queue write to."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from runtime.queue import SCHEMA, Database

_LOCK = 7_263_544_105  # one at a time, however many runtimes start
_AGNO_TABLES = ("sessions", "runs", "traces", "spans", "jobs", "approvals")
_DELIVERY_KEY = f"""
CREATE UNIQUE INDEX IF NOT EXISTS agno_jobs_delivery ON {SCHEMA}.agno_jobs (idempotency_key)
WHERE idempotency_key LIKE 'webhook:%'
"""  # agno's own index is per user, and the user is part of a delivery's body: one id would allow two runs


def migrate(database_url: str) -> None:
    """Idempotent and safe to run from several processes at once. Raises sqlalchemy.exc.SQLAlchemyError."""
    database = Database(database_url)
    try:
        with database.db_engine.connect() as connection:
            connection.execute(text(f"SELECT pg_advisory_lock({_LOCK})"))
            connection.commit()
            config = Config()
            config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
            for table in _AGNO_TABLES:
                database._get_table(table_type=table, create_table_if_not_found=True)
            connection.execute(text(_DELIVERY_KEY))
            connection.commit()
            connection.execute(text(f"SELECT pg_advisory_unlock({_LOCK})"))
            connection.commit()
    finally:
        database.db_engine.dispose()


def is_migrated(database_url: str) -> bool:
    """Whether `migrate` has run. Raises sqlalchemy.exc.SQLAlchemyError when Postgres is away."""
    database = Database(database_url)
    try:
        with database.db_engine.connect() as connection:
            query = text(
                f"SELECT to_regclass('deliveries') IS NOT NULL AND to_regclass('{SCHEMA}.agno_jobs') IS NOT NULL"
            )
            return bool(connection.execute(query).scalar())
    finally:
        database.db_engine.dispose()
