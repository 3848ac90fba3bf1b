"""Which batches the exporter's process has, which of them every destination is done with, and what became of all."""

import threading
from collections import deque
from collections.abc import Callable, Sequence

from telemetry.batch import Batch
from telemetry.buffer import Limits
from telemetry.losses import CRASHED, QUEUE_FULL, SHUT_DOWN, UNENCODABLE, Counts, Destination
from telemetry.process import Process


class Ledger:
    """The part of the outbox that counts. `handled(destination, outcome, spans)`: for metrics."""

    def __init__(self, limits: Limits, names: Sequence[str], handled: Callable[[str, str, int], None]) -> None:
        self.destinations = {name: Destination() for name in names}
        self._limits = limits
        self._handled = handled
        self._changed = threading.Condition()
        self._number = 0
        self._kept: dict[int, Batch] = {}
        self._unsent: deque[Batch] = deque()
        self._untaken: deque[Batch] = deque()  # the process has not read them
        self._untaken_bytes = 0
        self._not_taken = 0  # spans in them, and those that are being packed
        self._stop_at: float | None = None

    def _enter(self, batch: Batch) -> None:
        """A batch that has just been packed; or it is dropped, if too much waits already."""
        with self._changed:
            if self._untaken and self._untaken_bytes + len(batch.packed) > self._limits.bytes:
                self._lose(batch, "dropped", QUEUE_FULL)
            else:
                self._unsent.append(batch)
                self._untaken.append(batch)
                self._untaken_bytes += len(batch.packed)

    def _take_report(
        self, process: Process, taken: int, ways: dict[str, tuple[list[int], Counts, int, str | None]]
    ) -> None:
        with self._changed:
            while self._untaken and self._untaken[0].number <= taken:
                self._take(self._untaken.popleft())
            for name, (done, counts, cut, error) in ways.items():
                before = process.counts.get(name, {})
                for what, spans in counts.items():
                    self._count(name, what[0], spans - before.get(what, 0), what[1])
                process.counts[name] = counts
                destination = self.destinations[name]
                destination.cut += cut - process.cut.get(name, 0)
                process.cut[name] = cut
                destination.last_error = error
                for number in done:
                    self._end(self._kept[number], name)
            self._changed.notify_all()

    def _take(self, batch: Batch) -> None:
        self._not_taken -= batch.spans
        self._untaken_bytes -= len(batch.packed)

    def _end(self, batch: Batch, name: str) -> None:
        """`name` is done with it."""
        batch.left.discard(name)
        self.destinations[name].queued -= batch.spans
        if not batch.left:
            self._kept.pop(batch.number, None)

    def _forget(self, batch: Batch) -> None:
        """It will be packed again."""
        with self._changed:
            del self._kept[batch.number]

    def _lose(self, batch: Batch, outcome: str, reason: str) -> None:
        """Before the process has read it."""
        self._not_taken -= batch.spans
        for name in tuple(batch.left):
            self._count(name, outcome, batch.spans, reason)
            self._end(batch, name)

    def _blame(self, process: Process) -> None:
        """What the process was working on when it died is suspected."""
        reading, *ways = process.progress.work()
        for name, (first, last, place) in zip(self.destinations, ways, strict=True):
            for number in range(first, last + 1):
                if number in self._kept and name in self._kept[number].left:
                    self._kept[number].blame(name, place)
        for kept in self._kept.values():
            kept.alone = kept.alone or kept.is_suspected()
        batch = self._kept.get(reading[0])
        if batch is not None and batch.blame_reading():
            if batch in self._untaken:
                self._untaken.remove(batch)
                self._take(batch)
            self._not_taken += batch.spans
            self._lose(batch, "failed", CRASHED)

    def _count(self, name: str, outcome: str, spans: int, reason: str = "") -> None:
        if not spans:
            return
        if not reason and outcome == "dropped":
            reason = QUEUE_FULL if self._stop_at is None else SHUT_DOWN
        if not reason and outcome == "failed":
            reason = UNENCODABLE
        self.destinations[name].count(outcome, reason, spans)
        self._handled(name, outcome, spans)
