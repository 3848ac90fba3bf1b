import math
import re
import threading
from collections.abc import Iterator

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from telemetry.catalogue import INSTRUMENTS
from telemetry.exposition import Exposition
from tests.unit.conftest import Recorded

AWKWARD = 'a "quoted"\\path\nof \u00e9\U0001f986'


def fill(recorded: Recorded, agent_id: str = "support") -> None:
    with recorded.current("a run"):
        recorded.instruments.run_started(agent_id, "agent")
        recorded.instruments.run_finished(agent_id, "Support", "agent", "completed", 1.5, None)
    recorded.instruments.observe("agno.queue.depth", lambda: [(3, {"queue": "default", "state": "queued"})])


def everything(recorded: Recorded) -> Exposition:
    """Every instrument of the catalogue with a value."""
    i = recorded.instruments
    fill(recorded, AWKWARD)
    i.run_finished("flow", "Flow", "workflow", "error", 700.0, "ValueError")
    i.webhook_answered("support", "webhook", "accepted", 0.01)
    i.request_refused("body")
    i.dedup_decided("webhook", "miss")
    i.ticket_waited("support", 0.0)
    i.ticket_given_up("support")
    i.agents_reloaded("ok")
    i.tool_finished("search", 0.2, None)
    i.model_called("openai", "gpt", 1.0, 0.3, {"input": 10, "output": 3}, None)
    i.spans_handled("postgres", "exported", 2)
    i.approval_decided("support", "approved", 5.0)
    i.model_cost("openai", "gpt", "support", 0.25)
    i.logs_handled("exported", 3)
    for instrument in INSTRUMENTS:
        if instrument.kind == "observable_gauge":
            i.observe(instrument.name, lambda keys=instrument.attributes: [(1.5, dict.fromkeys(keys, "x"))])
    return Exposition(recorded.reader)


def problems(text: str) -> Iterator[str]:
    """What `promtool check metrics` finds fault with, and what the formats forbid."""
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE))
    for name, kind in types.items():
        if not re.fullmatch(r"[a-z_][a-z0-9_]*", name):
            yield f"{name}: not a name"
        if name not in helps:
            yield f"{name}: no help"
        if kind != "counter" and re.search(r"_(total|count|sum|bucket|info)$", name):
            yield f"{name}: a reserved ending"
        if re.search(r"_(ms|milliseconds|minutes|kb|mb|kilobytes|percent)(_|$)", name) or kind in name.split("_"):
            yield f"{name}: not a base unit, or its type in its name"
    samples = [line for line in text.splitlines() if line and not line.startswith("#")]
    if len({line.split(" # ")[0].rsplit(" ", 1)[0] for line in samples}) != len(samples):
        yield "one series twice"
    for line in samples:
        name = re.split(r"[{ ]", line)[0]
        counter = types.get(name) == "counter" or types.get(name.removesuffix("_total")) == "counter"
        if counter != name.endswith("_total"):
            yield f"{name}: only counters end in _total"
        if " # {" in line and not name.endswith(("_bucket", "_total")):
            yield f"{name}: an exemplar where none may be"


def test_both_texts_keep_the_rules_with_every_instrument(recorded: Recorded) -> None:
    exposition = everything(recorded)
    for body, _ in (exposition.prometheus(), exposition.openmetrics()):
        assert list(problems(body.decode())) == []
        assert len(re.findall("^# TYPE", body.decode(), re.MULTILINE)) == len(INSTRUMENTS)
    assert " # {" not in exposition.prometheus()[0].decode()


def test_openmetrics_names_the_unit_and_ends(recorded: Recorded) -> None:
    text = everything(recorded).openmetrics()[0].decode()
    assert "# UNIT agno_agent_duration_seconds seconds" in text
    assert "# UNIT agno_db_table_size_bytes bytes" in text
    assert text.endswith("# EOF\n")


def test_values_are_escaped(recorded: Recorded) -> None:
    exposition = everything(recorded)
    families = [*prometheus(exposition.prometheus()[0].decode()), *openmetrics(exposition.openmetrics()[0].decode())]
    found = [s for f in families for s in f.samples if s.name == "agno_agent_runs_total"]
    assert {s.labels["agent_id"] for s in found} == {AWKWARD, "flow"}


def test_prometheus_text(recorded: Recorded) -> None:
    fill(recorded)
    body, content_type = Exposition(recorded.reader).prometheus()

    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name: family for family in prometheus(body.decode())}
    (runs,) = families["agno_agent_runs"].samples
    assert (runs.name, runs.value) == ("agno_agent_runs_total", 1)
    assert runs.labels == {"agent_id": "support", "kind": "agent", "status": "completed"}
    assert families["agno_queue_depth"].samples[0].value == 3
    buckets = {s.labels["le"]: s.value for s in families["agno_agent_duration_seconds"].samples if "le" in s.labels}
    assert (buckets["0.8"], buckets["1.6"], buckets["+Inf"]) == (0, 1, 1)


def exemplars(body: bytes) -> list[tuple[str, float, str]]:
    return [
        (s.labels["le"], s.exemplar.value, s.exemplar.labels["trace_id"])
        for family in openmetrics(body.decode())
        for s in family.samples
        if s.exemplar and family.name == "agno_agent_duration_seconds"
    ]


def test_openmetrics_has_exemplars_that_name_the_trace_at_every_scrape(recorded: Recorded) -> None:
    fill(recorded)
    exposition = Exposition(recorded.reader)
    body, content_type = exposition.openmetrics()

    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    trace_id = format(recorded.span("a run").context.trace_id, "032x")
    assert exemplars(body) == [("1.6", 1.5, trace_id)]
    assert exemplars(exposition.openmetrics()[0]) == exemplars(body)  # the SDK hands one out only once


def test_a_newer_exemplar_takes_the_place_of_its_bucket_only(recorded: Recorded) -> None:
    exposition = Exposition(recorded.reader)
    for seconds in (0.05, 1.5, 1.2, 1000.0):
        with recorded.current(f"run of {seconds}"):
            recorded.instruments.run_finished("support", "Support", "agent", "completed", seconds, None)
        exposition.openmetrics()
    body, _ = exposition.openmetrics()
    assert [(le, value) for le, value, _ in exemplars(body)] == [("0.1", 0.05), ("1.6", 1.2), ("+Inf", 1000.0)]


def test_nothing_recorded_is_an_empty_valid_answer(recorded: Recorded) -> None:
    for exposition in (Exposition(recorded.reader), Exposition(None)):
        assert exposition.openmetrics()[0] == b"# EOF\n"
        assert exposition.prometheus()[0] == b""


def test_scrapes_at_once_are_all_complete(recorded: Recorded) -> None:
    """Counters never go back and no scrape is empty, however many read and record at the same time."""
    exposition = everything(recorded)
    found: list[list[float]] = [[] for _ in range(4)]

    def scrape(seen: list[float]) -> None:
        for _ in range(30):
            families = {f.name: f for f in openmetrics(exposition.openmetrics()[0].decode())}
            assert len(families) == len(INSTRUMENTS)
            histogram = {
                s.labels["le"]: s.value for s in families["agno_queue_wait_seconds"].samples if s.labels.get("le")
            }
            seen.append(histogram["+Inf"])

    threads = [threading.Thread(target=scrape, args=(seen,)) for seen in found]
    for thread in threads:
        thread.start()
    for _ in range(2000):
        recorded.instruments.ticket_waited("support", 0.1)
    for thread in threads:
        thread.join()
    assert all(len(seen) == 30 and seen == sorted(seen) for seen in found)
    assert not math.isnan(found[0][-1])
