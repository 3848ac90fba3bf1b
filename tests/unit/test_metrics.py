"""The instruments: what is recorded is what is read, with the attributes that the catalogue declares, and bounded."""

import inspect
import os
from pathlib import Path
from typing import Any

import pytest
from agno.agent import Agent
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from runtime.offline import OfflineModel
from telemetry import reference
from telemetry.catalogue import BY_NAME, INSTRUMENTS, MOST_SERIES
from telemetry.exposition import Exposition
from telemetry.metrics import Instruments
from tests.unit.conftest import Recorded
from tests.unit.test_exposition import everything

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_every_instrument_is_recorded_as_the_catalogue_says(recorded: Recorded) -> None:
    everything(recorded)
    for instrument in INSTRUMENTS:
        points = recorded.points(instrument.name)
        assert points, instrument.name
        for point in points:
            assert set(point.attributes) | {"error.type"} == set(instrument.attributes) | {"error.type"}
            if instrument.kind != "observable_gauge":
                assert list(instrument.problems(point.attributes)) == []


@pytest.mark.parametrize(
    "attributes",
    [
        {"agent_id": "a", "kind": "agent"},
        {"agent_id": "a", "kind": "agent", "status": "completed", "run_id": "r"},
        {"agent_id": "a", "kind": "agent", "status": "finished"},
        {"agent_id": "a", "kind": "Agent", "status": "error", "error.type": "E"},
    ],
)
def test_what_does_not_fit_is_found(attributes: dict[str, str]) -> None:
    assert len(list(BY_NAME["agno.agent.runs"].problems(attributes))) == 1


def test_values_of_declared_attributes_only() -> None:
    for instrument in INSTRUMENTS:
        assert set(instrument.values) <= set(instrument.attributes), instrument.name
        assert bool(instrument.buckets) == (instrument.kind == "histogram"), instrument.name


def test_names_without_end_are_one_series(recorded: Recorded) -> None:
    for n in range(MOST_SERIES + 500):
        recorded.instruments.run_started(f"agent-{n}", "agent")
        recorded.instruments.tool_finished(f"tool-{n}", 1.0, None)
    recorded.instruments.run_started("agent-1", "agent")
    overflow = {"otel.metric.overflow": True}
    started = recorded.points("agno.agent.in_progress")
    assert len(started) == MOST_SERIES + 1
    assert sum(point.value for point in started) == MOST_SERIES + 501
    assert [point.value for point in started if point.attributes == overflow] == [500]
    assert [point.value for point in started if point.attributes.get("agent_id") == "agent-1"] == [2]
    tools = recorded.points("gen_ai.execute_tool.duration")
    assert len(tools) == MOST_SERIES + 1
    assert [point.count for point in tools if point.attributes == overflow] == [500]
    assert b"otel_metric_overflow" in Exposition(recorded.reader).prometheus()[0]


def test_agents_without_a_name_are_one_series(recorded: Recorded) -> None:
    """agno makes up an id for each of them."""
    for _ in range(3):
        Agent(model=OfflineModel(latency=0), telemetry=False).run("hello")
    Agent(id="mild-tesla", model=OfflineModel(latency=0), telemetry=False).run("hello")
    runs = {point.attributes["agent_id"]: point.value for point in recorded.points("agno.agent.runs")}
    assert runs == {"unnamed": 3, "mild-tesla": 1}
    assert [point.value for point in recorded.points("agno.agent.in_progress")] == [0, 0]
    names = [point.attributes["gen_ai.agent.name"] for point in recorded.points("gen_ai.invoke_agent.duration")]
    assert names == ["unnamed", "mild-tesla"]


def test_costs_are_added_up(recorded: Recorded) -> None:
    for dollars in (0.25, 0.5, 0.0):
        recorded.instruments.model_cost("openai", "gpt-4.1", "support", dollars)
    (point,) = recorded.points("agno.model.cost")
    assert point.value == 0.75
    text = Exposition(recorded.reader).prometheus()[0].decode()
    assert 'agno_model_cost_total{agent_id="support",gen_ai_provider_name="openai"' in text


def test_the_exemplar_is_the_newest_sampled_span_of_its_bucket(recorded: Recorded) -> None:
    for span_id, sampled, seconds in ((1, True, 1.1), (2, True, 1.2), (3, False, 1.3), (4, True, 100.0)):
        context = SpanContext(7, span_id, False, TraceFlags(int(sampled)))
        recorded.instruments.agents_reloaded("ok")  # the SDK has something to collect, as in every process that runs
        with trace.use_span(NonRecordingSpan(context)):
            recorded.instruments.ticket_waited("support", seconds)
    (point,) = recorded.points("agno.queue.wait")
    exemplars = [(e.trace_id, e.span_id, e.value) for e in point.exemplars]
    assert exemplars == [(7, 2, 1.2), (7, 4, 100.0)]
    assert point.count == 4


def test_without_a_meter_nothing_is_kept_but_gauges_can_be_read() -> None:
    instruments = Instruments()
    for name, verb in inspect.getmembers(instruments, inspect.ismethod):
        if name.startswith("_") or name in ("close", "observe", "observed", "sampled"):
            continue
        given: dict[str, Any] = {"count": 1, "seconds": 1.0, "first_chunk": 1.0, "tokens": {"input": 1}, "dollars": 1.0}
        verb(**{p: given.get(p, "x") for p in inspect.signature(verb).parameters})
    assert instruments.histograms.metrics(0) == []
    instruments.observe("agno.queue.depth", lambda: [(3, {"queue": "default", "state": "queued"})])
    assert instruments.observed("agno.queue.depth") == [(3, {"queue": "default", "state": "queued"})]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12: threads, which are the point
def test_a_forked_process_can_count(recorded: Recorded) -> None:
    """A lock that another thread held when the process was copied would be held there for ever."""
    instruments = recorded.instruments
    with instruments._sums._lock, instruments.histograms._lock, instruments._lock:
        child = os.fork()
        if child == 0:
            instruments.after_fork()
            instruments.webhook_answered("a", "webhook", "accepted", 1.0)
            instruments.observe("agno.queue.depth", lambda: [])
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_the_page_is_what_the_catalogue_says() -> None:
    """`make generate` makes it."""
    assert PAGE.read_text() == reference.markdown()
    assert all(f"| `{i.name}` |" in PAGE.read_text() for i in INSTRUMENTS)
