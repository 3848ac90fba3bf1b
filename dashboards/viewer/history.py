"""What the alerts' states are and were, in a SQLite file: a restart neither forgets nor fires again."""

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

KEEP = 10_000  # entries of the history
SHOWN = 200

_SCHEMA = """
CREATE TABLE IF NOT EXISTS instances (
    rule TEXT, key TEXT, labels TEXT, state TEXT, since REAL, fired REAL, ended REAL,
    value REAL, objective REAL, trace_id TEXT, summary TEXT, missing INTEGER, notice TEXT, due INTEGER, posted REAL,
    PRIMARY KEY (rule, key)
);
CREATE TABLE IF NOT EXISTS history (
    id INTEGER PRIMARY KEY, at REAL, rule TEXT, state TEXT, labels TEXT, value REAL, objective REAL, unit TEXT,
    trace_id TEXT, summary TEXT
);
"""


@dataclass
class Instance:
    """Times are Unix seconds. `state`: pending, firing, or resolved until that is posted.

    `missing`: evaluations in a row in which it was not over its objective. `notice`: what is posted, as JSON; `due`:
    it has to be; `posted`: when it last was.
    """

    rule: str
    key: str
    labels: str
    state: str
    since: float
    value: float
    objective: float
    trace_id: str
    summary: str
    fired: float | None = None
    ended: float | None = None
    missing: int = 0
    notice: str = ""
    due: bool = False
    posted: float | None = None


_COLUMNS = ", ".join(field.name for field in fields(Instance))
_PLACES = ", ".join(f":{field.name}" for field in fields(Instance))


class History:
    """One connection, used by the threads in turn. Every method may raise sqlite3.Error (a full disk)."""

    def __init__(self, path: Path) -> None:
        """Raises OSError, which names the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise OSError(f"{path} cannot hold the states of alerts: {error}") from error

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def instances(self) -> list[Instance]:
        with self._lock:
            return read(self._connection)

    def due(self) -> list[Instance]:
        """What has to be posted."""
        return [instance for instance in self.instances() if instance.due]

    def posted(self, instance: Instance, at: float) -> None:
        """Unless it has changed meanwhile: then that is to be posted too."""
        with self.transaction() as connection:
            same = (instance.rule, instance.key, instance.notice)
            where = "WHERE rule = ? AND key = ? AND notice = ?"
            connection.execute(f"UPDATE instances SET due = 0, posted = ? {where}", (at, *same))
            connection.execute(f"DELETE FROM instances {where} AND state = 'resolved'", same)

    def entries(self, limit: int = SHOWN, start: float = 0, end: float = 1e12) -> list[dict[str, Any]]:
        """Newest first; `at` in Unix seconds, `labels` as an object."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT * FROM history WHERE at BETWEEN ? AND ? ORDER BY id DESC LIMIT ?", (start, end, limit)
            ).fetchall()
        return [{**dict(row), "labels": json.loads(row["labels"])} for row in rows]


def read(connection: sqlite3.Connection) -> list[Instance]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM instances ORDER BY rule, key").fetchall()
    return [Instance(**{**dict(row), "due": bool(row["due"])}) for row in rows]


def save(connection: sqlite3.Connection, instance: Instance) -> None:
    connection.execute(f"INSERT OR REPLACE INTO instances ({_COLUMNS}) VALUES ({_PLACES})", vars(instance))


def remove(connection: sqlite3.Connection, instance: Instance) -> None:
    connection.execute("DELETE FROM instances WHERE rule = ? AND key = ?", (instance.rule, instance.key))


def remember(connection: sqlite3.Connection, instance: Instance, at: float, unit: str) -> None:
    """An entry of the history: the instance has begun or ceased to fire."""
    entry: Mapping[str, Any] = {**vars(instance), "at": at, "unit": unit}
    connection.execute(
        "INSERT INTO history (at, rule, state, labels, value, objective, unit, trace_id, summary)"
        " VALUES (:at, :rule, :state, :labels, :value, :objective, :unit, :trace_id, :summary)",
        entry,
    )
    connection.execute("DELETE FROM history WHERE id <= (SELECT max(id) FROM history) - ?", (KEEP,))
