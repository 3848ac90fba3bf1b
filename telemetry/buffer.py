"""A bounded queue before one destination: never blocks a run, retries as long as it takes, counts what it loses."""

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

from telemetry.losses import QUEUE_FULL, REJECTED, SHUT_DOWN, UNENCODABLE

T = TypeVar("T")
Outcome = Literal["exported", "dropped", "failed"]

FIRST_RETRY = 0.2  # seconds; doubles up to LAST_RETRY, with full jitter
LAST_RETRY = 5.0
# What encoding raises: not the destination's doing, so there is no use in waiting for it.
_UNENCODABLE = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError)


class Rejected(Exception):
    """The destination will never take this batch as it is (too large, malformed): send it in halves, then give up."""


@dataclass(frozen=True)
class Limits:
    """Sizes in items, delay in seconds: at most `delay` passes between `put` and the attempt to send.

    Items count as many bytes as `put` is told. A batch is smaller than what a collector takes in one request (4 MiB),
    unless one item is larger.
    """

    queue: int = 20_000
    batch: int = 512
    delay: float = 0.5
    bytes: int = 256 * 2**20
    batch_bytes: int = 3 * 2**20


class _Item(NamedTuple, Generic[T]):
    item: T
    bytes: int
    alone: bool


class Buffer(Generic[T]):
    """Sends items in batches from one daemon thread. `send` raises to be called again, `Rejected` to be spared.

    Outcomes are counted through `count(outcome, items, reason)`: exported; dropped (the queue was full, or the deadline
    of `stop` passed); failed (rejected by the destination, or impossible to encode).
    """

    def __init__(
        self,
        name: str,
        send: Callable[[Sequence[T]], None],
        limits: Limits,
        count: Callable[[Outcome, int, str], None],
    ) -> None:
        self.name = name
        self.last_error: str | None = None
        self._send = send
        self._limits = limits
        self._count = count
        self._items: deque[_Item[T]] = deque()
        self._bytes = 0  # of all that waits
        self._changed = threading.Condition()
        self._sending = 0
        self._flushing = False
        self._stop_at: float | None = None
        self._left_behind = False  # the thread is in `send`, though `stop` has counted what it sends
        self._thread = threading.Thread(target=self._work, name=f"telemetry-{name}", daemon=True)
        self._thread.start()

    def put(self, item: T, size: int = 0, alone: bool = False) -> None:
        """`size` in bytes; `alone`: in a batch of its own."""
        with self._changed:
            full = len(self._items) >= self._limits.queue or self._bytes + size > self._limits.bytes
            stopped = self._stop_at is not None
            if not (full or stopped):
                self._items.append(_Item(item, size, alone))
                self._bytes += size
                if self._is_enough():
                    self._changed.notify_all()
        if full or stopped:
            self._count("dropped", 1, SHUT_DOWN if stopped else QUEUE_FULL)

    def waiting(self) -> int:
        """Items that are not sent yet, those on their way included."""
        return len(self._items) + self._sending

    def flush(self, timeout: float) -> bool:
        """Sends what is there now. False when `timeout` (seconds) passed first."""
        with self._changed:
            self._flushing = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self.waiting() == 0, timeout)

    def stop(self, timeout: float) -> None:
        """Flushes for at most `timeout` seconds, then drops and counts the rest."""
        with self._changed:
            self._stop_at = time.monotonic() + timeout
            self._changed.notify_all()
        self._thread.join(timeout + 0.2)
        with self._changed:
            left = self.waiting()
            self._items.clear()
            self._left_behind = True
        if left:
            self._count("dropped", left, SHUT_DOWN)

    def after_fork(self) -> None:
        """In a forked child, which has no thread here: takes and sends nothing, and waits for nobody's lock."""
        self._changed = threading.Condition()
        self._stop_at = 0.0
        self._items.clear()
        self._count = lambda outcome, items, reason: None

    def _work(self) -> None:
        while batch := self._next_batch():
            self._deliver(batch)
            with self._changed:
                self._sending = 0
                self._changed.notify_all()

    def _next_batch(self) -> list[T]:
        """The next batch; empty when it is time to end."""
        with self._changed:
            while not self._items and self._stop_at is None:
                self._flushing = False
                self._changed.wait(self._limits.delay)
            if self._stop_at is None:
                self._changed.wait_for(self._is_due, self._limits.delay)
            if self._out_of_time():
                return []
            batch: list[T] = []
            size, alone = 0, False
            while self._items and len(batch) < self._limits.batch and not alone:
                following = self._items[0]
                if batch and (following.alone or size + following.bytes > self._limits.batch_bytes):
                    break
                batch.append(self._items.popleft().item)
                size, alone = size + following.bytes, following.alone
            self._bytes -= size
            self._sending = len(batch)
            return batch

    def _is_due(self) -> bool:
        return self._is_enough() or self._flushing or self._stop_at is not None

    def _is_enough(self) -> bool:
        enough = len(self._items) >= self._limits.batch or self._bytes >= self._limits.batch_bytes
        return enough or (len(self._items) > 0 and self._items[0].alone)

    def _deliver(self, batch: Sequence[T]) -> None:
        delay = FIRST_RETRY
        while not self._out_of_time():
            try:
                self._send(batch)
            except (Rejected, *_UNENCODABLE) as error:
                self.last_error = f"{type(error).__name__}: {error}"
                self._deliver_halves(batch, REJECTED if isinstance(error, Rejected) else UNENCODABLE)
                return
            except Exception as error:  # whatever a driver raises: the destination is away, the batch waits
                self.last_error = f"{type(error).__name__}: {error}"
                self._pause(random.uniform(0, delay))
                delay = min(delay * 2, LAST_RETRY)
            else:
                self.last_error = None
                self._end("exported", len(batch), "")
                return
        self._end("dropped", len(batch), SHUT_DOWN)

    def _deliver_halves(self, batch: Sequence[T], reason: str) -> None:
        if len(batch) == 1:
            self._end("failed", 1, reason)
            return
        middle = len(batch) // 2
        self._deliver(batch[:middle])
        self._deliver(batch[middle:])

    def _end(self, outcome: Outcome, items: int, reason: str) -> None:
        if not self._left_behind:
            self._count(outcome, items, reason)

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stop_at is not None, seconds)
        if self._stop_at is not None:
            time.sleep(0.1)  # still try until the deadline, but not in a busy loop

    def _out_of_time(self) -> bool:
        return self._stop_at is not None and time.monotonic() >= self._stop_at
