import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from telemetry import sample
from telemetry.sample import Sample


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], int]], Sample[int]]]:
    """Patient ones, for a busy machine; where patience is the matter, tests shorten it after their first value."""
    monkeypatch.setattr(sample, "PATIENCE_SECONDS", 10.0)
    made: list[Sample[int]] = []

    def make(read: Callable[[], int]) -> Sample[int]:
        made.append(Sample("test", read))
        return made[-1]

    yield make
    for each in made:
        each.stop(0.1)


Make = Callable[[Callable[[], int]], Sample[int]]


def test_those_who_ask_at_once_share_one_reading(make: Make) -> None:
    calls = []

    def read() -> int:
        calls.append(1)
        time.sleep(0.1)
        return len(calls)

    found = make(read)
    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(lambda _: found.get(), range(10))) == [1] * 10
    assert found.get() == 1


def test_nothing_is_read_before_somebody_asks(make: Make) -> None:
    calls: list[int] = []
    make(lambda: calls.append(1) or 1)
    time.sleep(0.05)
    assert calls == []


def test_a_reading_that_fails_is_no_value_and_is_tried_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "FRESH_SECONDS", 0.05)
    failing = [True]

    def read() -> int:
        if failing:
            raise ConnectionError
        return 7

    found = make(read)
    assert found.get() is None
    failing.clear()
    time.sleep(0.1)
    assert found.get() == 7
    failing.append(True)
    time.sleep(0.1)
    assert found.get() is None


def test_a_reading_that_hangs_holds_nobody_up_for_long(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten gauges that ask one after the other wait no longer than one."""
    monkeypatch.setattr(sample, "HANG_SECONDS", 0.1)
    monkeypatch.setattr(sample, "FRESH_SECONDS", 0.05)
    go_on, hangs = threading.Event(), threading.Event()

    def read() -> int:
        if hangs.is_set():
            go_on.wait(10)
        return 7

    found = make(read)
    assert found.get() == 7
    monkeypatch.setattr(sample, "PATIENCE_SECONDS", 0.4)
    hangs.set()
    time.sleep(0.1)
    began = time.monotonic()
    assert [found.get() for _ in range(10)][-1] is None
    assert time.monotonic() - began < 5 * sample.PATIENCE_SECONDS
    monkeypatch.setattr(sample, "PATIENCE_SECONDS", 10.0)
    monkeypatch.setattr(sample, "HANG_SECONDS", 10.0)
    hangs.clear()
    go_on.set()
    time.sleep(0.1)
    assert found.get() == 7


def test_what_is_old_is_left_out(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "KEEP_SECONDS", 0.1)
    monkeypatch.setattr(sample, "FRESH_SECONDS", 0.05)
    found = make(lambda: time.sleep(2) or 7 if reads else reads.append(1) or 7)
    reads: list[int] = []
    assert found.get() == 7
    monkeypatch.setattr(sample, "PATIENCE_SECONDS", 0.2)
    time.sleep(0.2)
    assert found.get() is None  # the next reading is merely slow, but the one before it is too old


def test_slow_readings_serve_those_who_ask_later(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(sample, "FRESH_SECONDS", 10.0)
    calls: list[int] = []

    def read() -> int:
        calls.append(1)
        go_on.wait(10)
        return 7

    go_on = threading.Event()
    found = make(read)
    assert found.get() is None
    go_on.set()
    monkeypatch.setattr(sample, "PATIENCE_SECONDS", 10.0)
    assert found.get() == 7 and calls == [1]
