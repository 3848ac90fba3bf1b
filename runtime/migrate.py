"""Brings Postgres up to date: our tables by Alembic, and those of agno's that runs and telemetry write to.

The role `agents_readonly`, where an administrator has made it, may then read what Grafana is to show.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from runtime.database import SCHEMA, Database

_LOCK = 7_263_544_105  # one at a time, however many runtimes start
_AGNO_TABLES = ("sessions", "runs", "traces", "spans", "approvals")

# By name: agno makes further tables when they are first used, some of which hold credentials.
_READER = f"""
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'agents_readonly') THEN
        GRANT USAGE ON SCHEMA {SCHEMA} TO agents_readonly;
        GRANT SELECT ON deliveries, tickets, approval_waits, {", ".join(f"{SCHEMA}.agno_{t}" for t in _AGNO_TABLES)}
            TO agents_readonly;
    END IF;
END $$
"""


def migrate(database_url: str) -> None:
    """Idempotent and safe to run from several processes at once. Raises sqlalchemy.exc.SQLAlchemyError."""
    database = Database(database_url)
    try:
        with database.db_engine.connect() as connection:
            connection.execute(text(f"SELECT pg_advisory_lock({_LOCK})"))
            connection.commit()
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
            for table in _AGNO_TABLES:
                database._get_table(table_type=table, create_table_if_not_found=True)
            connection.execute(text(_READER))
            connection.commit()  # first: two that grant at once disturb each other
            connection.execute(text(f"SELECT pg_advisory_unlock({_LOCK})"))
            connection.commit()
    finally:
        database.db_engine.dispose()


def is_migrated(database_url: str) -> bool:
    """Whether `migrate` of this release, or of a later one, has run. Raises sqlalchemy.exc.SQLAlchemyError."""
    scripts = ScriptDirectory.from_config(_config())
    older = {script.revision for script in scripts.walk_revisions()} - {scripts.get_current_head()}
    database = Database(database_url)
    try:
        with database.db_engine.connect() as connection:
            revision = MigrationContext.configure(connection).get_current_revision()
            has_agnos = connection.execute(text(f"SELECT to_regclass('{SCHEMA}.agno_runs') IS NOT NULL")).scalar()
            return revision is not None and revision not in older and bool(has_agnos)
    finally:
        database.db_engine.dispose()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config
