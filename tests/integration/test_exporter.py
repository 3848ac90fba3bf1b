"""The exporter's process, killed, stopped and orphaned: what it was given is sent or counted, and it never stays."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import psutil
import psycopg
import pytest
from agno.db.postgres import PostgresDb
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags

from stack.process import PROJECT
from telemetry import destinations, pipeline
from telemetry import process as exporter_process
from telemetry.buffer import Limits
from telemetry.outbox import Outbox
from telemetry.settings import Settings
from tests.integration.runtimes import until
from tests.integration.test_direct import RESOURCE, make_spans

Start = Callable[..., Outbox]


class Collector:
    """Keeps the spans that it is sent, as they were encoded."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, str, bytes, Span]] = []
        handler = grpc.unary_unary_rpc_method_handler(self._take)
        generic = grpc.method_handlers_generic_handler(
            "opentelemetry.proto.collector.trace.v1.TraceService", {"Export": handler}
        )
        self.server = grpc.server(ThreadPoolExecutor(2), handlers=[generic])
        self.url = f"http://127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def ids(self) -> set[bytes]:
        return {span.span_id for *_, span in self.spans}

    def _take(self, request: bytes, context: Any) -> bytes:
        for of_resource in ExportTraceServiceRequest.FromString(request).resource_spans:
            for of_scope in of_resource.scope_spans:
                described = str(of_resource.resource), str(of_scope.scope), of_scope.schema_url.encode()
                self.spans += [(*described, span) for span in of_scope.spans]
        return b""


@pytest.fixture
def collector() -> Iterator[Collector]:
    it = Collector()
    yield it
    it.server.stop(None)


@pytest.fixture
def tables(postgres: str) -> str:
    """The URL of a database that has agno's trace tables."""
    db = PostgresDb(db_url=postgres.replace("postgresql://", "postgresql+psycopg://"), db_schema="agno")
    for table in ("traces", "spans"):
        db._get_table(table_type=table, create_table_if_not_found=True)
    db.db_engine.dispose()
    return postgres


@pytest.fixture
def start(collector: Collector, tables: str) -> Iterator[Start]:
    started: list[Outbox] = []

    def begin(**limits: Any) -> Outbox:
        settings = Settings("runtime", "test", "collector", collector.url, tables)
        names = list(destinations.spans(settings))
        started.append(Outbox(settings, RESOURCE, Limits(**limits), names, lambda name, outcome, spans: None))
        return started[-1]

    yield begin
    for outbox in started:
        outbox.stop(1)
    assert not exporters(psutil.Process())


def exporters(process: psutil.Process) -> list[psutil.Process]:
    return [child for child in process.children() if "telemetry.exporter" in child.cmdline()]


def exporter() -> psutil.Process:
    (found,) = until(lambda: exporters(psutil.Process()), 30)
    return found


def many(amount: int) -> Iterator[ReadableSpan]:
    """Spans of two attributes, all different."""
    (like,) = [span for span in make_spans() if span.name == "child SERVER"]
    for number in range(1, amount + 1):
        context = type(like.context)(7, number, False, like.context.trace_flags)
        yield ReadableSpan(
            "many",
            context,
            None,
            RESOURCE,
            {"n": number, "text": "x" * 50},
            start_time=like.start_time,
            end_time=like.end_time,
            instrumentation_scope=like.instrumentation_scope,
        )


