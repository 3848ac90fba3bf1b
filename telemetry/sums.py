"""Counters that are added up here and read when the SDK collects: a tenth of its time for each addition."""

import threading

from telemetry.catalogue import INSTRUMENTS, MOST_SERIES, OVERFLOW, Values


class Sums:
    """Those of the catalogue, up-down counters included. Thread-safe. Cumulative since this was made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._instruments = {i.name: i for i in INSTRUMENTS if i.kind in ("counter", "up_down_counter")}
        self._sums: dict[str, dict[Values, float]] = {name: {} for name in self._instruments}

    def add(self, name: str, amount: float, values: Values) -> None:
        """`values` of the instrument's attributes."""
        sums = self._sums[name]
        with self._lock:
            if values in sums:
                sums[values] += amount
            elif len(sums) < MOST_SERIES:
                sums[values] = amount
            else:
                sums[OVERFLOW] = sums.get(OVERFLOW, 0) + amount

    def after_fork(self) -> None:
        """In a forked child: who held the lock does not exist there."""
        self._lock = threading.Lock()

    def read(self, name: str) -> list[tuple[float, dict[str, str | bool]]]:
        """Each sum with its attributes."""
        with self._lock:
            sums = list(self._sums[name].items())
        return [(amount, self._instruments[name].labelled(values)) for values, amount in sums]
