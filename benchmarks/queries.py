"""The dashboards' queries, each in milliseconds; two of them beside the exporter's default schema."""

import argparse
import statistics
import time
from collections.abc import Iterator
from typing import Any

from clickhouse_connect.driver.client import Client

from benchmarks import panels
from benchmarks.figures import Figure
from benchmarks.generated import Stores, stores
from dashboards.viewer.queries import ClickHouse

SPANS = 1_000_000
QUICK_SPANS = 100_000
DAYS = 7
SENTENCE = 1  # texts are a third as long as in `benchmarks storage`, which makes ten millions in minutes
ROUNDS = 11
SLOW_ROUNDS = 3  # of what takes the default schema many seconds

# Tokens and cost by model and hour of a week, out of the rollups and out of the default schema.
TOKENS_COST = """
SELECT hour, name AS model, sum(input_tokens), sum(output_tokens), if(sum(priced) > 0, sum(cost), NULL)
FROM operations_by_hour
WHERE operation = 'chat' AND hour >= now() - INTERVAL 7 DAY
GROUP BY hour, model ORDER BY hour
"""
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
    times: dict[str, list[float]] = {}
    for n in range(ROUNDS):
        for name, query, parameters in panels.panels(values[n % len(values)]):
            times.setdefault(name, []).append(milliseconds(found.reader, query, parameters))
    medians = {name: round(statistics.median(taken), 1) for name, taken in times.items()}
    for name, median in medians.items():
        yield Figure("queries", name, median, "ms", spans)
    for kind, part in (("slowest_rollup_panel", "(rollup)"), ("slowest_panel", "")):
        yield Figure("queries", kind, max(time for name, time in medians.items() if part in name), "ms", spans)
    yield Figure("queries", "fleet_page", round(page(found.reader_url, values), 2), "s", spans)
    ours = statistics.median(milliseconds(found.reader, TOKENS_COST, {}) for _ in range(ROUNDS))
    tokens = statistics.median(milliseconds(found.default_reader, DEFAULT_TOKENS_COST, {}) for _ in range(SLOW_ROUNDS))
    yield Figure("queries", "tokens_cost_vs_default", round(ours, 1), "ms", spans, round(tokens, 1))
    traces: dict[Client, list[float]] = {found.reader: [], found.default_reader: []}
    for value in values:
        for client, taken in traces.items():
            taken.append(milliseconds(client, TRACE, {"trace": value["trace"]}))
    ours, default = (round(statistics.median(taken), 1) for taken in traces.values())
    yield Figure("queries", "trace_by_id_vs_default", ours, "ms", spans, default)


def page(url: str, values: list[dict[str, str]]) -> float:
    """Seconds until the Fleet dashboard has every answer."""
    clickhouse = ClickHouse(url)
    taken = []
    for value in values[:ROUNDS]:
        began = time.perf_counter()
        panels.page(clickhouse, "fleet", value)
        taken.append(time.perf_counter() - began)
    clickhouse.close()
    return statistics.median(taken)


def examples(client: Client) -> list[dict[str, str]]:
    """Runs of all days, so that no lookup finds what the one before has read."""
    query = """SELECT RunId, TraceId, SessionId, AgentId FROM otel_traces
        WHERE RunId != '' AND Timestamp < now() - INTERVAL 1 HOUR ORDER BY sipHash64(RunId) LIMIT 200"""
    rows = client.query(query).result_rows
    return [
        dict(zip(("run_id", "trace", "session", "agent"), row, strict=True)) for row in rows[:: 200 // (2 * ROUNDS)]
    ]


def milliseconds(client: Client, query: str, parameters: dict[str, Any]) -> float:
    """Of a query from here and back, as a dashboard has it."""
    began = time.perf_counter()
    client.query(query, parameters=parameters)
    return (time.perf_counter() - began) * 1000
