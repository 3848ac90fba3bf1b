"""Spans per second into agno's trace tables: our exporter, and agno's own behind the SDK's batch processor.

Both write the same runs into the same tables of one Postgres, in turns, from this process: from the first span that
ends until the last is stored. All rows are counted at the end.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import psycopg
from agno.db.postgres import PostgresDb
from agno.tracing.exporter import DatabaseSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import set_span_in_context

from benchmarks.figures import Figure
from benchmarks.traffic import Traffic, plain
from stack import postgres
from stack.alone import running, temporary_home
from stack.services import migrate
from telemetry.buffer import Buffer, Limits
from telemetry.postgres import PostgresSpans

OURS, THEIRS = 10_000, 1_000  # spans in a round: some seconds of either
ROUNDS, QUICK_ROUNDS = 7, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(arguments: argparse.Namespace) -> Iterator[Figure]:
    rounds = QUICK_ROUNDS if arguments.quick else ROUNDS
    with temporary_home() as home:
        postgres.prepare(home)
        with running(home, "postgres"):
            postgres.create_database(home)
            migrate(home, "runtime").check_returncode()
            database = PostgresDb(home.database_url.replace("postgresql://", "postgresql+psycopg://"), db_schema="agno")
            ours, theirs = [], []
            send_ours(home.database_url, spans(100))  # connections, plans, caches
            send_theirs(database, spans(100))
            for number in range(rounds):
                ours.append(rate(lambda batch: send_ours(home.database_url, batch), spans(OURS)))
                theirs.append(rate(lambda batch: send_theirs(database, batch), spans(THEIRS)))
                print(f"round {number + 1}: {ours[-1]:,.0f} and {theirs[-1]:,.0f} spans/s", file=sys.stderr)
            with psycopg.connect(home.database_url) as connection:
                stored = connection.execute("SELECT count(*) FROM agno.agno_spans").fetchall()[0][0]
            database.db_engine.dispose()
    sent = 200 + rounds * (OURS + THEIRS)
    ours_median, theirs_median = statistics.median(ours), statistics.median(theirs)
    yield Figure(
        "postgres_exporter", "spans_per_second_vs_agno", round(ours_median), "span/s", rounds, round(theirs_median)
    )
    yield Figure("postgres_exporter", "lost", sent - stored, "span", sent)


def rate(send: Callable[[Sequence[ReadableSpan]], None], batch: Sequence[ReadableSpan]) -> float:
    began = time.perf_counter()
    send(batch)
    return len(batch) / (time.perf_counter() - began)


def send_ours(database_url: str, batch: Sequence[ReadableSpan]) -> None:
    """As the exporter's process does."""
    exporter = PostgresSpans(database_url)
    buffer = Buffer("postgres", exporter.send, Limits(queue=len(batch)), lambda outcome, count, reason: None)
    for span in batch:
        buffer.put(span)
    buffer.flush(600)
    buffer.stop(1)
    exporter.close()


def send_theirs(database: PostgresDb, batch: Sequence[ReadableSpan]) -> None:
    """As agno.tracing.setup_tracing(batch_processing=True) does, with a queue that takes them all."""
    processor = BatchSpanProcessor(DatabaseSpanExporter(database), max_queue_size=len(batch) + 512)
    for span in batch:
        processor.on_end(span)
    processor.force_flush(600_000)
    processor.shutdown()


def spans(count: int) -> list[ReadableSpan]:
    """Whole runs: a webhook, the run, two model calls and a tool call, with new ids."""
    traffic = Traffic(1)
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "agent-runtime"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("benchmark")
    while len(made := memory.get_finished_spans()) < count:
        for _ in range(max(1, (count - len(made)) // 5)):
            webhook, root, *calls = traffic.run_spans()
            parent = tracer.start_span(webhook.name, attributes=plain(webhook.attributes))
            parent.end()
            context = set_span_in_context(parent)
            with tracer.start_as_current_span(root.name, context, attributes=plain(root.attributes)):
                for call in calls:
                    tracer.start_span(call.name, attributes=plain(call.attributes)).end()
    return list(made)
