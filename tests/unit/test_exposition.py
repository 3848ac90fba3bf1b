from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from telemetry.exposition import Exposition
from tests.unit.conftest import Recorded

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def fill(recorded: Recorded) -> None:
    with recorded.tracer.start_as_current_span("a run"):
        recorded.instruments.run_started("support", "agent")
        recorded.instruments.run_finished("support", "Support", "agent", "completed", 1.5, None)
    recorded.instruments.observe("agno.queue.depth", lambda: [(3, {"queue": "default", "state": "queued"})])


def test_prometheus_text(recorded: Recorded) -> None:
    fill(recorded)
    body, content_type = Exposition(recorded.reader).render(None)

    assert content_type.startswith("text/plain")
    families = {family.name: family for family in prometheus(body.decode())}
    (runs,) = families["agno_agent_runs"].samples
    assert (runs.name, runs.value) == ("agno_agent_runs_total", 1)
    assert runs.labels == {"agent_id": "support", "kind": "agent", "status": "completed"}
    assert families["agno_queue_depth"].samples[0].value == 3
    buckets = {s.labels["le"]: s.value for s in families["agno_agent_duration_seconds"].samples if "le" in s.labels}
    assert (buckets["0.8"], buckets["1.6"], buckets["+Inf"]) == (0, 1, 1)


def test_openmetrics_has_exemplars_that_name_the_trace(recorded: Recorded) -> None:
    fill(recorded)
    body, content_type = Exposition(recorded.reader).render(OPENMETRICS)

    assert content_type.startswith("application/openmetrics-text")
    families = {family.name: family for family in openmetrics(body.decode())}
    (exemplar,) = [s.exemplar for s in families["agno_agent_duration_seconds"].samples if s.exemplar]
    span = recorded.span("a run")
    assert exemplar.labels["trace_id"] == format(span.context.trace_id, "032x")
    assert exemplar.value == 1.5


def test_nothing_recorded_is_an_empty_valid_answer(recorded: Recorded) -> None:
    body, _ = Exposition(recorded.reader).render(OPENMETRICS)
    assert body == b"# EOF\n"
