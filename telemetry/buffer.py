"""A bounded queue before one destination: never blocks a run, retries as long as it takes, counts what it loses."""

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

T = TypeVar("T")
Outcome = Literal["exported", "dropped", "failed"]

FIRST_RETRY = 0.2  # seconds; doubles up to LAST_RETRY, with full jitter
LAST_RETRY = 5.0


class Rejected(Exception):
    """The destination will never take this batch as it is (too large, malformed): send it in halves, then give up."""


@dataclass(frozen=True)
class Limits:
    """Sizes in items, delay in seconds: at most `delay` passes between `put` and the attempt to send."""

    queue: int = 20_000
    batch: int = 512
    delay: float = 0.5


class Buffer(Generic[T]):
    """Sends items in batches from one daemon thread. `send` raises to be called again, `Rejected` to be spared.

    Outcomes are counted through `count(outcome, items)`: exported; dropped (the queue was full, or the deadline of
    `stop` passed); failed (rejected by the destination).
    """

    def __init__(
        self,
        name: str,
        send: Callable[[Sequence[T]], None],
        limits: Limits,
        count: Callable[[Outcome, int], None],
    ) -> None:
        self.name = name
        self.last_error: str | None = None
        self._send = send
        self._limits = limits
        self._count = count
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._sending = 0
        self._flushing = False
        self._stop_at: float | None = None
        self._thread = threading.Thread(target=self._work, name=f"telemetry-{name}", daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        with self._changed:
            full = len(self._items) >= self._limits.queue or self._stop_at is not None
            if not full:
                self._items.append(item)
                if len(self._items) >= self._limits.batch:
                    self._changed.notify_all()
        if full:
            self._count("dropped", 1)

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
        self._thread.join(timeout + 1)
        with self._changed:
            left = self.waiting()
            self._items.clear()
        if left:
            self._count("dropped", left)

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
            batch = [self._items.popleft() for _ in range(min(self._limits.batch, len(self._items)))]
            self._sending = len(batch)
            return batch

    def _is_due(self) -> bool:
        return len(self._items) >= self._limits.batch or self._flushing or self._stop_at is not None

    def _deliver(self, batch: Sequence[T]) -> None:
        delay = FIRST_RETRY
        while not self._out_of_time():
            try:
                self._send(batch)
            except (Rejected, ValueError, TypeError) as error:  # ValueError, TypeError: it cannot even be encoded
                self.last_error = f"{type(error).__name__}: {error}"
                self._deliver_halves(batch)
                return
            except Exception as error:  # whatever a driver raises: the destination is away, the batch waits
                self.last_error = f"{type(error).__name__}: {error}"
                self._pause(random.uniform(0, delay))
                delay = min(delay * 2, LAST_RETRY)
            else:
                self.last_error = None
                self._count("exported", len(batch))
                return
        self._count("dropped", len(batch))

    def _deliver_halves(self, batch: Sequence[T]) -> None:
        if len(batch) == 1:
            self._count("failed", 1)
            return
        middle = len(batch) // 2
        self._deliver(batch[:middle])
        self._deliver(batch[middle:])

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stop_at is not None, seconds)
        if self._stop_at is not None:
            time.sleep(0.1)  # still try until the deadline, but not in a busy loop

    def _out_of_time(self) -> bool:
        return self._stop_at is not None and time.monotonic() >= self._stop_at
