"""Brings a database to our schema: the files schema/NNNN_*.sql in order, each once, then the retention.

Every statement is repeatable (IF NOT EXISTS), because ClickHouse has no transaction around DDL: a migration that was
interrupted is simply run again. An applied file is never edited; a change is a new file.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from clickhouse_connect.driver.client import Client

from telemetry.clickhouse.client import connect, database_of

SCHEMA = Path(__file__).parent / "schema"
RETENTION_DAYS = 30

APPLIED = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    name String,
    checksum String COMMENT 'SHA-256 of the file',
    applied_at DateTime64(3) DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree
ORDER BY name
"""

# The column whose day a row is kept from. Parts are dropped whole: every table is partitioned by that day.
RETENTION = {
    "otel_traces": "Timestamp",
    "otel_traces_trace_id_ts": "Start",
    "otel_logs": "Timestamp",
    "otel_metrics_gauge": "TimeUnix",
    "otel_metrics_sum": "TimeUnix",
    "otel_metrics_histogram": "TimeUnix",
    "otel_metrics_exponential_histogram": "TimeUnix",
    "otel_metrics_summary": "TimeUnix",
}


class MigrationError(Exception):
    """The database cannot be brought to this schema; the message says why."""


@dataclass(frozen=True)
class Migration:
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def statements(self) -> list[str]:
        """The statements without comments; a semicolon at the end of a line ends one."""
        bare = re.sub(r"^\s*--.*$", "", self.text, flags=re.MULTILINE)
        return [statement for part in re.split(r";[ \t]*(?:\n|$)", bare) if (statement := part.strip())]


def read(directory: Path = SCHEMA) -> list[Migration]:
    """The migrations of `directory` in order; their numbers must be 1, 2, 3, ... without gap or repetition."""
    paths = sorted(directory.glob("*.sql"))
    for number, path in enumerate(paths, start=1):
        if not re.fullmatch(rf"{number:04d}_[a-z0-9_]+", path.stem):
            raise MigrationError(f"{path.name} should be migration {number:04d}_name.sql")
    return [Migration(path.stem, path.read_text()) for path in paths]


def migrate(url: str, *, retention_days: int = RETENTION_DAYS, directory: Path = SCHEMA) -> list[str]:
    """Creates the database that `url` names, applies what is missing, sets the retention; returns what was applied.

    Repeatable, and harmless when two do it at once. Raises MigrationError when an applied file was edited since, when
    the database knows files that are not here, or when `retention_days` is not within 1 and 3650.
    """
    if not 1 <= retention_days <= 3650:
        raise MigrationError(f"the retention must be 1 to 3650 days, not {retention_days}")
    migrations = read(directory)
    database = database_of(url)
    client = connect(url, database="")
    try:
        client.command(f"CREATE DATABASE IF NOT EXISTS {quoted(database)}")
        client.database = database
        client.command(APPLIED)
        names = apply(client, migrations)
        retain(client, retention_days)
    finally:
        client.close()
    return names


def apply(client: Client, migrations: list[Migration]) -> list[str]:
    rows = client.query("SELECT name, checksum FROM schema_migrations FINAL").result_rows
    done: dict[str, str] = {name: checksum for name, checksum in rows}
    if unknown := sorted(done.keys() - {migration.name for migration in migrations}):
        raise MigrationError(f"the database has migrations that this version does not know: {', '.join(unknown)}")
    applied = []
    for migration in migrations:
        if migration.name in done:
            if done[migration.name] != migration.checksum:
                raise MigrationError(
                    f"{migration.name}.sql was edited after it had been applied; put it back and add a new file"
                )
            continue
        for statement in migration.statements():
            client.command(statement)
        row = [migration.name, migration.checksum]
        client.insert("schema_migrations", [row], column_names=["name", "checksum"])
        applied.append(migration.name)
    return applied


def retain(client: Client, days: int) -> None:
    """Sets the TTL of every table that does not have it yet; a change takes effect with the next merge."""
    query = "SELECT name, engine_full FROM system.tables WHERE database = currentDatabase()"
    for name, engine in client.query(query).result_rows:
        column = RETENTION.get(name)
        if column and f"toIntervalDay({days})" not in engine:
            client.command(f"ALTER TABLE {quoted(name)} MODIFY TTL toDateTime({column}) + toIntervalDay({days})")


def quoted(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