def rows(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        query = "SELECT to_jsonb(s) - 'created_at' FROM agno.agno_spans s ORDER BY span_id"
        return connection.execute(query).fetchall()


def stored(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM agno.agno_spans").fetchone()
    return row[0] if row else 0


def counts(outbox: Outbox) -> dict[str, dict[str, int]]:
    return {name: {**it.counts, "queued": outbox.queued(name)} for name, it in outbox.destinations.items()}


def all_exported(spans: int) -> dict[str, dict[str, int]]:
    each = {"exported": spans, "dropped": 0, "failed": 0, "queued": 0}
    return {"collector": each, "postgres": each}


def test_spans_arrive_as_if_they_were_sent_from_here(start: Start, collector: Collector, tables: str) -> None:
    """Every kind of attribute, events, links, a parent elsewhere, a trace state, times, statuses and scopes."""
    spans = make_spans()
    outbox = start()
    for span in spans:
        outbox.put(span)
    assert outbox.flush(20)
    assert counts(outbox) == all_exported(len(spans))
    by_the_process = sorted(map(str, collector.spans)), rows(tables)

    collector.spans.clear()
    with psycopg.connect(tables) as connection:
        connection.execute("TRUNCATE agno.agno_spans, agno.agno_traces")
    for make in destinations.spans(Settings("runtime", "test", "collector", collector.url, tables)).values():
        send, close = make()
        send(spans)
        close()
    assert (sorted(map(str, collector.spans)), rows(tables)) == by_the_process


def test_what_cannot_be_handed_over_is_counted_alone(start: Start, tables: str) -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    outbox = start()
    spans = list(many(20))
    spans.insert(7, ReadableSpan("bad", spans[0].context, None, RESOURCE, endless))
    for span in spans:
        outbox.put(span)
    assert outbox.flush(20)
    assert stored(tables) == 20
    each = {"exported": 20, "dropped": 0, "failed": 1, "queued": 0}
    assert counts(outbox) == {"collector": each, "postgres": each}


def test_killed_under_load_it_loses_nothing(
    start: Start, collector: Collector, tables: str, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = start(delay=0.05)
    for number, span in enumerate(many(6000)):
        outbox.put(span)
        if number % 2000 == 1000:
            until(lambda: outbox.destinations["postgres"].counts["exported"], 20)
            exporter().send_signal(signal.SIGKILL)
        if number % 100 == 0:
            time.sleep(0.01)
    assert outbox.flush(40)
    assert stored(tables) == 6000
    assert len(collector.ids()) == 6000
    assert counts(outbox) == all_exported(6000)
    said = [record.message for record in caplog.records if "the exporter process ended (-9)" in record.message]
    assert len(said) in (1, 2, 3)
    assert all(it.last_error is None for it in outbox.destinations.values())


def test_killed_while_a_destination_is_away_it_loses_nothing(start: Start, collector: Collector, tables: str) -> None:
    outbox = start(delay=0.05)
    with psycopg.connect(tables) as connection:
        connection.execute("LOCK agno.agno_spans")
        for span in many(1000):
            outbox.put(span)
        until(lambda: outbox.destinations["collector"].counts["exported"] == 1000, 20)
        assert outbox.queued("postgres") == 1000
        exporter().send_signal(signal.SIGKILL)
        until(lambda: outbox.destinations["postgres"].last_error, 30)
    assert outbox.flush(20)
    assert stored(tables) == 1000
    assert len(collector.spans) == 1000, "who had them all does not get them again"
    assert counts(outbox) == all_exported(1000)


def test_while_it_is_stuck_nothing_waits_and_what_is_too_much_is_counted(start: Start) -> None:
    outbox = start(queue=2000, delay=0.05)
    spans = list(many(10_000))
    outbox.put(spans[0])
    assert outbox.flush(20)
    exporter().suspend()
    began = time.monotonic()
    for span in spans[1:]:
        outbox.put(span)
    assert time.monotonic() - began < 10
    for found in counts(outbox).values():
        assert found["queued"] <= 2010
        assert found["queued"] + found["dropped"] + found["exported"] == 10_000
    began = time.monotonic()
    assert not outbox.flush(0.3)
    assert time.monotonic() - began < 5
    exporter().resume()
    assert outbox.flush(20)
    for found in counts(outbox).values():
        assert found["exported"] + found["dropped"] == 10_000
        assert found["exported"] >= 2000


def test_a_stuck_one_is_ended_in_time(start: Start) -> None:
    outbox = start()
    stuck = exporter()
    stuck.suspend()
    for span in many(100):
        outbox.put(span)
    began = time.monotonic()
    outbox.stop(1)
    assert time.monotonic() - began < 10
    assert not stuck.is_running()
    outbox.put(next(many(1)))
    assert {name: it["dropped"] for name, it in counts(outbox).items()} == {"collector": 101, "postgres": 101}


def test_the_end_sends_what_is_there_to_whom_it_can(
    start: Start, collector: Collector, tables: str, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = start()
    with psycopg.connect(tables) as connection:
        connection.execute("LOCK agno.agno_spans")
        for span in many(3000):
            outbox.put(span)
        until(collector.ids, 60)
        began = time.monotonic()
        outbox.stop(8)
        assert time.monotonic() - began < 30
    said = [record.message for record in caplog.records]
    assert said == ["3000 spans are lost to postgres: shut down before it was sent (None)"], (
        "it ended as it was told to"
    )
    assert len(collector.ids()) == 3000
    assert counts(outbox)["postgres"] == {"exported": 0, "dropped": 3000, "failed": 0, "queued": 0}
    assert counts(outbox)["collector"] == {"exported": 3000, "dropped": 0, "failed": 0, "queued": 0}


def test_off_starts_nothing_and_neither_does_an_import() -> None:
    before = psutil.Process().children()
    telemetry = pipeline.start(Settings("runtime", "test", "off"))
    telemetry.shutdown(1)
    assert psutil.Process().children() == before
    look = (
        "import sys, threading, psutil, telemetry.outbox, telemetry.exporter\n"
        "assert threading.active_count() == 1 and not psutil.Process().children()\n"
        "assert not {'runtime', 'agno', 'fastapi', 'telemetry.pipeline'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", look], cwd=PROJECT, check=True)


EMITTER = """
import os, signal, sys, time
from telemetry import pipeline
from telemetry.pipeline import Settings

telemetry = pipeline.start(Settings("runtime", "test", "collector", sys.argv[1], sys.argv[2]))

def end(*_):
    telemetry.shutdown(30)
    os._exit(0)

signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, end)
telemetry.tracer.start_span("first").end()
if "fork" in sys.argv:
    telemetry.flush(30)  # the exporter is there: a fork while it is started keeps subprocess.Popen waiting
    if os.fork() == 0:
        time.sleep(60)  # holds what its parent had open
        os._exit(0)
for _ in range(499):
    telemetry.tracer.start_span("many").end()
print("made", flush=True)
while True:
    time.sleep(0.1)  # and not once for long: a signal just before a sleep does not end it
"""


@pytest.fixture
def emitter(collector: Collector, tables: str) -> Iterator[Callable[..., psutil.Process]]:
    """A process with telemetry that has made 500 spans, and that leads a group of its own."""
    groups = []

    def begin(*more: str) -> psutil.Process:
        command = [sys.executable, "-c", EMITTER, collector.url, tables, *more]
        process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, start_new_session=True)
        groups.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"made\n"
        return psutil.Process(process.pid)

    yield begin
    for process in groups:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_group_is_for_the_other_process(
    emitter: Callable[..., psutil.Process], tables: str, signal_number: int
) -> None:
    """Also when the exporter is only being started."""
    process = emitter()
    (child,) = until(lambda: exporters(process), 30)
    os.killpg(process.pid, signal_number)
    assert process.wait(45) == 0
    assert stored(tables) == 500
    assert not child.is_running()


def handed_over(process: psutil.Process, collector: Collector) -> psutil.Process:
    """The exporter's process, which has all spans of the other one."""
    (child,) = until(lambda: exporters(process), 30)
    until(lambda: len(collector.ids()) == 500, 30)
    return child


def test_orphaned_it_sends_what_it_has_and_ends(
    emitter: Callable[..., psutil.Process], collector: Collector, tables: str
) -> None:
    with psycopg.connect(tables) as connection:
        connection.execute("LOCK agno.agno_spans")
        process = emitter()
        child = handed_over(process, collector)
        process.kill()
        time.sleep(1)
        assert child.is_running()
        assert stored_is_locked(tables)
    child.wait(20)
    assert stored(tables) == 500


def stored_is_locked(url: str) -> bool:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
    return bool(row and row[0])


def test_orphaned_it_ends_even_if_it_cannot_send(
    emitter: Callable[..., psutil.Process], collector: Collector, tables: str
) -> None:
    with psycopg.connect(tables) as connection:
        connection.execute("LOCK agno.agno_spans")
        process = emitter()
        child = handed_over(process, collector)
        process.kill()
        child.wait(20)


def test_orphaned_it_ends_even_if_a_copy_of_its_parent_lives(
    emitter: Callable[..., psutil.Process], collector: Collector, tables: str
) -> None:
    process = emitter("fork")
    child = handed_over(process, collector)
    process.kill()
    child.wait(20)
    assert stored(tables) == 500


def test_one_that_hangs_is_replaced_and_nothing_is_lost(
    start: Start, tables: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(exporter_process, "HUNG_SECONDS", 3.0)
    outbox = start()
    spans = list(many(2000))
    outbox.put(spans[0])
    assert outbox.flush(30)
    hung = exporter()
    hung.suspend()
    for span in spans[1:]:
        outbox.put(span)
    assert outbox.flush(60)
    assert not hung.is_running()
    assert stored(tables) == 2000
    assert counts(outbox) == all_exported(2000)
    assert "the exporter process did not answer" in caplog.text


CRASH = """
import ctypes
from telemetry import postgres

def send(self, spans, real=postgres.PostgresSpans.send):
    if any(span.name == "deadly" for span in spans):
        ctypes.string_at(0)
    real(self, spans)

postgres.PostgresSpans.send = send
"""


def test_a_span_that_kills_it_is_given_up_and_all_others_arrive(
    start: Start, collector: Collector, tables: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies as of a fault in a driver's C code, and only on the way to Postgres."""
    (tmp_path / "sitecustomize.py").write_text(CRASH)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(PROJECT)]))
    outbox = start()
    spans = list(many(60))
    deadly = ReadableSpan("deadly", _context(400), None, RESOURCE, {}, start_time=1, end_time=2)
    for span in [*spans[:30], deadly, *spans[30:]]:
        outbox.put(span)
    assert outbox.flush(100)
    assert stored(tables) == 60
    assert collector.ids() >= {span.context.span_id.to_bytes(8, "big") for span in spans}
    assert counts(outbox)["postgres"] == {"exported": 60, "dropped": 0, "failed": 1, "queued": 0}
    assert outbox.destinations["postgres"].reasons == {"the exporter process died of it": 1}
    # Whether the process died before or after the collector's answer for the deadly span is a matter of luck.
    collected = counts(outbox)["collector"]
    assert (collected["exported"], collected["failed"]) in ((61, 0), (60, 1))
    assert (collected["dropped"], collected["queued"]) == (0, 0)


def _context(number: int) -> SpanContext:
    return SpanContext(7, number, False, TraceFlags(1))


def large(number: int, size: int) -> ReadableSpan:
    return ReadableSpan(
        "large", _context(10**6 + number), None, RESOURCE, {"text": "x" * size}, start_time=1, end_time=2
    )


def test_what_waits_is_bounded_by_its_bytes(start: Start, tables: str) -> None:
    """While nobody reads, at most so many bytes are kept; once somebody does, small spans pass as before."""
    outbox = start(bytes=5_000_000)
    outbox.put(next(many(1)))
    assert outbox.flush(30)
    exporter().suspend()
    for number in range(100):
        outbox.put(large(number, 1_000_000))
    until(lambda: outbox.destinations["postgres"].counts["dropped"] >= 80, 20)
    assert sum(len(batch.packed) for batch in outbox._kept.values()) < 15_000_000
    exporter().resume()
    assert outbox.flush(60)
    dropped = counts(outbox)["postgres"]["dropped"]
    assert outbox.destinations["postgres"].reasons == {"queue full": dropped}
    assert stored(tables) == 101 - dropped
    outbox.put(list(many(2))[1])
    assert outbox.flush(30)
    assert stored(tables) == 102 - dropped


def test_a_destination_that_is_away_costs_the_other_nothing_even_in_bytes(
    start: Start, collector: Collector, tables: str
) -> None:
    outbox = start(bytes=5_000_000, delay=0.05)
    with psycopg.connect(tables) as connection:
        connection.execute("LOCK agno.agno_spans")
        for number in range(20):
            outbox.put(large(number, 1_000_000))
            until(lambda number=number: len(collector.ids()) > number, 30)  # type: ignore[misc]
    assert outbox.flush(60)
    found = counts(outbox)
    assert found["collector"] == {"exported": 20, "dropped": 0, "failed": 0, "queued": 0}
    assert found["postgres"]["dropped"] > 10
    assert found["postgres"]["exported"] == stored(tables) == 20 - found["postgres"]["dropped"]


FORKING = """
import logging, multiprocessing, os, sys, threading, time
from telemetry import pipeline
from telemetry.pipeline import Settings

telemetry = pipeline.start(Settings("runtime", "test", "collector", sys.argv[1], sys.argv[2]))

def busy():
    while working:
        telemetry.tracer.start_span("busy").end()
        telemetry.instruments.agents_reloaded("ok")
        logging.getLogger("busy").warning("busy")
        time.sleep(0.0005)

def in_child(child):
    telemetry.tracer.start_span("of the child").end()
    pipeline.trace.get_tracer("theirs").start_span("of the child").end()
    telemetry.instruments.agents_reloaded("ok")
    logging.getLogger("child").warning("of the child")
    assert telemetry.flush(5)
    telemetry.shutdown(5)
    if os.path.exists(f"/proc/self/fd/{pipe}"):
        os.fstat(pipe)
        sys.exit(3)

working = True
telemetry.tracer.start_span("first").end()
telemetry.flush(30)
pipe = telemetry._outbox._process.connection.fileno()
threading.Thread(target=busy, daemon=True).start()
context = multiprocessing.get_context("fork")
for number in range(10):
    child = context.Process(target=in_child, args=(number,))
    child.start()
    child.join(30)
    assert child.exitcode == 0, child.exitcode
working = False
assert telemetry.flush(30)
health = telemetry.health()
assert health["postgres"]["dropped"] == health["collector"]["dropped"] == 0, health
telemetry.shutdown(20)
print(telemetry.health()["postgres"]["exported"], flush=True)
os._exit(0)
"""


def test_a_forked_child_neither_hangs_nor_sends_nor_takes_anything_from_its_parent(
    collector: Collector, tables: str
) -> None:
    """Forked while other threads record, log and count all the time, as by multiprocessing in a tool."""
    environment = {**os.environ, "OTEL_METRICS_EXPORTER": "none"}
    command = [sys.executable, "-W", "ignore", "-c", FORKING, collector.url, tables]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert stored(tables) == int(done.stdout) > 20
    with psycopg.connect(tables) as connection:
        names = connection.execute("SELECT DISTINCT name FROM agno.agno_spans ORDER BY 1").fetchall()
    assert names == [("busy",), ("first",)]
