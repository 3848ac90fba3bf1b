"""Comparing Postgres with ClickHouse: how long it takes with `--spans` in both, and how fast what was lost comes back.

Half a day of runs, the same in both stores, without another sender beside it.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psutil
import psycopg

from benchmarks.figures import Figure
from benchmarks.ingest import cpu_seconds
from benchmarks.postgres_exporter import spans
from stack import postgres
from stack.alone import running, temporary_home
from stack.home import Home
from stack.services import migrate as migrate_runtime
from telemetry.clickhouse.client import connect
from telemetry.clickhouse.direct import DirectWriter
from telemetry.clickhouse.migrate import migrate
from telemetry.postgres import PostgresSpans
from telemetry.reconcile import Reconciler

SPANS, QUICK_SPANS = 500_000, 50_000
TEMPLATES = 5_000
SPREAD = 43_200  # seconds
LOST = 20  # one in so many

# Copies of the templates, n * step seconds older, with ids of their own
_POSTGRES = """
INSERT INTO agno.agno_spans SELECT substr(md5(span_id || n), 1, 16), trace_id, parent_span_id, name, span_kind,
    status_code, status_message, shifted, shifted, duration_ms,
    jsonb_set(attributes, '{{otel,start_ns}}', to_jsonb((attributes->'otel'->>'start_ns')::bigint - n * {step}::bigint
    * 1000000000)), shifted
FROM agno.agno_spans CROSS JOIN generate_series(1, {copies}) n
CROSS JOIN LATERAL (SELECT to_char((start_time::timestamptz AT TIME ZONE 'UTC') - n * interval '{step} seconds',
    'YYYY-MM-DD"T"HH24:MI:SS.US+00:00') AS shifted) its
"""
_CLICKHOUSE = """
INSERT INTO otel_traces (Timestamp, TraceId, SpanId, SpanName, ServiceName, SpanAttributes)
SELECT Timestamp - toIntervalSecond(n * {step}), TraceId, substring(lower(hex(MD5(SpanId || toString(n)))), 1, 16),
    SpanName, ServiceName, SpanAttributes
FROM (SELECT * FROM otel_traces) AS known CROSS JOIN (SELECT number + 1 AS n FROM numbers({copies})) AS copies
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--spans", type=int, help=f"default {SPANS:,}, {QUICK_SPANS:,} with --quick")


def run(arguments: argparse.Namespace) -> Iterator[Figure]:
    wanted = arguments.spans or (QUICK_SPANS if arguments.quick else SPANS)
    with temporary_home() as home:
        postgres.prepare(home)
        with running(home, "postgres") as server, running(home, "clickhouse"):
            postgres.create_database(home)
            migrate_runtime(home, "runtime").check_returncode()
            migrate(home.clickhouse_url)
            yield from measure(home, fill(home, wanted), psutil.Process(server.pid))


def fill(home: Home, wanted: int) -> int:
    batch, copies = spans(TEMPLATES), wanted // TEMPLATES - 1
    exporter, writer = PostgresSpans(home.database_url), DirectWriter(home.clickhouse_url)
    for n in range(0, len(batch), 500):
        exporter.send(batch[n : n + 500])
    writer.write_spans(batch)
    exporter.close()
    writer.close()
    numbers = {"copies": copies, "step": SPREAD // copies}
    with psycopg.connect(home.database_url, autocommit=True) as connection:
        connection.execute(_POSTGRES.format(**numbers).encode())
        connection.execute("VACUUM ANALYZE agno.agno_spans")  # as autovacuum does in time
    client = connect(home.clickhouse_url)
    client.command(_CLICKHOUSE.format(**numbers))
    client.close()
    print(f"{TEMPLATES * (copies + 1):,} spans in both", file=sys.stderr)
    return TEMPLATES * (copies + 1)


def measure(home: Home, count: int, server: psutil.Process) -> Iterator[Figure]:
    reconciler = Reconciler(home.database_url, home.clickhouse_url, "agent-runtime")

    def timed(compare: Callable[[], Any]) -> tuple[Any, float, float]:
        """What was found, seconds, and seconds of this process."""
        busy, began = cpu_seconds(psutil.Process()), time.perf_counter()
        found = compare()
        return found, time.perf_counter() - began, cpu_seconds(psutil.Process()) - busy

    def figure(name: str, value: float, unit: str) -> Figure:
        return Figure("reconcile", name, round(value, 3), unit, count)

    found, seconds, own = timed(reconciler.compare)
    assert (found.missing, found.surplus) == (0, 0), found
    yield figure("first_comparison", seconds, "s")
    yield figure("first_comparison_own_cpu", own, "s")
    _, seconds, own = timed(reconciler.compare)
    yield figure("comparison_of_nothing_new", seconds * 1000, "ms")
    yield figure("comparison_of_nothing_new_own_cpu", own * 1000, "ms")
    execute(home, "UPDATE telemetry_comparison SET complete_at = complete_at - interval '2 days'")
    _, seconds, _ = timed(reconciler.compare)
    yield figure("counting_all", seconds, "s")

    client = connect(home.clickhouse_url)
    client.command(f"DELETE FROM otel_traces WHERE cityHash64(SpanId) % {LOST} = 0 SETTINGS mutations_sync = 1")
    client.close()
    execute(home, "UPDATE telemetry_comparison SET complete_at = complete_at - interval '2 days'")
    busy = cpu_seconds(server)
    found, seconds, own = timed(reconciler.compare)
    yield figure("lost", found.missing, "span")
    yield figure("left", found.left, "span")
    yield figure("replayed_per_second", found.replayed / seconds, "span/s")
    yield figure("replay_own_cpu", own, "s")
    yield figure("replay_postgres_cpu", cpu_seconds(server) - busy, "s")
    found = reconciler.compare(delay=timedelta(0))
    assert found is not None and found.left == 0, found


def execute(home: Home, statement: str) -> None:
    with psycopg.connect(home.database_url) as connection:
        connection.execute(statement.encode())
