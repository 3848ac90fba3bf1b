"""One comparison of the spans in Postgres, the truth, with those in ClickHouse: what is missing there is sent again."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from clickhouse_connect.driver.exceptions import OperationalError
from opentelemetry.sdk.trace import ReadableSpan

from telemetry import replay, windows

EDGE: Final = timedelta(hours=1)  # of the retention: what is about to expire is not sent again
HOUR, DAY = 60, 1440  # windows
FEW = 100_000  # spans; when so many windows have fewer, twice as many are asked for next
ROWS = 500
BYTES = 8_000_000  # of attributes in one batch
REFUSED = 20  # spans that ClickHouse may refuse before it is taken for broken

log = logging.getLogger(__name__)
Send = Callable[[Sequence[ReadableSpan]], None]


@dataclass
class Found:
    """Spans that ClickHouse lacked, how many were sent again, are still missing, and are only in ClickHouse."""

    missing: int = 0
    replayed: int = 0
    left: int = 0
    surplus: int = 0
    differing: dict[int, tuple[int, int]] = field(default_factory=dict)  # window -> (left, surplus)
    compared: list[tuple[int, int]] = field(default_factory=list)  # from, to

    def has_compared(self, window: int) -> bool:
        return any(begin <= window < end for begin, end in self.compared)


class Comparison:
    """Spans that were written, or have ended, after `settled` are left alone: they may be on their way.

    `rest` is called with the seconds that each step took. It may sleep, and what it raises ends the comparison.
    """

    def __init__(
        self,
        postgres: windows.Postgres,
        clickhouse: windows.ClickHouse,
        send: Send,
        settled: datetime,
        rest: Callable[[float], None],
    ) -> None:
        self._postgres = postgres
        self._clickhouse = clickhouse
        self._send_all = send
        self._settled = settled
        self._rest = rest
        self._refused = 0
        oldest, days = postgres.first(), clickhouse.retention()
        first = windows.of(settled) if oldest is None else oldest
        expired = days and windows.of(datetime.now(UTC) - timedelta(days=days) + EDGE)
        self.first = max(first, expired or first)  # both stores still keep what began in this window
        self.found = Found(compared=[(0, self.first)])

    def written(self, since: int, until: int, before: int) -> set[int]:
        """Windows before `before` in which spans were written from `since` to `until`: of long runs, or late ones."""
        return self._postgres.written(since, until, before)

    def compare(self, chosen: Iterable[int]) -> None:
        """The windows, those that follow each other together."""
        begin = end = -1
        for window in sorted(window for window in chosen if window >= self.first):
            if window != end:
                self.sweep(begin, end)
                begin = window
            end = window + 1
        self.sweep(begin, end)

    def sweep(self, begin: int, end: int, hashed: bool = True) -> None:
        """From `begin` until before `end`. Not hashed: a window in which both have as many spans is taken for equal."""
        begin = max(begin, self.first)
        size = HOUR
        while begin < end:
            until = min(begin + size, end)
            began = time.monotonic()
            here = self._postgres.sums(begin, until, hashed)
            there = self._clickhouse.sums(begin, until, hashed)
            self._rest(time.monotonic() - began)
            for window in sorted(here.keys() | there):
                if here.get(window) != there.get(window) and window not in self.found.differing:
                    self._look(window)
            self.found.compared.append((begin, until))
            size = min(2 * size, DAY) if sum(count for count, _ in here.values()) < FEW else HOUR
            begin = until

    def _look(self, window: int) -> None:
        began = time.monotonic()
        here, there = self._postgres.spans(window), self._clickhouse.spans(window)
        settled = self._settled.isoformat()
        absent = sorted(i for i, written in here.items() if i not in there and written <= settled)
        surplus = sum(1 for i, ended in there.items() if 0 < ended <= self._settled.timestamp() and i not in here)
        self._rest(time.monotonic() - began)
        ours, sent = self._replay(absent)
        left = len(ours - self._clickhouse.spans(window).keys()) if sent else len(ours)
        self.found.missing += len(ours)
        self.found.replayed += sent
        self.found.left += left
        self.found.surplus += surplus
        if left or surplus:
            self.found.differing[window] = (left, surplus)

    def _replay(self, ids: Sequence[str]) -> tuple[set[str], int]:
        """The ids of those that telemetry.postgres wrote, and how many of them were sent."""
        ours: set[str] = set()
        sent = 0
        for n in range(0, len(ids), ROWS):
            began = time.monotonic()
            batch: list[ReadableSpan] = []
            size = 0
            for row in self._postgres.rows(ids[n : n + ROWS]):
                ours.add(row[0])
                try:
                    batch.append(replay.span_of(row))
                except Exception as error:  # whatever somebody made of the row
                    log.warning("span %s cannot be made again: %s: %s", row[0], type(error).__name__, error)
                size += len(row[-1])
                if size > BYTES:
                    sent += self._send(batch)
                    batch, size = [], 0
            sent += self._send(batch)
            self._rest(time.monotonic() - began)
        return ours, sent

    def _send(self, batch: Sequence[ReadableSpan]) -> int:
        """How many were taken. Raises when it is not because of a span."""
        if not batch:
            return 0
        try:
            self._send_all(batch)
            return len(batch)
        except OperationalError:
            raise
        except Exception as error:
            if len(batch) > 1:
                middle = len(batch) // 2
                return self._send(batch[:middle]) + self._send(batch[middle:])
            self._refused += 1
            if self._refused > REFUSED:
                raise
            log.warning("ClickHouse refuses the span %s: %s", batch[0].name, error)
            return 0
