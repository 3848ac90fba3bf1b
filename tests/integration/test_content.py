"""Content that nobody expects, in prompts, attributes and results of tools: it costs its own span at most.

By both ways to ClickHouse, and into Postgres.
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from agno.agent import Agent

from runtime.offline import OfflineModel
from stack.alone import temporary_home
from telemetry import pipeline, recorder, semconv
from telemetry.fitting import SPAN_BYTES
from telemetry.pipeline import Settings, Telemetry
from tests.integration.collectors import collecting, toward
from tests.integration.conftest import ClickHouse
from tests.integration.runtimes import until

pytestmark = pytest.mark.timeout(180)

TEXTS = {
    "huge": "x" * 10_000_000,
    "huge, not ASCII": "ü東" * 2_000_000,
    "deep JSON": "[" * 10_000 + "]" * 10_000,
    "lone surrogates": "a\ud800b\udfff",
    "NUL": "a\x00b\\u0000c\\\\u0000",
    "control": "".join(map(chr, range(32))) + "\x7f\u2028\ufeff\u202e",
    "SQL": "'); DROP TABLE agno.agno_spans; --${x} {x:String} %s %(x)s",
    "JSON": '{"span_id": null, "attributes": {"$ref": "#"}} \\',
    "not UTF-8": b"\xff\xfe\x00\xc3\x28".decode(errors="surrogateescape"),
    "empty": "",
}


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


VALUES: dict[str, Any] = {
    **TEXTS,
    "bytes": b"\xff\x00" * 100,
    "many": tuple("y" * 100_000 for _ in range(100)),
    "not finite": (float("nan"), float("inf")),
    "beyond 64 bits": 2**70,
    "80 levels": nested(80),
}


@pytest.fixture(params=["collector", "direct"])
def telemetry(
    request: pytest.FixtureRequest, migrated: str, clickhouse: ClickHouse, collector_binary: Path
) -> Iterator[Telemetry]:
    def begin(**more: str) -> Telemetry:
        made = pipeline.start(Settings("agent-runtime", "test", request.param, database_url=migrated, **more))
        recorder.install(made)
        return made

    if request.param == "direct":
        made = begin(clickhouse_url=clickhouse.otel_url)
        yield made
        recorder.uninstall()
        made.shutdown(5)
    else:
        with temporary_home() as home, collecting(home, collector_binary, **toward(clickhouse)):
            made = begin(otlp_endpoint=f"http://127.0.0.1:{home.ports['otlp_grpc']}")
            yield made
            recorder.uninstall()
            made.shutdown(5)


def run_with_a_tool_that_answers(value: Any) -> None:
    def fetch() -> Any:
        """Fetches it."""
        return value

    agent = Agent(id="a", name="A", model=OfflineModel(latency=0), tools=[fetch], telemetry=False)
    assert agent.run("[tool fetch] go").content


def test_it_changes_nothing_but_its_own_span(
    telemetry: Telemetry, migrated: str, clickhouse: ClickHouse, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # the SDK says which attributes it cannot encode
    sent: set[str] = set()
    for name, value in VALUES.items():
        for attributes in ({"content": value}, {"ordinary": "text"}):
            with telemetry.tracer.start_as_current_span(f"span with {name}", attributes=attributes) as span:
                span.add_event("event", attributes)
            sent.add(f"{span.get_span_context().span_id:016x}")
    for number, text in enumerate(TEXTS.values()):
        agent = Agent(id="a", name="A", model=OfflineModel(latency=0), telemetry=False)
        agent.run(text or "x", session_id=f"s{number}")
    for value in VALUES.values():
        run_with_a_tool_that_answers(value)
    assert telemetry.flush(60)
    spans = telemetry.health()["postgres"]["exported"]
    assert spans >= len(sent) + len(TEXTS)
    way = next(name for name in telemetry.health() if name not in ("postgres", "logs"))
    for name in ("postgres", way):
        health = telemetry.health()[name]
        assert (health["exported"], health["dropped"], health["failed"], health["queued"]) == (spans, 0, 0, 0), health
        assert health["cut"] >= 2

    with psycopg.connect(migrated) as connection:
        rows = connection.execute("SELECT span_id, name, attributes FROM agno.agno_spans").fetchall()
    assert sent <= {span_id for span_id, *_ in rows}
    answers = [attributes[semconv.OUTPUT_VALUE] for _, name, attributes in rows if name == "execute_tool fetch"]
    assert len(answers) == len(VALUES)
    assert TEXTS["SQL"] in answers and TEXTS["deep JSON"] in answers
    assert len(rows) == spans
    until(lambda: clickhouse.rows("SELECT toString(count()) FROM otel_traces FINAL") == [[str(spans)]], 60)
    assert sent <= {str(row[0]) for row in clickhouse.rows("SELECT SpanId FROM otel_traces FINAL")}

    kept = {name: attributes for _, name, attributes in rows if "content" in attributes}
    assert kept["span with SQL"]["content"] == TEXTS["SQL"]
    assert kept["span with deep JSON"]["content"] == TEXTS["deep JSON"]
    huge = kept["span with huge"]
    assert huge["content"] == "x" * len(huge["content"])
    assert SPAN_BYTES / 3 < len(huge["content"]) < SPAN_BYTES
    assert len(huge["content"]) + huge[semconv.CUT_BYTES] / 2 > 9_000_000
    assert len(json.dumps(kept["span with huge, not ASCII"]["content"], ensure_ascii=False).encode()) < SPAN_BYTES
    (found,) = clickhouse.rows(
        "SELECT toString(length(SpanAttributes['content'])), SpanAttributes['agno.content.cut_bytes']"
        " FROM otel_traces FINAL"
        " WHERE SpanName = 'span with huge' AND SpanAttributes['content'] != ''"
    )
    assert found == [str(len(huge["content"])), str(huge[semconv.CUT_BYTES])]
