"""Ended spans on their way to the exporter's process: bounded, in memory, and kept until every destination has them."""

import logging
import marshal
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan

from telemetry import wire
from telemetry.buffer import LAST_RETRY, Limits
from telemetry.exporter import SIGNALS
from telemetry.settings import Settings
from telemetry.span import LiveSpan

HANDOVER_SECONDS = 0.05  # often, since who packs many spans at once keeps Python's interpreter lock from the server
MARGIN_SECONDS = 0.5  # for the exporter to end in, after its deadline and before ours
PROJECT = Path(__file__).resolve().parents[1]
log = logging.getLogger(__name__)


@dataclass
class _Batch:
    number: int
    spans: int
    packed: bytes
    left: set[str]  # the destinations that are not done with it


@dataclass
class Destination:
    """What is known of one destination; `queued` is what was handed to the process and has come to no end there."""

    queued: int = 0
    counts: dict[str, int] = field(default_factory=lambda: {"exported": 0, "dropped": 0, "failed": 0})
    last_error: str | None = None


class _Process:
    """One exporter process. Signals that are meant to end the group of processes do not end it, even as it starts."""

    def __init__(self) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        path = os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"))))
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # it inherits this
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-P", "-m", "telemetry.exporter", str(theirs.fileno()), str(os.getpid())],
                env={**os.environ, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            theirs.close()
        self.gone = False
        self.counts: dict[str, dict[str, int]] = {}  # as it last reported

    def send(self, *message: Any) -> None:
        """Waits for as long as the process takes to read; raises OSError when it is gone."""
        self.connection.send_bytes(marshal.dumps(message))

    def kill(self) -> None:
        self._popen.kill()

    def wait(self) -> int:
        return self._popen.wait()


class Outbox:
    """Starts the exporter's process, and another when it dies. `handled(destination, outcome, spans)`: for metrics."""

    def __init__(
        self,
        settings: Settings,
        resource: Resource,
        limits: Limits,
        names: Sequence[str],
        handled: Callable[[str, str, int], None],
    ) -> None:
        self.destinations = {name: Destination() for name in names}
        self._setup = asdict(settings), dict(resource.attributes), resource.schema_url, astuple(limits)
        self._limits = limits
        self._handled = handled
        self._spans: deque[ReadableSpan | LiveSpan] = deque()
        self._kept: dict[int, _Batch] = {}
        self._number = 0
        self._taken = 0  # the last batch that the process has read
        self._not_taken = 0  # spans in batches after that
        self._changed = threading.Condition()
        self._flushing = False
        self._stop_at: float | None = None
        self._process: _Process | None = None
        self._thread = threading.Thread(target=self._work, name="telemetry-outbox", daemon=True)
        self._thread.start()

    def put(self, span: ReadableSpan | LiveSpan) -> None:
        """Never waits. What comes faster than the process reads is dropped once the limit is reached."""
        if self._stop_at is None and len(self._spans) + self._not_taken < self._limits.queue:
            self._spans.append(span)
        else:
            with self._changed:
                for name in self.destinations:
                    self._count(name, "dropped", 1)

    def queued(self, name: str) -> int:
        """Spans that have come to no end there, wherever they wait."""
        return len(self._spans) + self.destinations[name].queued

    def flush(self, timeout: float) -> bool:
        """Sends what is there now. False when `timeout` (seconds) passed first."""
        with self._changed:
            self._flushing = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not any(map(self.queued, self.destinations)), timeout)

    def stop(self, timeout: float) -> None:
        """Flushes for at most `timeout` seconds, ends the process, then drops and counts the rest."""
        with self._changed:
            self._stop_at = time.monotonic() + timeout
            self._changed.notify_all()
        self._thread.join(timeout)
        if self._thread.is_alive() and self._process is not None:
            self._process.kill()
        self._thread.join(1)
        with self._changed:
            for name, destination in self.destinations.items():
                self._count(name, "dropped", self.queued(name))
                destination.queued = 0
            self._spans.clear()
            self._kept.clear()

    def _work(self) -> None:
        pause = 0.0
        while not self._out_of_time():
            began = time.monotonic()
            ended = "could not be started"
            try:
                self._process = _Process()
                code = self._serve(self._process)
                if self._stop_at is not None and (code == 0 or not (self._kept or self._spans)):
                    return
                ended = f"ended ({code})"
            except OSError as error:
                ended = f"{ended}: {error}"
            if self._out_of_time():
                return
            if time.monotonic() - began > LAST_RETRY:
                pause = 0.0
            if not pause:  # said once, not with every attempt
                log.warning("the exporter process %s; another one gets its %d batches again", ended, len(self._kept))
            with self._changed:
                for destination in self.destinations.values():
                    destination.last_error = f"the exporter process {ended}"
                self._changed.wait_for(self._out_of_time, pause)
            pause = min(max(0.2, pause * 2), LAST_RETRY)

    def _serve(self, process: _Process) -> int:
        """Hands over until the process ends; answers its exit code."""
        reader = threading.Thread(target=self._read, args=(process,), name="telemetry-reports", daemon=True)
        reader.start()
        try:
            with suppress(OSError):
                self._hand_over(process)
            with self._changed:
                self._changed.wait_for(lambda: process.gone, self._seconds_left())
        finally:
            process.kill()
            code = process.wait()
            reader.join()
            process.connection.close()
        return code

    def _hand_over(self, process: _Process) -> None:
        """Until the process is gone, or told to stop."""
        process.send(*self._setup)
        with self._changed:
            again = list(self._kept.values())
        for batch in again:
            self._send(process, batch)
        while not process.gone:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._flushing or self._stop_at is not None or process.gone, HANDOVER_SECONDS
                )
                stop_at, flushing, self._flushing = self._stop_at, self._flushing, False
            while spans := self._next():
                for batch in list(self._packed(spans)):
                    self._send(process, batch)
            if stop_at is not None:
                process.send("stop", max(time.monotonic(), stop_at - MARGIN_SECONDS))
                return
            if flushing:
                process.send("flush")

    def _send(self, process: _Process, batch: _Batch) -> None:
        process.send("spans", batch.number, tuple(batch.left), batch.spans, batch.packed)

    def _next(self) -> list[ReadableSpan | LiveSpan]:
        with self._changed:
            spans = [self._spans.popleft() for _ in range(min(self._limits.batch, len(self._spans)))]
            self._not_taken += len(spans)
            for destination in self.destinations.values():
                destination.queued += len(spans)
            return spans

    def _packed(self, spans: Sequence[ReadableSpan | LiveSpan]) -> Iterator[_Batch]:
        """One batch; more when there is a span among them that cannot be sent."""
        try:
            packed = wire.pack(spans)
        except Exception as error:  # whatever a library made of its span
            if len(spans) > 1:
                for span in spans:
                    yield from self._packed([span])
                return
            with self._changed:
                self._not_taken -= 1
                for name, destination in self.destinations.items():
                    destination.queued -= 1
                    destination.last_error = f"{type(error).__name__}: {error}"
                    self._count(name, "failed", 1)
            return
        with self._changed:
            self._number += 1
            batch = self._kept[self._number] = _Batch(self._number, len(spans), packed, set(self.destinations))
        yield batch

    def _read(self, process: _Process) -> None:
        with suppress(EOFError, OSError):
            while True:
                self._take_report(process, *marshal.loads(process.connection.recv_bytes()))
        with self._changed:
            process.gone = True
            self._changed.notify_all()

    def _take_report(
        self, process: _Process, taken: int, ways: dict[str, tuple[list[int], dict[str, int], str]]
    ) -> None:
        with self._changed:
            while self._taken < taken:
                self._taken += 1
                self._not_taken -= self._kept[self._taken].spans
            for name, (done, counts, error) in ways.items():
                before = process.counts.get(name, {})
                for outcome, spans in counts.items():
                    self._count(name, outcome, spans - before.get(outcome, 0))
                process.counts[name] = counts
                self.destinations[name].last_error = error
                for number in done:
                    batch = self._kept[number]
                    batch.left.discard(name)
                    self.destinations[name].queued -= batch.spans
                    if not batch.left:
                        del self._kept[number]
            self._changed.notify_all()

    def _count(self, name: str, outcome: str, spans: int) -> None:
        if spans:
            self.destinations[name].counts[outcome] += spans
            self._handled(name, outcome, spans)

    def _seconds_left(self) -> float | None:
        return None if self._stop_at is None else max(0.0, self._stop_at - time.monotonic())

    def _out_of_time(self) -> bool:
        return self._seconds_left() == 0.0
