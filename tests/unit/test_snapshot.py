from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import HistogramDataPoint

from telemetry import snapshot
from telemetry.catalogue import INSTRUMENTS
from telemetry.exposition import Exposition
from tests.unit.conftest import Recorded


def read(recorded: Recorded | None, name: str) -> dict[str, Any]:
    exposition = Exposition(recorded.reader if recorded else None)
    found = snapshot.instruments(exposition, lambda trace_id: f"/traces/{trace_id}")
    (instrument,) = [i for i in found if i["name"] == name]
    return instrument


def test_every_instrument_is_listed_with_what_it_means() -> None:
    found = snapshot.instruments(Exposition(None), str)
    assert [i["name"] for i in found] == [i.name for i in INSTRUMENTS]
    assert all(i["help"] and i["unit"] and i["values"] == [] for i in found)


def test_values_by_their_attributes(recorded: Recorded) -> None:
    for status in ("completed", "completed", "error"):
        recorded.instruments.run_finished("support", "Support", "agent", status, 1.0, None)
    runs = read(recorded, "agno.agent.runs")
    assert (runs["kind"], runs["unit"]) == ("counter", "{run}")
    attributes = {"agent_id": "support", "kind": "agent"}
    assert runs["values"] == [
        {"attributes": attributes | {"status": "completed"}, "value": 2},
        {"attributes": attributes | {"status": "error"}, "value": 1},
    ]


def test_a_histogram_in_numbers_that_people_know(recorded: Recorded) -> None:
    recorded.instruments.agents_reloaded("ok")  # the SDK has something to collect, as in every process that runs
    for n in range(1, 101):
        recorded.instruments.ticket_waited("support", n / 100)
    (value,) = read(recorded, "agno.queue.wait")["values"]
    assert (value["count"], value["mean"], value["min"], value["max"]) == (100, 0.505, 0.01, 1.0)
    assert value["p50"] == pytest.approx(0.5, abs=0.01)
    assert value["p90"] == pytest.approx(0.9, abs=0.01)
    assert value["p99"] == pytest.approx(0.99, abs=0.01)
    assert "newest" not in value  # none of them was traced


def test_the_newest_traced_value_is_linked(recorded: Recorded) -> None:
    for name, seconds in (("first", 20.0), ("second", 2.0)):
        with recorded.current(name):
            recorded.instruments.run_finished("support", "Support", "agent", "completed", seconds, None)
    (value,) = read(recorded, "agno.agent.duration")["values"]
    trace_id = format(recorded.span("second").context.trace_id, "032x")
    assert value["newest"].pop("at")
    assert value["newest"] == {"value": 2.0, "trace_id": trace_id, "link": f"/traces/{trace_id}"}


def point(counts: list[int], low: float, high: float) -> HistogramDataPoint:
    return HistogramDataPoint({}, 0, 0, sum(counts), 0.0, counts, [1.0, 2.0, 4.0], low, high, [])


@pytest.mark.parametrize(
    ("counts", "low", "high", "percent", "expected"),
    [
        ([10, 0, 0, 0], 0.9, 1.0, 50, 0.9),  # evenly spread would be 0.5, but nothing that small was seen
        ([0, 10, 0, 0], 1.0, 2.0, 50, 1.5),
        ([5, 0, 0, 5], 0.1, 100.0, 99, 98.08),  # above the last bound: up to the largest that was seen
        ([5, 0, 5, 0], 0.1, 2.5, 99, 2.5),
        ([1, 0, 0, 0], 0.3, 0.3, 99, 0.3),
        ([0, 0, 0, 1], 7.0, 7.0, 50, 7.0),
    ],
)
def test_percentiles(counts: list[int], low: float, high: float, percent: float, expected: float) -> None:
    assert snapshot.percentile(point(counts, low, high), percent) == pytest.approx(expected)
