import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from telemetry.buffer import Buffer, Limits, Rejected


class Destination:
    """Takes what it is sent, fails while `down`, refuses batches that hold a poisonous item."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.batches: list[int] = []
        self.down = False
        self.poison: set[int] = set()
        self.hold = threading.Event()
        self.hold.set()
        self.counted: Counter[str] = Counter()

    def send(self, items: Sequence[int]) -> None:
        self.hold.wait()
        if self.down:
            raise ConnectionError("away")
        if self.poison & set(items):
            raise Rejected("cannot take that")
        self.taken += items
        self.batches.append(len(items))

    def count(self, outcome: str, items: int, reason: str) -> None:
        self.counted[f"{outcome}: {reason}" if reason else outcome] += items


@pytest.fixture
def destination() -> Iterator[Destination]:
    found = Destination()
    yield found
    found.hold.set()


def buffer(destination: Destination, **limits: float) -> Buffer[int]:
    return Buffer("test", destination.send, Limits(**{"delay": 0.02, **limits}), destination.count)  # type: ignore[arg-type]


def test_everything_arrives_once_and_in_order(destination: Destination) -> None:
    it = buffer(destination, batch=10)
    for n in range(1000):
        it.put(n)
    it.stop(5)
    assert destination.taken == list(range(1000))
    assert max(destination.batches) <= 10
    assert destination.counted == {"exported": 1000}


def test_an_outage_loses_nothing(destination: Destination) -> None:
    it = buffer(destination)
    destination.down = True
    for n in range(100):
        it.put(n)
    time.sleep(0.3)
    assert it.last_error == "ConnectionError: away"
    assert it.waiting() == 100
    destination.down = False
    assert it.flush(10)
    assert sorted(destination.taken) == list(range(100))
    assert it.last_error is None
    it.stop(1)


def test_a_full_queue_drops_and_counts_and_never_blocks(destination: Destination) -> None:
    it = buffer(destination, queue=50, batch=10)
    destination.hold.clear()
    began = time.monotonic()
    for n in range(200):
        it.put(n)
    assert time.monotonic() - began < 10
    destination.hold.set()
    it.stop(5)
    assert destination.counted["exported"] == len(destination.taken)
    assert destination.counted["exported"] + destination.counted["dropped: queue full"] == 200
    assert 50 <= destination.counted["exported"] <= 60


def test_what_can_never_be_sent_is_left_out_alone(destination: Destination) -> None:
    destination.poison = {37}
    it = buffer(destination, batch=64)
    for n in range(64):
        it.put(n)
    it.stop(5)
    assert sorted(destination.taken) == [n for n in range(64) if n != 37]
    assert destination.counted == {"exported": 63, "failed: rejected by the destination": 1}


def test_stop_keeps_its_deadline_and_counts_what_is_left(destination: Destination) -> None:
    it = buffer(destination)
    destination.down = True
    for n in range(10):
        it.put(n)
    began = time.monotonic()
    it.stop(0.5)
    assert time.monotonic() - began < 10
    assert destination.counted == {"dropped: shut down before it was sent": 10}


def test_after_stop_nothing_is_taken_but_it_is_counted(destination: Destination) -> None:
    it = buffer(destination)
    it.stop(1)
    it.put(1)
    assert destination.counted == {"dropped: shut down before it was sent": 1}


def test_flush_says_when_time_ran_out(destination: Destination) -> None:
    it = buffer(destination)
    destination.down = True
    it.put(1)
    assert not it.flush(0.2)
    destination.down = False
    assert it.flush(10)
    it.stop(1)
