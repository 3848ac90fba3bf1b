"""The comparison of `stack verify`: what it calls missing, doubled or unknown, and what it lets go."""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stack.evidence import Evidence, Run, Span, Ticket, kills
from stack.verify import Line, Report, compare, moment

NOW = datetime(2026, 11, 21, 9, 30, 0, 250_000, UTC)
SINCE = NOW - timedelta(hours=1)


@dataclass
class World:
    """What the stores would say. A span's time is in seconds after NOW; it takes 0.1 s."""

    evidence: Evidence = field(default_factory=lambda: Evidence(SINCE))

    def run(
        self, run_id: str, ticket: str = "completed", status: str = "completed", attempt: int = 1, executed: int = 0
    ) -> None:
        """`executed`: the attempt of the run's row, if another one than its ticket's."""
        began = NOW.replace(microsecond=0)
        ended = began + timedelta(seconds=1) if ticket != "running" else None
        self.evidence.tickets[run_id] = Ticket(ticket, attempt, began, ended)
        self.evidence.runs[run_id] = Run(status, executed or attempt)
        self.delivery(run_id)

    def delivery(self, run_id: str) -> None:
        self.evidence.deliveries[run_id] += 1

    def span(
        self, span_id: str, where: str = "both", at: float = 0.0, id: str = "", attempt: int = 1, status: str = ""
    ) -> None:
        began = NOW + timedelta(seconds=at)
        span = Span(id, attempt, status, began, began + timedelta(seconds=0.1))
        if where in ("both", "postgres"):
            self.evidence.postgres[span_id] = span
        if where in ("both", "clickhouse"):
            self.evidence.clickhouse[span_id] = span

    def kill(self, at: float) -> None:
        self.evidence.kills.append(NOW + timedelta(seconds=at))

    def report(self) -> Report:
        return compare(self.evidence)

    def wrong(self) -> list[Line]:
        return [line for line in self.report().lines if not line.ok]


@pytest.fixture
def world() -> World:
    world = World()
    world.run("one")
    world.span("a1", id="one", status="completed")
    world.span("a2", at=0.01, id="one")
    world.span("webhook")
    return world


def test_equal_stores_are_ok(world: World) -> None:
    report = world.report()
    assert report.ok
    assert [(line.expected, line.found) for line in report.lines] == [(1, 1), (1, 1), (1, 1), (1, 1), (3, 3), (3, 3)]


def test_each_status_of_a_ticket_has_its_run_status(world: World) -> None:
    for number, (ticket, status) in enumerate(
        {"failed": "error", "cancelled": "cancelled", "paused": "paused"}.items()
    ):
        world.run(ticket, ticket, status)
        world.span(f"s{number}", id=ticket, attempt=1, status=status.lower())
    assert world.report().ok


def test_a_delivery_without_a_ticket(world: World) -> None:
    world.delivery("nobody")
    assert [(line.name, line.missing) for line in world.wrong()] == [("deliveries with a ticket", ["nobody"])]


def test_two_deliveries_with_one_run(world: World) -> None:
    world.delivery("one")
    assert [(line.name, line.doubled) for line in world.wrong()] == [("deliveries with a ticket", ["one"])]


def test_a_ticket_that_does_not_end(world: World) -> None:
    world.run("two", "running", "running")
    assert [(line.name, line.missing) for line in world.wrong()] == [("tickets that ended", ["two (running)"])]


def test_a_run_that_is_not_there_or_has_another_status(world: World) -> None:
    world.evidence.runs["one"] = Run("error", 1)
    assert [line.unknown for line in world.wrong()] == [["one (ticket completed, run error)"]]
    del world.evidence.runs["one"]
    assert [line.missing for line in world.wrong()] == [["one"]]


def test_a_run_without_a_span_and_one_with_two(world: World) -> None:
    world.run("two")
    world.span("b1", id="one", attempt=1, status="completed")
    [line] = world.wrong()
    assert (line.name, line.missing, line.doubled) == ("runs with their span", ["two (completed)"], ["one (attempt 1)"])


def test_a_pause_adds_a_span(world: World) -> None:
    world.span("p", id="one", attempt=1, status="paused")
    assert world.report().ok


def test_a_killed_attempt_may_lack_its_span(world: World) -> None:
    world.run("two", attempt=2)
    world.span("b2", id="two", attempt=2, status="completed")
    world.span("orphan", id="two", attempt=1)
    report = world.report()
    assert report.ok and [line.allowed for line in report.lines] == [0, 0, 0, 1, 0, 0]


