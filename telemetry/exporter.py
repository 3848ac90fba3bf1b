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

from telemetry import destinations, wire
from telemetry.buffer import Buffer, Limits, Outcome
from telemetry.settings import Settings

log = logging.getLogger(__name__)
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
REPORT_SECONDS = 0.1
ORPHAN_SECONDS = 5.0  # for sending what is there when the other process is gone


@dataclass
class _Batch:
    number: int
    left: int  # spans that are neither sent nor given up
    counts: Counter[str]


class Way:
    """A buffer before one destination, which knows the batches that it has done with: each is counted as a whole."""

    def __init__(self, name: str, make: destinations.Make, limits: Limits) -> None:
        send, self._close = make()
        self._room = limits.queue
        self._lock = threading.Lock()
        self._open: deque[_Batch] = deque()
        self._done: list[int] = []
        self._counts: Counter[str] = Counter(exported=0, dropped=0, failed=0)
        self._buffer = Buffer(name, send, replace(limits, queue=sys.maxsize), self._settle)

    def put(self, number: int, spans: Sequence[ReadableSpan]) -> None:
        """What does not fit is left out here, so that the buffer's outcomes come in the order of the batches."""
        taken = spans[: max(0, self._room - self._buffer.waiting())]
        batch = _Batch(number, len(taken), Counter(dropped=len(spans) - len(taken)))
        with self._lock:
            if batch.left:
                self._open.append(batch)
            else:
                self._finish(batch)
        for span in taken:
            self._buffer.put(span)

    def refuse(self, number: int, spans: int) -> None:
        with self._lock:
            self._finish(_Batch(number, 0, Counter(failed=spans)))

    def report(self) -> tuple[list[int], dict[str, int], str | None]:
        """The batches done with since the last report, all counts of such batches, and the last error."""
        with self._lock:
            done, self._done = self._done, []
            return done, dict(self._counts), self._buffer.last_error

    def flush(self) -> None:
        self._buffer.flush(0)

    def stop(self, deadline: float) -> None:
        self._buffer.stop(max(0.0, deadline - time.monotonic()))
        self._close()

    def _settle(self, outcome: Outcome, spans: int) -> None:
        with self._lock:
            while spans:
                batch = self._open[0]
                now = min(spans, batch.left)
                batch.left -= now
                batch.counts[outcome] += now
                spans -= now
                if not batch.left:
                    self._finish(self._open.popleft())

    def _finish(self, batch: _Batch) -> None:
        self._counts.update(batch.counts)
        self._done.append(batch.number)


class Exporter:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        settings, resource, schema_url, limits = marshal.loads(connection.recv_bytes())
        self._resource = Resource(resource, schema_url)
        made = destinations.spans(Settings(**settings))
        self._ways = {name: Way(name, make, Limits(*limits)) for name, make in made.items()}
        self._taken = 0
        self._reported: Any = None

    def serve(self) -> float:
        """Until it is told to stop; answers the time to end at."""
        reported = 0.0
        while True:
            if self._connection.poll(REPORT_SECONDS):
                kind, *rest = marshal.loads(self._connection.recv_bytes())
                if kind == "stop":
                    deadline: float = rest[0]
                    return deadline
                if kind == "flush":
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

    def _take(self, number: int, names: Sequence[str], count: int, packed: bytes) -> None:
        try:
            spans = wire.unpack(packed, self._resource)
        except Exception:  # whatever it is, the next process would fail of it as well
            log.exception("%d spans cannot be read", count)
            for name in names:
                self._ways[name].refuse(number, count)
        else:
            for name in names:
                self._ways[name].put(number, spans)
        self._taken = number


def main() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # they were blocked for the time until now
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    exporter = Exporter(Connection(descriptor))
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
