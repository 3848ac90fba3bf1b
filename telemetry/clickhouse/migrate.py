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
from telemetry.clickhouse.cluster import EVERYWHERE, Cluster, clustered, local, on, replicated, shard_keys

SCHEMA = Path(__file__).parent / "schema"
RETENTION_DAYS = 30
ROLLUP_DAYS = 400  # a year can be compared with the one before

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

# The column whose day a row is kept from. Parts are dropped whole: tables are partitioned by that day, or its week
# or month.
RETENTION = {
    "otel_traces": "Timestamp",
    "otel_traces_trace_id_ts": "Start",
    "otel_logs": "Timestamp",
    "otel_metrics_gauge": "TimeUnix",
    "otel_metrics_sum": "TimeUnix",
    "otel_metrics_histogram": "TimeUnix",
    "otel_metrics_exponential_histogram": "TimeUnix",
    "otel_metrics_summary": "TimeUnix",
    "operations_by_minute": "minute",
}
ROLLUPS = {"operations_by_hour": "hour"}


class MigrationError(Exception):
    """The database cannot be brought to this schema; the message says why."""


@dataclass(frozen=True)
class Migration:
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def statements(self, cluster: Cluster | None = None) -> list[str]:
        """The statements without comments, as `cluster` needs them; a semicolon at the end of a line ends one."""
        bare = re.sub(r"^\s*--.*$", "", self.text, flags=re.MULTILINE)
        single = [statement for part in re.split(r";[ \t]*(?:\n|$)", bare) if (statement := part.strip())]
        if cluster is None:
            return single
        keys, tables = shard_keys(self.text), {**RETENTION, **ROLLUPS}
        return [each for statement in single for each in clustered(statement, cluster, keys, tables)]


def read(directory: Path = SCHEMA) -> list[Migration]:
    """The migrations of `directory` in order; their numbers must be 1, 2, 3, ... without gap or repetition."""
    paths = sorted(directory.glob("*.sql"))
    for number, path in enumerate(paths, start=1):
        if not re.fullmatch(rf"{number:04d}_[a-z0-9_]+", path.stem):
            raise MigrationError(f"{path.name} should be migration {number:04d}_name.sql")
    return [Migration(path.stem, path.read_text()) for path in paths]


def migrate(
    url: str,
    *,
    retention_days: int = RETENTION_DAYS,
    rollup_days: int = ROLLUP_DAYS,
    cluster: str | None = None,
    directory: Path = SCHEMA,
) -> list[str]:
    """Creates the database that `url` names, applies what is missing, sets the retention; returns what was applied.

    `retention_days` is for spans, metrics, logs and rollups by minute, `rollup_days` for rollups by hour. With
    `cluster`, its name in the server's configuration, everything is made on all of its servers.

    Repeatable, and harmless when two do it at once. Raises MigrationError when an applied file was edited since, when
    the database knows files that are not here, or when days are not within 1 and 3650.
    """
    for days in (retention_days, rollup_days):
        if not 1 <= days <= 3650:
            raise MigrationError(f"the retention must be 1 to 3650 days, not {days}")
    if cluster is not None and not re.fullmatch(r"[\w.-]+", cluster):
        raise MigrationError(f"no name of a cluster: {cluster!r}")
    migrations = read(directory)
    database = database_of(url)
    found = Cluster(cluster, database) if cluster else None
    client = connect(url, database="")
    try:
        client.command(f"CREATE DATABASE IF NOT EXISTS {quoted(database)}{on(found)}")
        client.database = database
        client.command(applied_table(found))
        names = apply(client, migrations, found)
        retain(client, dict.fromkeys(RETENTION, retention_days) | dict.fromkeys(ROLLUPS, rollup_days), found)
    finally:
        client.close()
    return names


def applied_table(cluster: Cluster | None) -> str:
    """On a cluster each server has all of it: whichever is asked next knows what was applied."""
    if cluster is None:
        return APPLIED
    statement = APPLIED.replace("schema_migrations", f"schema_migrations{on(cluster)}")
    return replicated(statement, EVERYWHERE)


def apply(client: Client, migrations: list[Migration], cluster: Cluster | None = None) -> list[str]:
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
        for statement in migration.statements(cluster):
            client.command(statement)
        row = [migration.name, migration.checksum]
        client.insert("schema_migrations", [row], column_names=["name", "checksum"])
        applied.append(migration.name)
    return applied


def retain(client: Client, days: dict[str, int], cluster: Cluster | None) -> None:
    """Sets the TTL of every table that does not have it yet; a change takes effect with the next merge."""
    query = "SELECT name, engine_full FROM system.tables WHERE database = currentDatabase()"
    engines = {name: engine for name, engine in client.query(query).result_rows}
    for name, column in {**RETENTION, **ROLLUPS}.items():
        table = local(name, cluster)
        if table in engines and f"toIntervalDay({days[name]})" not in engines[table]:
            ttl = f"toDateTime({column}) + toIntervalDay({days[name]})"
            client.command(f"ALTER TABLE {quoted(table)}{on(cluster)} MODIFY TTL {ttl}")


def quoted(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
