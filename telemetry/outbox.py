"""Ended spans on their way to the exporter's process: bounded, in memory, and kept until every destination has them."""

import logging
import marshal
import os
import signal
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan

from telemetry import secrets, wire
from telemetry.batch import Batch
from telemetry.buffer import LAST_RETRY, Limits
from telemetry.ledger import Ledger
from telemetry.losses import SHUT_DOWN, Announcer
from telemetry.process import Process, starting
from telemetry.progress import READING
from telemetry.settings import Settings
from telemetry.span import LiveSpan

HANDOVER_SECONDS = 0.05
# While something ends: often, since who finishes many spans at once keeps Python's interpreter lock from the agents.
GATHER_SECONDS = 0.01
MARGIN_SECONDS = 0.5  # for the exporter to end in, after its deadline and before ours
log = logging.getLogger(__name__)
_all: "weakref.WeakSet[Outbox]" = weakref.WeakSet()


class Outbox(Ledger):
    """Starts the exporter's process, and another when it dies or hangs.

    One thread has ended spans put, by `gather`, and packs them into batches; one hands these to the process, one reads
    what it reports. In a forked child none of them is there, and whatever it puts goes nowhere.
    """

    gather: Callable[[], None] = staticmethod(lambda: None)

    def __init__(
        self,
        settings: Settings,
        resource: Resource,
        limits: Limits,
        names: Sequence[str],
        handled: Callable[[str, str, int], None],
    ) -> None:
        super().__init__(limits, names, handled)
        self._setup = asdict(settings), dict(resource.attributes), resource.schema_url, astuple(limits)
        self._announcer = Announcer("spans")
        self._spans: deque[ReadableSpan | LiveSpan] = deque()
        self._flushing = self._flush_due = self._all_packed = False
        self._process: Process | None = None
        self._packer = threading.Thread(target=self._pack, name="telemetry-packer", daemon=True)
        self._packer.start()
        self._thread = threading.Thread(target=self._work, name="telemetry-outbox", daemon=True)
        self._thread.start()
        _all.add(self)

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
                self._count(name, "dropped", self.queued(name), SHUT_DOWN)
                destination.queued = 0
            self._spans.clear()
            self._kept.clear()
        self._announcer.look(self.destinations, at_once=True)

    def after_fork(self) -> None:
        """In a forked child: the process, its pipe and the spans are its parent's, and a lock may never be released."""
        self._changed = threading.Condition()
        self._stop_at = 0.0
        self.destinations = {}
        self._spans, self._kept = deque(), {}
        if self._process is not None:
            self._process.connection.close()

    def _pack(self) -> None:
        """Packs also while the process does not read: what waits as spans has no known size."""
        pause = due = 0.0
        while not self._all_packed:
            with self._changed:
                self._changed.wait_for(lambda: self._flushing or self._stop_at is not None, pause)
                stopping, flushing, self._flushing = self._stop_at is not None, self._flushing, False
            self.gather()
            if time.monotonic() < due and not (flushing or stopping):
                continue
            pause = GATHER_SECONDS if self._spans else HANDOVER_SECONDS
            due = time.monotonic() + HANDOVER_SECONDS
            while spans := self._next():
                self._pack_some(spans)
            with self._changed:
                self._flush_due |= flushing
                self._all_packed = stopping
                if self._unsent or flushing or stopping:
                    self._changed.notify_all()
                if self._process is not None and not self._process.gone:
                    self._process.end_if_hung()
            self._announcer.look(self.destinations)

    def _pack_some(self, spans: Sequence[ReadableSpan | LiveSpan]) -> None:
        """A batch that is much larger than a request becomes two, so that not all of it is lost when some is."""
        for batch in list(self._packed(spans)):
            if batch.spans > 1 and len(batch.packed) > 2 * self._limits.batch_bytes:
                self._forget(batch)
                middle = len(spans) // 2
                self._pack_some(spans[:middle])
                self._pack_some(spans[middle:])
            else:
                self._enter(batch)

    def _work(self) -> None:
        pause = 0.0
        while not self._out_of_time():
            began = time.monotonic()
            ended = "could not be started"
            try:
                self._process = Process(READING + 1 + len(self.destinations))
                code = self._serve(self._process)
                if self._stop_at is not None and (code == 0 or not (self._kept or self._spans)):
                    return
                ended = "did not answer" if self._process.hung else f"ended ({code})"
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

    def _serve(self, process: Process) -> int:
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
            with self._changed:
                process.gone = True
                killed = code == -signal.SIGKILL and not process.hung  # from outside: it died of nothing that it did
                if not (killed or self._out_of_time()):
                    self._blame(process)
                process.close()
        return code

    def _hand_over(self, process: Process) -> None:
        """Until the process is gone, or told to stop."""
        process.send(*self._setup)
        known: tuple[str, ...] = ()
        with self._changed:
            self._unsent = deque(self._kept.values())
        sent = 0
        while not process.gone:
            with self._changed:
                self._changed.wait_for(lambda: self._unsent or self._flush_due or self._all_packed or process.gone)
                batch = self._unsent.popleft() if self._unsent else None
                flushing, stop_at = self._flush_due and not batch, self._stop_at if self._all_packed else None
                if flushing:
                    self._flush_due = False
            if known is not secrets.known():  # there are more: an agent's .env
                known = secrets.known()
                process.send("secrets", known)
            if batch is not None:
                if batch.number > sent:  # it may have been packed while all that was kept began to be sent again
                    process.send(*batch.message())
                    sent = batch.number
            elif stop_at is not None:
                process.send("stop", max(time.monotonic(), stop_at - MARGIN_SECONDS))
                return
            elif flushing:
                process.send("flush")

    def _next(self) -> list[ReadableSpan | LiveSpan]:
        with self._changed:
            spans = [self._spans.popleft() for _ in range(min(self._limits.batch, len(self._spans)))]
            self._not_taken += len(spans)
            for destination in self.destinations.values():
                destination.queued += len(spans)
            return spans

    def _packed(self, spans: Sequence[ReadableSpan | LiveSpan]) -> Iterator[Batch]:
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
            batch = self._kept[self._number] = Batch(self._number, len(spans), packed, set(self.destinations))
        yield batch

    def _read(self, process: Process) -> None:
        with suppress(EOFError, OSError):
            while True:
                self._take_report(process, *marshal.loads(process.connection.recv_bytes()))
        with self._changed:
            process.gone = True
            self._changed.notify_all()

    def _seconds_left(self) -> float | None:
        return None if self._stop_at is None else max(0.0, self._stop_at - time.monotonic())

    def _out_of_time(self) -> bool:
        return self._seconds_left() == 0.0


def _after_fork() -> None:
    starting.release()
    for outbox in list(_all):
        outbox.after_fork()


os.register_at_fork(before=starting.acquire, after_in_parent=starting.release, after_in_child=_after_fork)
