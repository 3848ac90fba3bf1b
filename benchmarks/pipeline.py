"""Spans through the runtime's own telemetry: into Postgres and, by the collector, into ClickHouse; sent, lost, doubled.

One process makes `--rate` spans a second with telemetry.pipeline, as the runtime does, while both stores and the
collector share the machine with it. Phoenix is not there.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator
from typing import Any

import clickhouse_connect
import psutil
import psycopg

from benchmarks.figures import Figure
from benchmarks.ingest import QUICK_SECONDS, SECONDS, cpu_seconds
from benchmarks.services import use_collector
from benchmarks.traffic import Traffic
from stack import postgres
from stack.alone import running, temporary_home
from stack.home import Home
from stack.services import migrate as migrate_runtime
from telemetry import pipeline
from telemetry.clickhouse.migrate import migrate

RATE = 2_000  # spans a second
FLUSH_SECONDS = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rate", type=int, default=RATE, help="spans a second (default %(default)s)")


def run(arguments: argparse.Namespace) -> Iterator[Figure]:
    seconds = QUICK_SECONDS if arguments.quick else SECONDS
    with temporary_home() as home:
        use_collector(home)
        postgres.prepare(home)
        with running(home, "postgres"), running(home, "clickhouse") as clickhouse:
            postgres.create_database(home)
            migrate_runtime(home, "runtime").check_returncode()
            migrate(home.clickhouse_url)
            with running(home, "collector") as collector:
                pids = {"clickhouse": clickhouse.pid, "collector": collector.pid}
                yield from measure(home, arguments.rate, seconds, pids)


def measure(home: Home, rate: int, seconds: float, pids: dict[str, int]) -> Iterator[Figure]:
    context = multiprocessing.get_context("spawn")
    answers: Any = context.SimpleQueue()
    settings = pipeline.Settings(
        service_name="agent-runtime",
        environment="benchmark",
        mode="collector",
        otlp_endpoint=f"http://127.0.0.1:{home.ports['otlp_grpc']}",
        database_url=home.database_url,
    )
    sender = context.Process(target=send, args=(settings, rate, seconds, answers), daemon=True)
    sender.start()
    sent = answers.get()
    sender.join()
    print(f"sent {sent['spans']:,} spans, waiting for the last", file=sys.stderr)
    began = time.monotonic()
    while (found := stored(home))["clickhouse"][0] < sent["spans"] and time.monotonic() - began < FLUSH_SECONDS:
        time.sleep(0.5)

    def figure(name: str, value: float, unit: str) -> Figure:
        return Figure("pipeline", name, value, unit, sent["spans"])

    yield figure("spans_sent", sent["spans"], "span")
    yield figure("spans_per_second", round(sent["spans"] / sent["seconds"], 1), "span/s")
    yield figure("dropped", sent["dropped"], "span")
    for store, (distinct, rows) in found.items():
        yield figure(f"{store}_lost", sent["spans"] - distinct, "span")
        yield figure(f"{store}_doubled", rows - distinct, "span")
    yield figure("longest_queue", sent["longest_queue"], "span")
    yield figure("sender_cores", sent["cores"], "core")
    for name, pid in pids.items():
        yield figure(f"{name}_cpu_seconds", round(cpu_seconds(psutil.Process(pid)), 1), "s")


def send(settings: pipeline.Settings, rate: int, seconds: float, answers: Any) -> None:
    """In a process of its own. Answers when all that was made has been flushed."""
    traffic = Traffic(1)
    runs = traffic.plain_runs()
    telemetry = pipeline.start(settings)
    spans = longest = 0
    began = time.monotonic()
    busy = cpu_seconds(psutil.Process())
    while (now := time.monotonic()) < began + seconds:
        if spans > (now - began) * rate:
            time.sleep(0.002)
            continue
        (root_name, root_attributes), *calls = runs[spans // len(runs[0]) % len(runs)]
        with telemetry.tracer.start_as_current_span(root_name, attributes=root_attributes):
            for name, attributes in calls:
                telemetry.tracer.start_span(name, attributes=attributes).end()
        spans += 1 + len(calls)
        if spans % 1000 == 0:
            longest = max(longest, *(state["queued"] for state in telemetry.health().values()))
    elapsed = time.monotonic() - began
    cores = (cpu_seconds(psutil.Process()) - busy) / elapsed
    telemetry.shutdown(FLUSH_SECONDS)
    dropped = sum(state["dropped"] + state["failed"] for state in telemetry.health().values())
    answers.put(
        {
            "spans": spans,
            "seconds": elapsed,
            "dropped": dropped,
            "longest_queue": longest,
            "cores": round(cores, 2),
        }
    )


def stored(home: Home) -> dict[str, tuple[int, int]]:
    """Distinct spans and rows in each store; ClickHouse as the read-only user sees it."""
    with psycopg.connect(home.database_url) as connection:
        row = connection.execute("SELECT count(DISTINCT span_id), count(*) FROM agno.agno_spans").fetchone() or (0, 0)
    client = clickhouse_connect.get_client(dsn=home.clickhouse_readonly_url)
    try:
        distinct, rows = client.query("SELECT uniqExact(SpanId), count() FROM otel_traces").result_rows[0]
    finally:
        client.close()
    return {"postgres": (row[0], row[1]), "clickhouse": (distinct, rows)}
