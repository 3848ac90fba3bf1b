"""Keeps ClickHouse complete: compares its spans with those in Postgres, in the background, on one replica at a time.

A comparison begins where the last one ended, with what has been written late since. Once a day all that both stores
still keep is counted, since ClickHouse may lose what it once had.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
from psycopg.types.json import Jsonb

from telemetry import secrets, windows
from telemetry.clickhouse.client import connect
from telemetry.clickhouse.direct import DirectWriter
from telemetry.comparison import Comparison, Found
from telemetry.metrics import Instruments

DELAY: Final = timedelta(seconds=60)  # younger spans may be on their way
COMPLETE: Final = timedelta(days=1)
DIFFERING = 5_000  # windows that are remembered
LOCK = 7_263_544_106  # one comparison at a time, however many runtimes there are
RESTS = 1.0  # seconds for each that it works

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class State:
    """After the last comparison. `differing`: window -> spans that ClickHouse, and that only ClickHouse has."""

    at: datetime
    compared_until: datetime  # what was written to Postgres before has been compared
    complete_at: datetime  # when all was compared from the beginning
    replayed: int = 0
    differing: Mapping[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        return sum(missing for missing, _ in self.differing.values())

    @property
    def surplus(self) -> int:
        return sum(surplus for _, surplus in self.differing.values())

    def after(self, found: Found, **changed: Any) -> "State":
        kept = {window: both for window, both in self.differing.items() if not found.has_compared(window)}
        differing = dict(sorted((kept | found.differing).items())[-DIFFERING:])
        return replace(self, replayed=self.replayed + found.replayed, differing=differing, **changed)


class Reconciler:
    """Connects for each comparison. `service`: the service.name of the spans in Postgres."""

    def __init__(self, database_url: str, clickhouse_url: str, service: str) -> None:
        self._database_url = database_url
        self._clickhouse_url = clickhouse_url
        self._service = service
        self.state: State | None = None  # as it was when last read, whoever wrote it

    def compare(
        self,
        every: timedelta = timedelta(0),
        delay: timedelta = DELAY,
        rest: Callable[[float], None] = lambda _: None,
    ) -> Found | None:
        """Compares what has come since the last time. None: another one is at it, or was less than `every` ago.

        See Comparison for `rest`. Raises psycopg.Error or an error of clickhouse_connect when a store is away; then the
        next comparison begins where this one did.
        """
        with self._locked(0) as connection:
            now, state = datetime.now(UTC), self.state
            if connection is None or (state and now - state.at < every):
                return None
            with self._comparison(connection, now - delay, rest) as comparison:
                begin, end = comparison.first, windows.of(now - delay)
                until = windows.start_of(end)
                known = state or State(now, until, now)
                complete_at = known.complete_at
                if state is not None:
                    begin = windows.of(state.compared_until)
                    late = comparison.written(windows.of(state.compared_until - delay), end, begin)
                    comparison.compare(late | {window for window, (missing, _) in state.differing.items() if missing})
                    if now - state.complete_at > COMPLETE:
                        complete_at = now
                        comparison.sweep(comparison.first, begin, hashed=False)
                comparison.sweep(begin, end)
                after = known.after(comparison.found, at=now, compared_until=until, complete_at=complete_at)
                self._save(connection, after)
                return comparison.found

    def repair(self, since: datetime, delay: timedelta, patience: float = 60.0) -> Found | None:
        """Compares what began at `since` or later. None: another one was at it for all of `patience` seconds.

        Raises as `compare` does.
        """
        with self._locked(patience) as connection:
            if connection is None:
                return None
            settled = datetime.now(UTC) - delay
            with self._comparison(connection, settled, lambda _: None) as comparison:
                comparison.sweep(windows.of(since), windows.of(settled) + 1)
                if self.state is not None:
                    self._save(connection, self.state.after(comparison.found))
                return comparison.found

    @contextmanager
    def _locked(self, patience: float) -> Iterator[psycopg.Connection[Any] | None]:
        """A connection that holds the lock until it is closed; None when another one has held it for `patience`."""
        deadline = time.monotonic() + patience
        with psycopg.connect(
            self._database_url,
            autocommit=True,
            connect_timeout=3,
            keepalives_idle=10,
            tcp_user_timeout=30_000,
            application_name="reconciler",
            options="-c statement_timeout=120s -c lock_timeout=5s -c max_parallel_workers_per_gather=0",
        ) as connection:
            while not (held := connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK]).fetchall()[0][0]):
                if time.monotonic() >= deadline:
                    break
                time.sleep(0.1)
            self.state = _read(connection)
            yield connection if held else None

    @contextmanager
    def _comparison(
        self, connection: psycopg.Connection[Any], settled: datetime, rest: Callable[[float], None]
    ) -> Iterator[Comparison]:
        client = connect(self._clickhouse_url, connect_timeout=5, send_receive_timeout=90)
        # A batch that was stored once and then lost must not be taken for one that is sent twice
        writer = DirectWriter(self._clickhouse_url, insert_deduplicate=0)
        try:
            stores = windows.Postgres(connection), windows.ClickHouse(client, self._service)
            yield Comparison(*stores, writer.write_spans, settled, rest)
        finally:
            writer.close()
            client.close()

    def _save(self, connection: psycopg.Connection[Any], state: State) -> None:
        self.state = state
        values = [state.at, state.compared_until, state.complete_at, state.replayed, Jsonb(state.differing)]
        connection.execute(_SAVE, values)


_SAVE = """
INSERT INTO telemetry_comparison (at, compared_until, complete_at, replayed, differing) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (one_row) DO UPDATE SET at = excluded.at, compared_until = excluded.compared_until,
    complete_at = excluded.complete_at, replayed = excluded.replayed, differing = excluded.differing
