"""A process that makes spans of runs through the runtime's own telemetry, and writes down the id of each that ended."""

import os
import time
from dataclasses import dataclass
from typing import Any

from opentelemetry.trace import Span

from benchmarks.traffic import SPANS_PER_RUN, Traffic
from telemetry import pipeline

FLUSH_SECONDS = 120.0


@dataclass
class Felt:
    """What the sender noticed: the longest time in seconds that a run's spans took to make, and spans counted lost."""

    longest: float
    lost: int


def send(settings: pipeline.Settings, rate: int, seconds: float, ids: str, answer: Any) -> None:
    """`rate` in spans a second, in runs of five. `ids` gets a line for each span, which outlives the process."""
    traffic = Traffic(1)
    runs = traffic.plain_runs()
    telemetry = pipeline.start(settings)
    file = os.open(ids, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    spans, longest = 0, 0.0
    began = time.monotonic()
    while (now := time.monotonic()) < began + seconds:
        if spans > (now - began) * rate:
            time.sleep(0.002)
            continue
        (root_name, root_attributes), *calls = runs[spans // SPANS_PER_RUN % len(runs)]
        with telemetry.tracer.start_as_current_span(root_name, attributes=root_attributes) as root:
            made = [telemetry.tracer.start_span(name, attributes=attributes) for name, attributes in calls]
            for span in made:
                span.end()
        longest = max(longest, time.monotonic() - now)
        os.write(file, "".join(f"{_id(span)}\n" for span in (root, *made)).encode())
        spans += SPANS_PER_RUN
    telemetry.flush(FLUSH_SECONDS)
    telemetry.shutdown(10)
    health = telemetry.health()
    answer.send(Felt(longest, sum(it["dropped"] + it["failed"] for name, it in health.items() if name != "logs")))


def _id(span: Span) -> str:
    return f"{span.get_span_context().span_id:016x}"
