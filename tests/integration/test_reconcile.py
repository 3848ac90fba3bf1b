"""The reconciler on a real Postgres and a real ClickHouse: what was lost comes back as it was, and nothing twice."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceState
from rich.console import Console

from stack import alone
from stack.errors import StackError
from stack.evidence import StoreDown, Stores
from stack.home import Home
from stack.repair import Repair, repair
from stack.verify import compare
from telemetry import reconcile, semconv
from telemetry.clickhouse.direct import DirectWriter
from telemetry.clickhouse.migrate import migrate
from telemetry.metrics import Instruments
from telemetry.postgres import PostgresSpans
from telemetry.reconcile import Background, Reconciler
from tests.integration.conftest import ClickHouse
from tests.integration.runtimes import until
from tests.integration.test_direct import NESTED, dump

SECOND = 10**9
NONE = timedelta(0)
DISTINCT = {semconv.RUN_ID: "run", semconv.RUN_STATUS: "completed", semconv.OPERATION_NAME: "invoke_agent"}


def spans(count: int = 10, age: float = 600.0, service: str = "agent-runtime", **more: Any) -> list[ReadableSpan]:
    """A trace of `count` spans, 10 s apart, of which the last has ended `age` seconds ago."""
    memory = InMemorySpanExporter()
    limits = SpanLimits(max_span_attributes=SpanLimits.UNSET)
    provider = TracerProvider(resource=Resource({"service.name": service}), shutdown_on_exit=False, span_limits=limits)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("test", "1")
    now = time.time_ns()
    for n in range(count):
        at = now - int(age * SECOND) - 10 * (count - n) * SECOND
        tracer.start_span(f"span {n % 3}", attributes={**DISTINCT, "n": n, **more}, start_time=at).end(at + SECOND // 2)
    return list(memory.get_finished_spans())


def awkward_spans() -> list[ReadableSpan]:
    """All that a span can hold, and what Postgres or JSON cannot."""
    memory = InMemorySpanExporter()
    resource = Resource({"service.name": "agent-runtime", "n": 5, "list": ["a", "b"], "ratio": 1e22})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("scope", "1.2")
    sampled = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    remote = SpanContext(2**127 + 1, 2**63 + 5, True, sampled, TraceState([("vendor", "a"), ("other", "b")]))
    context = trace.set_span_in_context(trace.NonRecordingSpan(remote))
    at = time.time_ns() - 600 * SECOND + 123_456_789
    links = [Link(remote, {"why": "because", "n": [1, 2], "minus zero": -0.0}), Link(SpanContext(7, 9, False))]
    root = tracer.start_span("root", context, SpanKind.SERVER, NESTED, links, at)
    root.add_event("first", {"a": 1.0, "not": float("nan"), "b": "x\x00y"}, timestamp=at + 1)
    root.add_event("empty", timestamp=at + 2)
    root.set_status(Status(StatusCode.OK))
    root.end(at + 1_000_000_007)
    for n, attributes in enumerate(
        (
            {"otel": "taken", "n": 1},
            {"half": "a\ud800b", "large": 2**70},
            {"half": "\udfff", "nan": float("nan")},
            {"escaped": "\\u0000 \\\\u0000", "text": "x" * 1_000_000},
            {"nul": "\x00" * 1000, "key \x00": "value"},
            {"bytes": b"\x00\xff", "in": {"a": [b"\x01", {"b": None}]}},
            {},
        )
    ):
        odd = tracer.start_span(f"odd {n}", attributes=attributes, start_time=at + n)
        odd.set_status(Status(StatusCode.ERROR, f"broken {n} \x00 <tag>"))
        odd.end(at + n)
    bare = provider.get_tracer("no version")
    for kind in SpanKind:
        bare.start_span(f"kind {kind.name}", kind=kind, start_time=at).end(at - 5)  # ends before it starts
    bare.start_span("half \ud800 nul \x00", start_time=at - at % (60 * SECOND) + 60 * SECOND - 1).end(at + 60 * SECOND)
    return list(memory.get_finished_spans())


@dataclass
class World:
    """Both stores, and what keeps them equal."""

    database_url: str
    clickhouse: ClickHouse
    reconciler: Reconciler
    rests: list[float] = field(default_factory=list)

    def postgres(self, batch: list[ReadableSpan], written: float = 600.0) -> None:
        """Writes them as if it were `written` seconds ago."""
        exporter = PostgresSpans(self.database_url)
        exporter.send(batch)
        exporter.close()
        at = (datetime.now(UTC) - timedelta(seconds=written)).isoformat()
        ids = [format(span.context.span_id, "016x") for span in batch]
        self.query("UPDATE agno.agno_spans SET created_at = %s WHERE span_id = ANY(%s)", at, ids)

    def write(self, batch: list[ReadableSpan]) -> None:
        writer = DirectWriter(self.clickhouse.otel_url)
        writer.write_spans(batch)
        writer.close()

    def both(self, batch: list[ReadableSpan], written: float = 600.0) -> None:
        self.postgres(batch, written)
        self.write(batch)

    def query(self, statement: str, *values: Any) -> None:
        with psycopg.connect(self.database_url) as connection:
            connection.execute(statement.encode(), values)

    def compare(self) -> tuple[int, int, int, int]:
        """Missing, sent again, still missing, only in ClickHouse."""
        found = self.reconciler.compare()
        assert found is not None
        return found.missing, found.replayed, found.left, found.surplus

    def lose(self, condition: str = "1") -> None:
        self.clickhouse.rows(f"DELETE FROM otel_traces WHERE {condition} SETTINGS mutations_sync = 1")

    def ids(self) -> list[Any]:
        return [row[0] for row in self.clickhouse.rows("SELECT SpanId FROM otel_traces FINAL ORDER BY SpanId")]


def ids(*batches: list[ReadableSpan]) -> list[str]:
    return sorted(format(span.context.span_id, "016x") for batch in batches for span in batch)


@pytest.fixture
def world(migrated: str, clickhouse: ClickHouse) -> World:
    return World(migrated, clickhouse, Reconciler(migrated, clickhouse.otel_url, "agent-runtime"))


def test_what_is_sent_again_is_what_was_sent_first(world: World) -> None:
    """Every column of every row."""
    batch = awkward_spans()
    world.both(batch)
    before = dump(world.clickhouse.otel_url, "otel_traces", "Timestamp, SpanId")
    assert before.count("Row ") == len(batch)
    world.lose()
    assert world.ids() == []
    assert world.compare() == (len(batch), len(batch), 0, 0)
    assert dump(world.clickhouse.otel_url, "otel_traces", "Timestamp, SpanId").split("Row ") == before.split("Row ")
    assert world.compare() == (0, 0, 0, 0)


def test_what_is_lost_comes_back_once(world: World) -> None:
    batch = spans(100)
    world.both(batch)
    assert world.compare() == (0, 0, 0, 0)
    counts = "SELECT count(), uniqExact(run_id, span_id), sum(duration) FROM runs"
    before = world.clickhouse.rows(counts)

    world.lose("SpanAttributes['n'] IN ('3', '50', '51')")
    assert world.compare() == (0, 0, 0, 0)  # it had been compared
    world.query("UPDATE telemetry_comparison SET complete_at = complete_at - interval '2 days'")
    assert world.compare() == (3, 3, 0, 0)
    assert world.ids() == ids(batch)
    assert world.clickhouse.rows(counts) == before

    found = world.reconciler.repair(datetime.now(UTC) - timedelta(days=1), NONE)
    assert found is not None and found.missing == 0
    world.write(batch[:40])  # the collector's queue has them as well
    assert world.clickhouse.rows(counts) == before
    assert world.reconciler.state is not None and world.reconciler.state.replayed == 3


def test_a_comparison_goes_on_where_the_last_one_ended(world: World) -> None:
    long_ago, late, recent = spans(5, age=7200), spans(5, age=3600), spans(5)
    world.both(long_ago, written=7200)
    assert world.compare() == (0, 0, 0, 0)
    world.query("UPDATE telemetry_comparison SET compared_until = now() - interval '30 minutes'")
    world.lose()
    world.postgres(late, written=1200)  # began an hour ago and ended, or arrived, after the last comparison
    world.postgres(recent)
    assert world.compare() == (10, 10, 0, 0)
    assert world.ids() == ids(late, recent)


def test_young_spans_are_left_alone(world: World) -> None:
    old, young, long = spans(3), spans(3, age=-600), spans(3, age=300)  # in the future: tests may be slow
    world.postgres(old)
    world.postgres(young, written=-600)
    world.postgres(long, written=-600)  # began long ago, ends now
    world.write(spans(2, age=-600))  # and the other way round
    assert world.compare() == (3, 3, 0, 0)
    world.query("UPDATE agno.agno_spans SET created_at = %s", (datetime.now(UTC) - timedelta(minutes=2)).isoformat())
    assert world.compare()[:3] == (3, 3, 0)


def test_what_only_clickhouse_has_is_told_and_left(world: World) -> None:
    batch = spans(10)
    world.both(batch)
    world.write(spans(4, service="another"))
    world.query("DELETE FROM agno.agno_spans WHERE span_id = %s", ids(batch[5:6])[0])
    assert world.compare() == (0, 0, 0, 1)
    assert world.reconciler.state is not None
    assert (world.reconciler.state.missing, world.reconciler.state.surplus) == (0, 1)
    assert len(world.ids()) == 14
    world.postgres(batch[5:6])  # it was only late
    world.query("UPDATE telemetry_comparison SET compared_until = compared_until - interval '1 hour'")
    assert world.compare() == (0, 0, 0, 0)
    assert world.reconciler.state.surplus == 0


def test_expired_spans_are_missing_nowhere(world: World) -> None:
    """ClickHouse keeps 30 days and drops what is older as it comes; Postgres may have been cleared as well."""
    ancient, old, kept = spans(3, age=40 * 86400), spans(3, age=20 * 86400), spans(3)
    world.postgres(ancient)
    world.both(old)
    world.both(kept)
    assert world.compare() == (0, 0, 0, 0)
    world.query(
        "DELETE FROM agno.agno_spans WHERE start_time < %s", (datetime.now(UTC) - timedelta(days=9)).isoformat()
    )
    world.query("DELETE FROM telemetry_comparison")
    assert world.compare() == (0, 0, 0, 0)


def test_rows_of_others_are_not_sent(world: World) -> None:
    batch = spans(4)
    world.postgres(batch)
    foreign, broken, *_ = ids(batch)
    world.query(
        "UPDATE agno.agno_spans SET attributes = attributes - 'otel', span_id = 'x' WHERE span_id = %s", foreign
    )
    world.query("UPDATE agno.agno_spans SET attributes = '{\"otel\": 5}' WHERE span_id = %s", broken)
    world.query("UPDATE agno.agno_spans SET created_at = 'before' WHERE span_id = 'x'")
    strange = "SELECT %s, trace_id, NULL, '', '', '', '', %s, '', 0, '[]', '' FROM agno.agno_spans LIMIT 1"
    for number, start in enumerate(("", "2026", "x" * 20, f"{datetime.now(UTC):%Y-%m-%d} at ten")):
        world.query("INSERT INTO agno.agno_spans " + strange, f"strange {number}", start)
    assert world.compare() == (3, 2, 1, 0)
    assert world.reconciler.state is not None and world.reconciler.state.missing == 1


def test_two_at_once(world: World) -> None:
    world.postgres(spans(30))
    entered, go_on = threading.Event(), threading.Event()

    def rest(_: float) -> None:
        entered.set()
        go_on.wait(30)

    slow = threading.Thread(target=lambda: world.reconciler.compare(rest=rest))
    slow.start()
    other = Reconciler(world.database_url, world.clickhouse.otel_url, "agent-runtime")
    try:
        assert entered.wait(30)
        assert other.compare() is None
        assert other.repair(datetime.now(UTC), NONE, patience=0.3) is None
    finally:
        go_on.set()
        slow.join(30)
    assert len(world.ids()) == 30
    assert other.compare(every=timedelta(hours=1)) is None  # that was just now
    assert other.state == world.reconciler.state


def test_a_store_that_goes_away_in_the_midst(world: World, stack_home: Home) -> None:
    """Nothing is remembered, so the next comparison does what is left."""
    world.postgres(spans(30))

    def hang_up(_: float) -> None:
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'reconciler'"
        world.query(query)

    with pytest.raises(psycopg.OperationalError):
        world.reconciler.compare(rest=hang_up)
    away = Reconciler(world.database_url, "http://otel:x@127.0.0.1:1/otel", "agent-runtime")
    with pytest.raises(Exception, match="refused"):
        away.compare()
    assert world.compare() == (30, 30, 0, 0)


@pytest.fixture
def instruments() -> Iterator[Instruments]:
    provider = MeterProvider(shutdown_on_exit=False)
    yield Instruments(provider.get_meter("test"))
    provider.shutdown()


def test_in_the_background_while_clickhouse_is_killed(migrated: str, instruments: Instruments) -> None:
    """Spans are made, ClickHouse dies and comes back: it has them all."""
    with alone.temporary_home() as home, ExitStack() as services:
        process = services.enter_context(alone.running(home, "clickhouse"))
        migrate(home.clickhouse_url)
        reconciler = Reconciler(migrated, home.clickhouse_url, "agent-runtime")
        batch = spans(50)
        writer = DirectWriter(home.clickhouse_url)
        services.callback(writer.close)
        World(migrated, None, reconciler).postgres(batch)  # type: ignore[arg-type]
        writer.write_spans(batch[:20])
        background = Background(reconciler, instruments, 0.3)
        services.callback(background.stop)
        until(lambda: reconciler.state is not None, 30)
        process.kill()
        process.wait()
        until(lambda: background.health()["last_error"], 60)
        World(migrated, None, reconciler).postgres(more := spans(50, age=100), written=100)  # type: ignore[arg-type]
        with alone.running(home, "clickhouse"):
            url = home.clickhouse_url
            until(lambda: dump(url, "otel_traces", "SpanId").count("Row ") == len(batch + more), 60)
            until(lambda: background.health()["last_error"] is None, 60)
            assert set(reconciler.state.differing.values() if reconciler.state else [1]) == set()
            assert [value for value, _ in instruments.observed("agno.telemetry.missing")] == [0, 0]
            replayed = {"destination": "clickhouse", "outcome": "replayed"}
            until(lambda: (80, replayed) in instruments._sums.read("agno.telemetry.spans"), 60)
            background.stop()
            assert not background._thread.is_alive()


def test_stack_verify_repairs(world: World) -> None:
    batch = spans(10, age=200)
    world.postgres(batch)
    world.write([*batch[:4], *spans(1, age=100)])
    stores = Stores(world.database_url, world.clickhouse.otel_url)
    since = datetime.now(UTC) - timedelta(hours=1)
    line = {line.name: line for line in compare(stores.read(since)).lines}["Postgres spans in ClickHouse"]
    assert len(line.missing) == 6
    done = repair(stores, since)
    assert done == Repair(missing=6, replayed=6, left=0, surplus=1)
    console = Console(record=True, width=200)
    done.render(console)
    assert (
        "ClickHouse lacked 6 spans that Postgres has; 6 sent again. Only ClickHouse has 1 span" in console.export_text()
    )
    line = {line.name: line for line in compare(stores.read(since)).lines}["Postgres spans in ClickHouse"]
    assert line.ok and line.found == 10
    assert repair(stores, since).replayed == 0
    with psycopg.connect(world.database_url) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [reconcile.LOCK])
        with pytest.raises(StackError, match="comparing the same stores"):
            repair(stores, since, patience=0.2)
    with pytest.raises(StoreDown, match=r"^ClickHouse cannot be repaired"):
        repair(replace(stores, clickhouse_url="http://otel:x@127.0.0.1:1/otel"), since)
    with pytest.raises(StoreDown, match=r"^Postgres cannot be read"):
        repair(replace(stores, database_url="postgresql://agents:x@127.0.0.1:1/agents"), since)


def test_a_comparison_of_nothing(world: World) -> None:
    assert world.compare() == (0, 0, 0, 0)
    assert world.reconciler.state is not None
    assert datetime.now(UTC) - world.reconciler.state.compared_until >= reconcile.DELAY
