"""The dashboards' queries, each in milliseconds; two of them beside the exporter's default schema."""

import argparse
import re
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client

from benchmarks.figures import Figure
from benchmarks.generated import Stores, stores

PANELS = Path(__file__).parent / "panels.sql"
SPANS = 1_000_000
QUICK_SPANS = 100_000
DAYS = 7
SENTENCE = 1  # texts are a third as long as in `benchmarks storage`, which makes ten millions in minutes
ROUNDS = 11
SLOW_ROUNDS = 3  # of what takes the default schema many seconds

# The panel, and the same answer out of the default schema.
TOKENS_COST = "models and cost: tokens and cost by model, 7 days"
DEFAULT_TOKENS_COST = """
SELECT toStartOfHour(Timestamp) AS hour, SpanAttributes['gen_ai.request.model'] AS model,
    sum(toUInt64OrZero(SpanAttributes['gen_ai.usage.input_tokens'])),
    sum(toUInt64OrZero(SpanAttributes['gen_ai.usage.output_tokens'])),
    sum(toFloat64OrNull(SpanAttributes['llm.cost.total']))
FROM otel_traces
WHERE SpanName LIKE 'chat %' AND Timestamp >= now() - INTERVAL 7 DAY
GROUP BY hour, model ORDER BY hour
"""
# As Grafana's ClickHouse data source asks in its OTel mode.
TRACE = """
WITH {trace:String} AS trace_id,
    (SELECT min(Start) FROM otel_traces_trace_id_ts WHERE TraceId = trace_id) AS trace_start,
    (SELECT max(End) + 1 FROM otel_traces_trace_id_ts WHERE TraceId = trace_id) AS trace_end
SELECT TraceId, SpanId, ParentSpanId, ServiceName, SpanName, Timestamp, Duration, SpanAttributes, ResourceAttributes,
    StatusCode, StatusMessage
FROM otel_traces
WHERE TraceId = trace_id AND Timestamp >= trace_start AND Timestamp <= trace_end
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--spans", type=int, help=f"over {DAYS} days; default {SPANS:,}, {QUICK_SPANS:,} with --quick")


def run(arguments: argparse.Namespace) -> Iterator[Figure]:
    spans = arguments.spans or (QUICK_SPANS if arguments.quick else SPANS)
    with stores(spans, DAYS, SENTENCE) as found:
        yield from measure(found, spans)


def measure(found: Stores, spans: int) -> Iterator[Figure]:
    values = examples(found.ours)
    times: dict[str, float] = {}
    for name, query in panels():
        times[name] = statistics.median(
            milliseconds(found.reader, query, values[n % len(values)]) for n in range(ROUNDS)
        )
        yield Figure("queries", name, round(times[name], 1), "ms", spans)
    for kind, chosen in (("slowest_rollup_panel", "(rollup)"), ("slowest_panel", "")):
        yield Figure("queries", kind, round(max(t for name, t in times.items() if chosen in name), 1), "ms", spans)
    tokens = statistics.median(milliseconds(found.default_reader, DEFAULT_TOKENS_COST, {}) for _ in range(SLOW_ROUNDS))
    yield Figure(
        "queries", "tokens_cost_vs_default", round(times[f"{TOKENS_COST} (rollup)"], 1), "ms", spans, round(tokens, 1)
    )
    traces: dict[Client, list[float]] = {found.reader: [], found.default_reader: []}
    for value in values:
        for client, taken in traces.items():
            taken.append(milliseconds(client, TRACE, value))
    ours, default = (round(statistics.median(taken), 1) for taken in traces.values())
    yield Figure("queries", "trace_by_id_vs_default", ours, "ms", spans, default)


def panels() -> Iterator[tuple[str, str]]:
    """Name and query of each panel in the file."""
    for part in PANELS.read_text().split("\n\n-- ")[1:]:
        name, query = part.split("\n", 1)
        yield name, query.strip().removesuffix(";")


def examples(client: Client) -> list[dict[str, str]]:
    """Runs of all days, so that no lookup finds what the one before has read."""
    query = """SELECT RunId, TraceId, SessionId, AgentId FROM otel_traces
        WHERE RunId != '' AND Timestamp < now() - INTERVAL 1 HOUR ORDER BY sipHash64(RunId) LIMIT 200"""
    rows = client.query(query).result_rows
    return [dict(zip(("run", "trace", "session", "agent"), row, strict=True)) for row in rows[:: 200 // (2 * ROUNDS)]]


def milliseconds(client: Client, query: str, values: dict[str, Any]) -> float:
    """Of a query from here and back, as a dashboard has it."""
    used = {name: values[name] for name in re.findall(r"\{(\w+):", query)}
    began = time.perf_counter()
    client.query(query, parameters=used)
    return (time.perf_counter() - began) * 1000
