"""A process that makes spans of runs through the runtime's own telemetry, at a rate that can be changed."""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.traffic import SPANS_PER_RUN, Traffic
from telemetry import pipeline

FLUSH_SECONDS = 60.0


class Load:
    """It makes none until it is told a rate."""

    def __init__(self, pid: int, orders: Any) -> None:
        self.pid = pid
        self._orders = orders

    def rate(self, spans_per_second: float) -> None:
        self._orders.send(spans_per_second)

    def state(self) -> dict[str, int]:
        """`spans` made so far; of these how many are `queued` and `lost`, at the destination that has most of them."""
        self._orders.send("state")
        state: dict[str, int] = self._orders.recv()
        return state


@contextmanager
def loading(settings: pipeline.Settings) -> Iterator[Load]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_make, args=(settings, theirs), daemon=False)
    process.start()
    assert process.pid is not None
    try:
        yield Load(process.pid, ours)
    finally:
        ours.send(None)
        process.join(FLUSH_SECONDS + 10)


def _make(settings: pipeline.Settings, orders: Any) -> None:
    runs = Traffic(1).plain_runs()
    telemetry = pipeline.start(settings)
    spans, since, before, rate = 0, time.monotonic(), 0, 0.0
    while True:
        behind = rate and spans - before < (time.monotonic() - since) * rate
        if orders.poll(0 if behind else 0.005):
            order = orders.recv()
            if order is None:
                break
            if order == "state":
                health = telemetry.health().values()
                queued, lost = (max(state[one] for state in health) for one in ("queued", "dropped"))
                orders.send({"spans": spans, "queued": queued, "lost": lost + max(it["failed"] for it in health)})
            else:
                rate, since, before = order, time.monotonic(), spans
        elif behind:
            (name, attributes), *calls = runs[spans // SPANS_PER_RUN % len(runs)]
            with telemetry.tracer.start_as_current_span(name, attributes=attributes):
                for call, its in calls:
                    telemetry.tracer.start_span(call, attributes=its).end()
            spans += SPANS_PER_RUN
    telemetry.shutdown(FLUSH_SECONDS)
