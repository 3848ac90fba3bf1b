"""`python -m telemetry.exporter`: sends spans to their destinations, for a process that has better things to do.

telemetry.outbox starts it and hands it batches. It ends when it is told to, or soon after that process has ended,
however that ended; signals to both of them do not end it, since what is handed to it has to be sent.
"""

import gc
import logging
import marshal
import os
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan

from telemetry import destinations, secrets, wire
from telemetry.buffer import Buffer, Limits
from telemetry.content import Content, load
from telemetry.fitting import Fitted, fitted
from telemetry.losses import CRASHED, QUEUE_FULL, UNENCODABLE, Counts
from telemetry.progress import READING, Progress
from telemetry.settings import Settings

log = logging.getLogger(__name__)
_CRASHED, _QUEUE_FULL, _UNENCODABLE = ("failed", CRASHED), ("dropped", QUEUE_FULL), ("failed", UNENCODABLE)
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
REPORT_SECONDS = 0.1
ORPHAN_SECONDS = 5.0  # for sending what is there when the other process is gone


@dataclass
class _Batch:
    number: int
    bytes: int
    places: deque[int]  # of the spans that are neither sent nor given up
    counts: Counter[tuple[str, str]]
    cut: int = 0


class Way:
    """A buffer before one destination, which knows the batches that it has done with: each is counted as a whole."""

    def __init__(self, name: str, make: destinations.Make, limits: Limits, progress: Progress, slot: int) -> None:
        self._send, self._close = make()
        self._limits = limits
        self._progress = progress
        self._slot = slot
        self._lock = threading.Lock()
        self._open: deque[_Batch] = deque()
        self._bytes = 0  # of the batches that are open
        self._done: list[int] = []
        self._counts: Counter[tuple[str, str]] = Counter()
        self._cut = 0
        unlimited = replace(limits, queue=sys.maxsize, bytes=sys.maxsize)
        self._buffer = Buffer(name, self._deliver, unlimited, self._settle)

    def put(self, number: int, spans: Sequence[Fitted], size: int, alone: bool, given_up: Sequence[int]) -> None:
        """What does not fit is left out here, so that the buffer's outcomes come in the order of the batches."""
        places = [place for place in range(len(spans)) if place not in given_up]
        with self._lock:
            room = self._limits.queue - self._buffer.waiting()
            if self._open and self._bytes + size > self._limits.bytes:
                room = 0
            taken = deque(places[: max(0, room)])
            counts = Counter({_CRASHED: len(given_up), _QUEUE_FULL: len(places) - len(taken)})
            batch = _Batch(number, size, taken, counts, sum(spans[place].cut for place in taken))
            self._bytes += size
            if taken:
                self._open.append(batch)
            else:
                self._finish(batch)
        for place in tuple(taken):
            self._buffer.put(spans[place].span, spans[place].bytes, alone)

    def refuse(self, number: int, spans: int) -> None:
        with self._lock:
            self._finish(_Batch(number, 0, deque(), Counter({_UNENCODABLE: spans})))

    def report(self) -> tuple[list[int], Counts, int, str | None]:
        """The batches done with since the last report; counts and cut spans of all such batches; the last error."""
        with self._lock:
            done, self._done = self._done, []
            return done, dict(self._counts), self._cut, self._buffer.last_error

    def flush(self) -> None:
        self._buffer.flush(0)

    def stop(self, deadline: float) -> None:
        self._buffer.stop(max(0.0, deadline - time.monotonic()))
        self._close()

    def _deliver(self, spans: Sequence[ReadableSpan]) -> None:
        """They are the first of those that are open, since outcomes come in order."""
        with self._lock:
            first = last = self._open[0]
            place, left = first.places[0], len(spans)
            for last in self._open:
                left -= len(last.places)
                if left <= 0:
                    break
        with self._progress.working(self._slot, first.number, last.number, place):
            self._send(spans)

    def _settle(self, outcome: str, spans: int, reason: str) -> None:
        with self._lock:
            for _ in range(spans):
                batch = self._open[0]
                batch.places.popleft()
                batch.counts[outcome, reason] += 1
                if not batch.places:
                    self._finish(self._open.popleft())

    def _finish(self, batch: _Batch) -> None:
        self._counts.update(batch.counts)
        self._cut += batch.cut
        self._bytes -= batch.bytes
        self._done.append(batch.number)


class Exporter:
    def __init__(self, connection: Connection, page: int) -> None:
        self._connection = connection
        given, resource, schema_url, limits = marshal.loads(connection.recv_bytes())
        settings = Settings(**given)
        self._resource = Resource(resource, schema_url)
        self._content = Content(settings.content, load(settings.redact) if settings.redact else None)
        made = destinations.spans(settings)
        self._progress = Progress(page, 1 + len(made))
        self._ways = {
            name: Way(name, make, Limits(*limits), self._progress, slot)
            for slot, (name, make) in enumerate(made.items(), READING + 1)
        }
        self._taken = 0
        self._reported: Any = None

    def serve(self) -> float:
        """Until it is told to stop; answers the time to end at."""
        reported = 0.0
        while True:
            self._progress.beat()
            if self._connection.poll(REPORT_SECONDS):
                kind, *rest = marshal.loads(self._connection.recv_bytes())
                if kind == "stop":
                    deadline: float = rest[0]
                    return deadline
                if kind == "secrets":
                    secrets.remember(*rest)
                elif kind == "flush":
                    for way in self._ways.values():
                        way.flush()
                else:
                    self._take(*rest)
            if time.monotonic() - reported >= REPORT_SECONDS:
                reported = time.monotonic()
                self.report()

    def stop(self, deadline: float) -> None:
        """All ways at once, since one that is stuck would use up the time of the others."""
        stops = [threading.Thread(target=way.stop, args=(deadline,), daemon=True) for way in self._ways.values()]
        for thread in stops:
            thread.start()
        for thread in stops:
            thread.join(max(0.0, deadline + 0.2 - time.monotonic()))
        self.report()

    def report(self) -> None:
        state = self._taken, {name: way.report() for name, way in self._ways.items()}
        if state != self._reported:
            self._connection.send_bytes(marshal.dumps(state))
            self._reported = state

    def _take(self, number: int, ways: dict[str, tuple[int, ...]], count: int, packed: bytes, alone: bool) -> None:
        try:
            with self._progress.working(READING, number, number, 0):
                spans = [fitted(span) for span in wire.unpack(packed, self._resource, self._content)]
        except Exception:  # whatever it is, the next process would fail of it as well
            log.exception("%d spans cannot be read", count)
            for name in ways:
                self._ways[name].refuse(number, count)
        else:
            for name, given_up in ways.items():
                self._ways[name].put(number, spans, len(packed), alone, given_up)
        self._taken = number


def main() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # they were blocked for the time until now
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    secrets.guard_console()
    descriptor, page, parent = map(int, sys.argv[1:])
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    exporter = Exporter(Connection(descriptor), page)
    gc.collect()
    gc.freeze()
    try:
        deadline = exporter.serve()
    except (EOFError, OSError):
        deadline = time.monotonic() + ORPHAN_SECONDS
    with suppress(OSError):  # nobody is left to hear of it
        exporter.stop(deadline)
    os._exit(0)


def _end_with(parent: int) -> None:
    """When its end was not noticed otherwise: something hangs, or a copy of it holds the connection."""
    while os.getppid() == parent:
        time.sleep(0.5)
    time.sleep(ORPHAN_SECONDS + 1)
    os._exit(1)


if __name__ == "__main__":
    main()
