"""How many deliveries a source may send: 429 with Retry-After beyond it.

Only deliveries whose signature holds are counted. A stranger can therefore not use up what a sender may send; what a
stranger costs is reading at most WEBHOOK_MAX_BYTES and one HMAC over them, under a millisecond.

Each process counts for itself, in windows that begin with a source's first delivery.
"""

import math
import re
import time

from runtime.problems import Problem

_RATE = re.compile(r"([1-9][0-9]*) ?(?:/|per) ?(second|minute|hour|day)s?")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}


class Throttle:
    """`rate` as in "1000/second" or "60 per minute". For one thread."""

    def __init__(self, rate: str) -> None:
        self._most, self._seconds = rate_of(rate)
        self._windows: dict[str, tuple[float, int]] = {}  # of each source: its end, and how many came

    def count(self, source: str) -> None:
        """One more delivery of a source that is known. Raises a 429 Problem when it is one too many."""
        now = time.monotonic()
        end, number = self._windows.get(source, (0.0, 0))
        if now >= end:
            end, number = now + self._seconds, 0
        if number >= self._most:
            text = f"{source} may send {self._most} deliveries in {self._seconds} s"
            raise Problem(429, text, retry_after=math.ceil(end - now))
        self._windows[source] = end, number + 1


def rate_of(text: str) -> tuple[int, int]:
    """So many in so many seconds. Raises ValueError when it is no rate."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise ValueError("write it as 1000/second or 60 per minute")
    return int(match[1]), _SECONDS[match[2]]
