"""`stack verify` on a real Postgres and a real ClickHouse, filled by hand. All cases: tests/unit/test_verify.py."""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from rich.console import Console

from stack.evidence import StoreDown, Stores
from stack.verify import Report, compare, settle

NOW = datetime.now(UTC).replace(microsecond=250_000) - timedelta(seconds=30)
SINCE = NOW - timedelta(hours=1)

# The columns that are read, as agno 3.1.10 and our migrations declare them
TABLES = """
CREATE SCHEMA agno;
CREATE TABLE public.tickets (id text PRIMARY KEY, status text, attempt int, created_at timestamptz,
                             completed_at timestamptz);
CREATE TABLE agno.agno_runs (run_id varchar PRIMARY KEY, status varchar, run_data jsonb);
CREATE TABLE agno.agno_spans (span_id varchar PRIMARY KEY, trace_id varchar, start_time varchar, end_time varchar,
                              attributes jsonb);
CREATE TABLE public.deliveries (delivery_id text, run_id text, received_at timestamptz);
"""


@dataclass
class World:
    """Both stores, and the hand that fills them. A span's time is in seconds after NOW."""

    stores: Stores
    database: psycopg.Connection[Any]
    clickhouse: Any

    def run(self, run_id: str, ticket: str = "completed", status: str = "COMPLETED", attempt: int = 1) -> None:
        row = (run_id, ticket, attempt, NOW, NOW + timedelta(seconds=1) if ticket != "running" else None)
        self.database.execute("INSERT INTO tickets VALUES (%s, %s, %s, %s, %s)", row)
        self.database.execute("INSERT INTO agno.agno_runs VALUES (%s, %s, '{}')", (run_id, status))
        self.delivery(run_id)

    def delivery(self, run_id: str) -> None:
        self.database.execute("INSERT INTO deliveries VALUES ('d', %s, %s)", (run_id, NOW))

    def span(self, span_id: str, where: str = "both", at: float = 0.0, **attributes: Any) -> None:
        start, end = NOW + timedelta(seconds=at), NOW + timedelta(seconds=at, milliseconds=100)
        named = {f"agno.run.{key}": value for key, value in attributes.items()}
        if where in ("both", "postgres"):
            self.database.execute(
                "INSERT INTO agno.agno_spans VALUES (%s, 't', %s, %s, %s)",
                (span_id, start.isoformat(), end.isoformat(), Jsonb(named)),
            )
        if where in ("both", "clickhouse"):
            texts = ", ".join(f"'{key}', '{value}'" for key, value in named.items())
            self.clickhouse.rows(
                "INSERT INTO otel_traces (Timestamp, TraceId, SpanId, SpanName, ServiceName, SpanAttributes, Duration)"
                f" VALUES ({start.timestamp():.6f}, 't', '{span_id}', 'name', 'agent-runtime', map({texts}), 100000000)"
            )

    def kill(self, at: float) -> None:
        assert self.stores.logs is not None
        moment = (NOW + timedelta(seconds=at)).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        with (self.stores.logs / "supervisord.log").open("a") as log:
            log.write(f"{moment},250 WARN exited: runtime (terminated by SIGKILL; not expected)\n")

    def report(self) -> Report:
        return compare(self.stores.read(SINCE))


@pytest.fixture
def world(postgres: str, clickhouse: Any, tmp_path: Path) -> Any:
    stores = Stores(postgres, clickhouse.otel_url, logs=tmp_path)
    with psycopg.connect(postgres, autocommit=True) as database:
        database.execute(TABLES)
        world = World(stores, database, clickhouse)
        world.run("one")
        world.span("a1", id="one", attempt=1, status="completed")
        world.span("a2", at=0.01, id="one", attempt=1)
        world.span("member", id="one", attempt=1, status="completed", parent_id="one")
        world.span("webhook")
        yield world


def test_equal_stores_are_ok(world: World) -> None:
    report = world.report()
    assert report.ok, report
    assert [(line.expected, line.found) for line in report.lines] == [(1, 1), (1, 1), (1, 1), (1, 1), (4, 4), (4, 4)]
    console = Console(record=True, width=200)
    report.render(console)
    assert "Everything is everywhere, once." in console.export_text()


def test_what_is_missing_unknown_or_doubled_is_named(world: World) -> None:
    world.delivery("nobody")
    world.run("two", status="ERROR")
    world.run("three", "running", "RUNNING")
    world.span("p", "postgres")
    world.span("c", "clickhouse")
    world.span("a2", "clickhouse", at=-3, id="one", attempt=1)  # another second: not the same row for the engine
    world.span("old", "postgres", at=-7200)
    world.span("at the edge", "postgres", at=-3601)
    report = world.report()
    assert not report.ok
    assert [(line.missing, line.doubled, line.unknown) for line in report.lines] == [
        (["nobody"], [], []),
        (["three (running)"], [], []),
        ([], [], ["two (ticket completed, run error)"]),
        (["two (completed)"], [], []),
        (["p"], ["a2"], []),
        (["c"], [], []),
    ]


def test_a_kill_explains_the_spans_of_the_last_second(world: World) -> None:
    world.kill(at=10)
    world.run("two", attempt=2)
    world.span("b2", id="two", attempt=2, status="completed")
    world.span("last", "postgres", at=9.2)
    report = world.report()
    assert report.ok and report.kills == 1 and [line.allowed for line in report.lines] == [0, 0, 0, 1, 1, 0]


def test_a_row_that_was_sent_twice_is_seen_once_and_told(world: World) -> None:
    world.clickhouse.rows("ALTER TABLE otel_traces MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1")
    world.span("a2", "clickhouse", at=0.01, id="one", attempt=1, sent="again")
    report = world.report()
    assert report.ok
    assert report.lines[4].note.startswith("1 repeated rows await their merge")


def test_settling_ends_at_once_when_all_is_equal_and_waits_otherwise(world: World) -> None:
    started = time.monotonic()
    assert settle(world.stores, SINCE, timeout=30).ok
    assert time.monotonic() - started < 15
    world.span("late", "postgres")
    seen: list[Report] = []

    def arrive(report: Report) -> None:
        seen.append(report)
        if len(seen) == 1:
            world.span("late", "clickhouse")

    assert settle(world.stores, SINCE, timeout=30, progress=arrive).ok
    assert [report.ok for report in seen] == [False, True]


def test_a_store_that_is_down_is_named(world: World) -> None:
    for change, name in (
        ({"database_url": "postgresql://agents:x@127.0.0.1:1/agents"}, "Postgres"),
        ({"clickhouse_url": "http://readonly:x@127.0.0.1:1/otel"}, "ClickHouse"),
        ({"phoenix_url": "http://127.0.0.1:1"}, "Phoenix"),
    ):
        with pytest.raises(StoreDown, match=f"^{name} cannot be read"):
            settle(replace(world.stores, **change), SINCE, timeout=0)
