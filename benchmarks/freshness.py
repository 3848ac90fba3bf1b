"""From the end of a run until its row can be selected in ClickHouse, while 200 runs end in each second.

Spans of four per run go through outbox, exporter process and collector into ClickHouse. A reader asks for new ids all
the time; what it has not seen yet when it asks counts as not there.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from typing import Any

import clickhouse_connect

from benchmarks.figures import Figure
from benchmarks.services import use_collector
from benchmarks.traffic import Traffic
from stack import postgres
from stack.alone import running, temporary_home
from stack.home import Home
from stack.services import migrate as migrate_runtime
from telemetry import pipeline
from telemetry.clickhouse.migrate import migrate

RUNS = 200  # a second
SPANS = 4  # a run, two model calls, a tool call
SECONDS, QUICK_SECONDS = 60.0, 10.0
LAST_SECONDS = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rate", type=int, default=RUNS, help="runs a second (default %(default)s)")


def run(arguments: argparse.Namespace) -> Iterator[Figure]:
    seconds = QUICK_SECONDS if arguments.quick else SECONDS
    with temporary_home() as home:
        use_collector(home)
        postgres.prepare(home)
        with running(home, "postgres"), running(home, "clickhouse"):
            postgres.create_database(home)
            migrate_runtime(home, "runtime").check_returncode()
            migrate(home.clickhouse_url)
            with running(home, "collector"):
                yield from measure(home, arguments.rate, seconds)


def measure(home: Home, rate: int, seconds: float) -> Iterator[Figure]:
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
    seen: dict[str, float] = {}
    ended: dict[str, float] | None = None
    deadline = time.time() + seconds + LAST_SECONDS
    client = clickhouse_connect.get_client(dsn=home.clickhouse_readonly_url)
    query = (
        "SELECT SpanId FROM otel_traces"
        " WHERE SpanName LIKE 'invoke_agent %' AND Timestamp > now64(9) - INTERVAL 20 SECOND"
    )
    while time.time() < deadline and (ended is None or len(seen) < len(ended)):
        rows = client.query(query).result_rows
        now = time.time()  # when they have been answered, not asked for
        for (span,) in rows:
            seen.setdefault(span, now)
        if ended is None and not answers.empty():
            ended = answers.get()
        time.sleep(0.1)
    client.close()
    sender.join()
    ages = sorted(seen[span] - at for span, at in (ended or {}).items() if span in seen)

    def figure(name: str, value: float, unit: str) -> Figure:
        return Figure("freshness", name, round(value, 2), unit, len(ages))

    cuts = statistics.quantiles(ages, n=100)
    yield figure("run_end_to_clickhouse_p50_s", cuts[49], "s")
    yield figure("run_end_to_clickhouse_p95_s", cuts[94], "s")
    yield figure("run_end_to_clickhouse_max_s", ages[-1], "s")
    yield figure("runs_per_second", len(ended or {}) / seconds, "run/s")
    yield figure("runs_not_found", len(ended or {}) - len(ages), "run")


def send(settings: pipeline.Settings, rate: int, seconds: float, answers: Any) -> None:
    """In a process of its own. Answers when each run has ended (Unix seconds), by the id of its span."""
    traffic = Traffic(1)
    runs = [spans[1:] for spans in traffic.plain_runs()]
    telemetry = pipeline.start(settings)
    ended: dict[str, float] = {}
    began = time.monotonic()
    while (now := time.monotonic()) < began + seconds:
        if len(ended) > (now - began) * rate:
            time.sleep(0.001)
            continue
        (name, attributes), *calls = runs[len(ended) % len(runs)]
        with telemetry.tracer.start_as_current_span(name, attributes=attributes) as root:
            for call, its in calls:
                telemetry.tracer.start_span(call, attributes=its).end()
        ended[f"{root.get_span_context().span_id:016x}"] = time.time()
    answers.put(ended)
    telemetry.shutdown(30)