"""


def _read(connection: psycopg.Connection[Any]) -> State | None:
    query = "SELECT at, compared_until, complete_at, replayed, differing FROM telemetry_comparison"
    row = connection.execute(query).fetchone()
    if row is None:
        return None
    at, until, complete_at, replayed, differing = row
    return State(at, until, complete_at, replayed, {int(window): tuple(both) for window, both in differing.items()})


class _Stopped(Exception):
    pass


class Background:
    """Compares every `interval` seconds in a daemon thread, which works half of the time at most."""

    def __init__(self, reconciler: Reconciler, instruments: Instruments, interval: float) -> None:
        self._reconciler = reconciler
        self._instruments = instruments
        self._interval = interval
        self._last_error: str | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="reconciler", daemon=True)
        instruments.observe("agno.telemetry.missing", self._missing)
        self._thread.start()

    def stop(self, timeout: float = 2.0) -> None:
        """A query under way is left behind: its thread is a daemon."""
        self._stopping.set()
        self._thread.join(timeout)

    def health(self) -> dict[str, Any]:
        """Of the last comparison by any process; `last_error` (None: well) of this one."""
        known: dict[str, Any] = {"last_compared": None, "last_error": self._last_error}
        if (state := self._reconciler.state) is not None:
            known |= {
                "last_compared": state.at.isoformat(timespec="seconds"),
                "compared_until": state.compared_until.isoformat(timespec="seconds"),
                "complete": state.complete_at.isoformat(timespec="seconds"),
                "missing": state.missing,
                "only_in_clickhouse": state.surplus,
                "replayed": state.replayed,
            }
        return known

    def _missing(self) -> Iterable[tuple[float, Mapping[str, str]]]:
        if (state := self._reconciler.state) is None:
            return []
        return [(state.missing, {"destination": "clickhouse"}), (state.surplus, {"destination": "postgres"})]

    def _work(self) -> None:
        while not self._stopping.wait(self._interval * random.uniform(0.5, 1)):  # replicas take turns
            try:
                found = self._reconciler.compare(timedelta(seconds=self._interval / 2), rest=self._rest)
                self._last_error = None
            except _Stopped:
                return
            except Exception as error:  # whatever a driver raises: the next comparison begins where this one did
                if self._last_error is None:
                    log.warning("spans cannot be compared: %s", type(error).__name__)
                said = (str(error).splitlines() or [""])[0]
                self._last_error = f"{type(error).__name__}: {secrets.without(said)[:300]}"
                continue
            if found is not None and found.missing:
                log.warning("ClickHouse lacked %d spans; %d were sent again", found.missing, found.replayed)
            if found is not None and found.replayed:
                self._instruments.spans_handled("clickhouse", "replayed", found.replayed)

    def _rest(self, worked: float) -> None:
        if self._stopping.wait(min(RESTS * worked, 10.0)):
            raise _Stopped
