"""Work of background threads in small steps, so that those who answer requests do not wait for them."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

STEP = 4  # items, of some 15 us each
PAUSE_SECONDS = 0.0005


def paced(items: Iterable[T]) -> Iterator[T]:
    """The items, with a pause after every few: some 6,000 in a second.

    A thread that computes keeps Python's interpreter lock for as long as the switch interval each time that another has
    let go of it, and the server's thread lets go several times in every request, for each call of the system.
    """
    for number, item in enumerate(items, 1):
        yield item
        if number % STEP == 0:
            time.sleep(PAUSE_SECONDS)
