"""Sizes of the Postgres tables, for agno.db.table.size and agno.db.table.rows: one query a minute, off every path."""

import logging
import random
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import psycopg

log = logging.getLogger(__name__)

INTERVAL = 60.0  # seconds between readings; while Postgres is away twice as long each time, up to LONGEST
LONGEST = 300.0
MOST = 200  # tables; each is an attribute value
SCHEMAS = ("public", "agno")

# A partitioned table is the sum of its partitions. reltuples is -1 before the first ANALYZE.
_TABLES = """
SELECT CASE table_.relnamespace WHEN 'public'::regnamespace THEN table_.relname
       ELSE schema.nspname || '.' || table_.relname END,
    coalesce(sum(pg_total_relation_size(part.oid)), 0)::bigint AS size,
    coalesce(sum(
        CASE WHEN part.reltuples < 0 THEN pg_stat_get_live_tuples(part.oid) ELSE part.reltuples END
    ), 0)::bigint
FROM pg_class table_
JOIN pg_namespace schema ON schema.oid = table_.relnamespace
LEFT JOIN LATERAL (SELECT table_.oid UNION SELECT relid FROM pg_partition_tree(table_.oid)) tree(oid) ON true
LEFT JOIN pg_class part ON part.oid = tree.oid AND part.relkind = 'r'
WHERE schema.nspname = ANY(%s) AND table_.relkind IN ('r', 'p') AND NOT table_.relispartition
GROUP BY table_.oid, table_.relname, table_.relnamespace, schema.nspname
ORDER BY size DESC
LIMIT %s
"""


@dataclass(frozen=True)
class Table:
    """`name` has its schema where that is not public; `size` in bytes with indexes and toast; `rows` approximate."""

    name: str
    size: int
    rows: int


def read(database_url: str, schemas: Sequence[str] = SCHEMAS, most: int = MOST) -> list[Table]:
    """The largest `most` ordinary and partitioned tables, largest first. Raises psycopg.Error, after 5 s at the latest.

    A table that another session holds exclusively is waited for no longer than the 5 s.
    """
    connection = psycopg.connect(
        database_url,
        application_name="table-sizes",
        connect_timeout=3,
        keepalives_idle=10,
        tcp_user_timeout=10_000,
    )
    with connection, connection.transaction():
        connection.execute("SET LOCAL statement_timeout = '5s'")
        return [Table(*row) for row in connection.execute(_TABLES, (list(schemas), most))]


class TableSizes:
    """Reads in a daemon thread from the first moment on; what it read is forgotten after three intervals."""

    def __init__(self, database_url: str, interval: float = INTERVAL) -> None:
        self._url = database_url
        self._interval = interval
        self._tables: list[Table] = []
        self._read_at = float("-inf")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="table-sizes", daemon=True)
        self._thread.start()

    def tables(self) -> list[Table]:
        """Largest first; empty when Postgres has not been read lately."""
        return self._tables if time.monotonic() - self._read_at < 3 * self._interval else []

    def sizes(self) -> Iterable[tuple[float, Mapping[str, str]]]:
        return [(table.size, {"table": table.name}) for table in self.tables()]

    def rows(self) -> Iterable[tuple[float, Mapping[str, str]]]:
        return [(table.rows, {"table": table.name}) for table in self.tables()]

    def stop(self, timeout: float = 1.0) -> None:
        """A query under way is left behind: its thread is a daemon."""
        self._stopping.set()
        self._thread.join(timeout)

    def _work(self) -> None:
        pause = self._interval
        while not self._stopping.is_set():
            try:
                self._tables = read(self._url)
                self._read_at = time.monotonic()
                pause = self._interval
            except psycopg.Error as error:
                pause = min(pause * 2, max(LONGEST, self._interval))
                log.warning("the sizes of the tables cannot be read, next try in %d s: %s", pause, type(error).__name__)
            self._stopping.wait(pause * random.uniform(0.9, 1.1))  # runtimes that start together drift apart
