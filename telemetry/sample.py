"""A value that costs a query, for observable gauges: read off the path, shared, and left out when it does not come."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)

FRESH_SECONDS = 1.0  # who asks again within this time gets the same answer, a failed one included
PATIENCE_SECONDS = 0.2  # how long those who ask wait, together, for one reading
HANG_SECONDS = 2.0  # a reading that takes longer than the patience, but no longer than this, is merely slow: then the
KEEP_SECONDS = 30.0  # one before it stands, if it is no older than this


class Sample(Generic[T]):
    """Calls `read` in one daemon thread, only when somebody asks. Thread-safe; `stop` ends the thread.

    `read` may raise anything and may hang: then `get` answers None, after PATIENCE_SECONDS at most.
    """

    def __init__(self, name: str, read: Callable[[], T]) -> None:
        self._name = name
        self._read = read
        self._value: T | None = None
        self._read_at = float("-inf")
        self._asked_at: float | None = None  # since when a reading is under way
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"sample-{name}", daemon=True)
        self._thread.start()

    def get(self) -> T | None:
        """The value, or None when it could not be read."""
        with self._changed:
            now = time.monotonic()
            if now - self._read_at > FRESH_SECONDS:
                if self._asked_at is None:
                    self._asked_at = now
                    self._changed.notify_all()
                self._changed.wait_for(
                    lambda: self._asked_at is None, max(0.0, self._asked_at + PATIENCE_SECONDS - now)
                )
            now = time.monotonic()
            hangs = self._asked_at is not None and now - self._asked_at > HANG_SECONDS
            return None if hangs or now - self._read_at > KEEP_SECONDS else self._value

    def stop(self, timeout: float = 1.0) -> None:
        """A reading that hangs is left behind: its thread is a daemon."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._asked_at is not None or self._stopping)
                if self._stopping:
                    return
            value: T | None = None
            try:
                value = self._read()
            except Exception as error:  # whatever a driver raises: the gauges are left out
                log.warning("%s cannot be read: %s", self._name, type(error).__name__)
            with self._changed:
                self._value, self._read_at, self._asked_at = value, time.monotonic(), None
                self._changed.notify_all()