@pytest.mark.parametrize(
    ("where", "name"),
    [("postgres", "Postgres spans in ClickHouse"), ("clickhouse", "ClickHouse spans in Postgres")],
)
def test_a_span_that_one_store_lacks(world: World, where: str, name: str) -> None:
    world.span("lost", where)
    assert [(line.name, line.missing) for line in world.wrong()] == [(name, ["lost"])]


@pytest.mark.parametrize("where", ["postgres", "clickhouse"])
def test_the_last_second_before_a_kill_may_be_lost_and_no_more(world: World, where: str) -> None:
    world.kill(at=10)
    world.span("last", where, at=9.2)
    report = world.report()
    assert report.ok and report.kills == 1 and sum(line.allowed for line in report.lines) == 1
    world.span("earlier", where, at=7)
    assert [line.missing for line in world.wrong()] == [["earlier"]]


def test_a_run_that_ended_right_before_a_kill_may_lack_its_span(world: World) -> None:
    world.run("two")
    world.kill(at=1)
    assert world.report().ok


def test_a_run_that_its_next_attempt_only_settled_may_lack_its_span(world: World) -> None:
    """It had ended when its runtime was killed, and its ticket was settled when the lease had run out."""
    world.run("two", attempt=2, executed=1)
    world.evidence.tickets["two"] = replace(world.evidence.tickets["two"], ended=NOW + timedelta(seconds=30))
    assert [line.missing for line in world.wrong()] == [["two (completed)"]], "nothing was killed"
    world.kill(at=5)
    report = world.report()
    assert report.ok and sum(line.allowed for line in report.lines) == 1
    world.span("paused", id="two", status="paused")
    assert [line.missing for line in world.wrong()] == [["two (completed)"]], "it paused, and went on later"
    del world.evidence.postgres["paused"], world.evidence.clickhouse["paused"]
    world.evidence.runs["two"] = Run("completed", 2)
    assert [line.missing for line in world.wrong()] == [["two (completed)"]], "the second attempt executed it"


def test_a_span_that_a_reader_sees_twice(world: World) -> None:
    world.evidence.clickhouse_doubled["a2"] = 2
    assert [(line.name, line.doubled) for line in world.wrong()] == [("Postgres spans in ClickHouse", ["a2"])]


def test_what_began_before_the_window_is_not_compared(world: World) -> None:
    world.span("old", "postgres", at=-7200)
    world.span("at the edge", "postgres", at=-3601)
    assert world.report().ok


def test_phoenix_may_lack_spans_but_not_double_or_invent_them(world: World) -> None:
    evidence = world.evidence
    evidence.phoenix = Counter(a1=1)
    assert compare(evidence).ok
    assert compare(evidence).lines[-1].note == "Phoenix has 1 of 3 spans so far; it samples, and is some seconds behind"
    evidence.phoenix = Counter(a1=2, stranger=1)
    line = compare(evidence).lines[-1]
    assert (line.doubled, line.unknown) == (["a1"], ["stranger"])


def test_a_cancelled_ticket_that_never_ran_needs_no_span(world: World) -> None:
    world.run("two", "cancelled", "cancelled", attempt=0)
    assert world.report().ok


def test_kills_are_read_from_the_supervisors_log(tmp_path: Path) -> None:
    local = NOW.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    (tmp_path / "supervisord.log").write_text(
        f"{local},100 INFO spawned: 'runtime' with pid 7\n"
        f"{local},250 WARN exited: runtime (terminated by SIGKILL; not expected)\n"
        f"{local},300 WARN exited: collector (terminated by SIGKILL; not expected)\n"
        f"{local},400 INFO stopped: runtime (exit status 0)\n"
    )
    assert list(kills(tmp_path)) == [NOW]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2026-11-21T09:30+00:00", NOW.replace(microsecond=0)), ("2026-11-21T10:30+01:00", NOW.replace(microsecond=0))],
)
def test_a_moment_in_time(text: str, expected: datetime) -> None:
    assert moment(text) == expected


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400)])
def test_a_moment_ago(text: str, seconds: int) -> None:
    assert abs((datetime.now(UTC) - moment(text)).total_seconds() - seconds) < 5


def test_a_moment_that_is_none() -> None:
    with pytest.raises(Exception, match="write 90s"):
        moment("yesterday")
