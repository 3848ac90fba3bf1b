"""How many deliveries a source may send: 429 with Retry-After beyond it.

Only deliveries whose signature holds are counted. A stranger can therefore not use up what a sender may send; what a
stranger costs is reading at most WEBHOOK_MAX_BYTES and one HMAC over them, under a millisecond.

Each process counts for itself, in windows that begin with a source's first delivery.
"""

import math
import time

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from runtime.problems import Problem


class Throttle:
    """`rate` as in "1000/second" or "60 per minute". Make it when the server starts: the storage has a timer."""

    def __init__(self, rate: str) -> None:
        self._rate = rate_of(rate)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def count(self, source: str) -> None:
        """One more delivery of a source that is known. Raises a 429 Problem when it is one too many."""
        if not self._limiter.hit(self._rate, source):
            left = self._limiter.get_window_stats(self._rate, source).reset_time - time.time()
            text = f"{source} may send {self._rate.amount} deliveries in {self._rate.get_expiry()} s"
            raise Problem(429, text, retry_after=max(1, math.ceil(left)))


def rate_of(text: str) -> RateLimitItem:
    """Raises ValueError when it is no rate."""
    try:
        rate = parse(text)
    except ValueError:
        raise ValueError("write it as 1000/second or 60 per minute") from None
    if rate.amount < 1:
        raise ValueError("it must let something through")
    return rate
