"""Every rule on the real engine, with what must make it fire and what must not: each case is an agent of that name.

Everything is written twice, in other batches, so duplicates are in every case.
"""

from collections.abc import Iterator

import pytest
from clickhouse_connect.driver.client import Client

from dashboards.source.alerting import all_rules
from stack.home import Home
from tests.integration.alerts import HOUR, MINUTE, Past, evaluate, firing, objectives, steady
from tests.integration.conftest import ClickHouse, fresh_clickhouse
from tests.integration.test_clickhouse_rollups import refresh

RULES = {rule.name: rule for rule in all_rules(objectives())}


@pytest.fixture(scope="module")
def clickhouse(clickhouse_server: Home) -> Iterator[ClickHouse]:
    """One database for all: each test leaves it empty."""
    with fresh_clickhouse(clickhouse_server) as server:
        yield server


@pytest.fixture
def past(otel: Client) -> Iterator[Past]:
    past = Past(otel)
    yield past
    for table in ("otel_traces", *past.points, "operations_by_minute"):
        otel.command(f"TRUNCATE TABLE {table}")


def test_nothing_is_said_of_nothing(reader: Client) -> None:
    """On an empty database; and what the columns are, which Grafana makes labels of."""
    for rule in RULES.values():
        assert reader.query(rule.sql).result_rows == []
        columns = [tuple(row[:2]) for row in reader.query(f"DESCRIBE ({rule.sql})").result_rows]
        numbers = {"value": "Float64", "objective": "Float64"}
        names = [*rule.labels, "value", "objective", "trace_id"]
        assert columns == [(name, numbers.get(name, "String")) for name in names], rule.name


def test_slow_agents(past: Past, reader: Client) -> None:
    for agent in ("breach", "below", "late", "patient", "stopped", "once", "long ago"):
        for n in range(10):
            past.run(agent, 60 + n, 1)
    worst = past.run("breach", 30, 50)
    for agent, ended, seconds, status in (
        ("breach", 30, 20, "error"),
        ("breach", 20, 11, "completed"),
        ("below", 20, 9.9, "completed"),
        ("late", HOUR, 50, "completed"),
        ("patient", 20, 50, "completed"),
        ("stopped", 20, 50, "cancelled"),
        ("long ago", 11 * MINUTE, 50, "completed"),
    ):
        for _ in range(1 if agent == "breach" else 5):
            past.run(agent, ended, seconds, status)
    past.run("once", 20, 500)
    past.run("few", 20, 500)
    past.run("few", 20, 500)
    past.run("long", 20, 90 * MINUTE), past.run("long", 20, 90 * MINUTE), past.run("long", 20, 90 * MINUTE)
    past.write()
    found = evaluate(reader, RULES["AgentDurationOverObjective"], past.now)
    assert firing(found) == {"breach", "long"}
    assert found["breach"].trace_id == worst and found["breach"].objective == 10
    assert found["below"].value == pytest.approx(9.9) and found["patient"].objective == 100
    assert "few" not in found


def test_failing_agents(past: Past, reader: Client) -> None:
    for agent in ("breach", "below", "late", "few", "patient"):
        for n in range(20):
            past.run(agent, 60 + n)
    for agent, ended, failures in (
        ("breach", 40, 2),
        ("below", 40, 1),
        ("late", HOUR, 9),
        ("few", 40, 2),
        ("patient", 40, 9),
    ):
        for _ in range(failures):
            past.run(agent, ended, status="error")
    newest = past.run("breach", 10, status="error")
    for _ in range(50):
        past.run("stopped", 40, status="cancelled")
        past.run("waits", 40, status="paused")
    past.write()
    found = evaluate(reader, RULES["AgentErrorRate"], past.now)
    assert firing(found) == {"breach"}
    assert found["breach"].trace_id == newest and found["breach"].value == pytest.approx(3 / 23)
    assert found["below"].trace_id and not found["late"].trace_id
    assert "stopped" not in found and "waits" not in found


@pytest.mark.parametrize(("name", "short", "long"), [("Fast", 5, 60), ("Slow", 30, 360)])
def test_budgets_burn_in_both_windows(past: Past, reader: Client, name: str, short: int, long: int) -> None:
    def runs(agent: str, minutes: float, number: int, status: str) -> None:
        for _ in range(number):
            past.run(agent, minutes * MINUTE, status=status)

    runs("breach", 1, 4, "error"), runs("breach", long - 2, 6, "error"), runs("breach", 1, 1, "completed")
    runs("over", long - 2, 50, "error"), runs("over", short / 2, 5, "completed")  # it has ended
    runs("begins", 1, 5, "error"), runs("begins", long - 2, 100, "completed")  # it does not matter yet
    runs("few", 1, 2, "error")
    runs("late", long - 2, 50, "error")
    runs("earlier", long + 5, 50, "error"), runs("earlier", 1, 5, "completed")
    runs("patient", 1, 4, "error"), runs("patient", 1, 4, "completed")
    newest = past.run("breach", 30, status="error")
    past.write()
    found = evaluate(reader, RULES[f"AgentErrorBudgetBurn{name}"], past.now)
    assert firing(found) == {"breach"}
    assert found["breach"].trace_id == newest and found["breach"].value == pytest.approx((5 / 6) / 0.05)
    assert found["patient"].objective == pytest.approx(0.9 / 0.5), "100 % of failures are twice the half"
    assert found["over"].value == 0 and "late" not in found and "few" not in found


def test_runs_that_do_not_end(past: Past, reader: Client) -> None:
    def running(agent: str, since: float, until: float = 0, process: str = "one") -> None:
        past.metric("agno.agent.in_progress", steady(1, since, until), process, agent_id=agent, kind="agent")

    for agent in ("stuck", "patient", "busy", "short", "finished", "restarted", "alone"):
        running(agent, 35 * MINUTE if agent != "short" else 25 * MINUTE)
    past.run("stuck", 36 * MINUTE)  # before
    past.span("stuck", 20 * MINUTE, 5, "chat m", run="hangs")
    past.span("stuck", 5 * MINUTE, 5, "chat m", run="newer")
    past.run("busy", 5 * MINUTE)
    past.metric("agno.agent.in_progress", [(20 * MINUTE, 0)], agent_id="finished", kind="agent")
    running("restarted", 50 * MINUTE, 36 * MINUTE, "dead")
    running("died", 3 * HOUR, 5 * MINUTE)  # and with it the process, which said 1 last
    past.metric("agno.agent.in_progress", steady(0, HOUR), agent_id="idle", kind="agent")
    past.write()
    found = evaluate(reader, RULES["RunStuckInProgress"], past.now)
    assert firing(found) == {"stuck", "alone", "restarted"}
    assert found["stuck"].trace_id == "hangs" and found["stuck"].value == pytest.approx(35 * MINUTE, abs=1)
    assert found["alone"].trace_id == "" and found["patient"].objective == 7200
    assert found["busy"].value == pytest.approx(5 * MINUTE, abs=1)
    assert found["finished"].value == pytest.approx(20 * MINUTE, abs=1)
    assert "died" not in found and "idle" not in found


def test_a_restart_begins_anew_also_in_the_same_series(past: Past, reader: Client) -> None:
    """With a service.instance.id that stays, as in a StatefulSet."""
    name, attributes = "agno.agent.in_progress", {"agent_id": "a", "kind": "agent"}
    past.metric(name, steady(1, 50 * MINUTE, 20 * MINUTE), **attributes)
    past.metric(name, steady(1, 10 * MINUTE), **attributes)
    past.write()
    found = evaluate(reader, RULES["RunStuckInProgress"], past.now)
    assert found["a"].value == pytest.approx(10 * MINUTE, abs=1) and firing(found) == set()


def test_dear_agents(past: Past, otel: Client, reader: Client) -> None:
    def call(agent: str, ended: float, usd: float | None, run: str | None = None) -> str:
        cost = {} if usd is None else {"llm__cost__total": usd}
        return past.span(agent, ended, 1, "chat m", run, gen_ai__operation__name="chat", **cost)

    dearest = call("breach", 23 * HOUR, 0.9)
    call("breach", 23 * HOUR, 0.3, dearest)
    call("breach", HOUR, 1.0)
    call("below", HOUR, 1.99)
    call("patient", HOUR, 50)
    call("yesterday", 25 * HOUR, 50)
    call("unknown", HOUR, None)
    past.write()
    refresh(otel)
    found = evaluate(reader, RULES["CostOverBudget"], past.now)
    assert firing(found) == {"breach"}
    assert found["breach"].trace_id == dearest and found["breach"].value == pytest.approx(2.2)
    assert found["below"].trace_id == "" and found["patient"].objective == 100 and found["unknown"].value == 0


def test_tickets_that_wait(past: Past, reader: Client) -> None:
    age = "agno.queue.oldest.age"
    past.metric(age, [(60, 290), (30, 320)], queue="breach")
    past.metric(age, [(60, 290), (30, 299)], queue="below")
    past.metric(age, [(60, 900), (30, 0)], queue="emptied")
    past.metric(age, [(200, 900)], "dead", queue="restarted")
    past.metric(age, [(30, 3)], "new", queue="restarted")
    past.metric(age, [(HOUR, 900)], queue="late")
    for agent, started, wait, number in (
        ("breach", 60, 6, 2),
        ("below", 60, 4.9, 9),
        ("late", HOUR, 60, 9),
        ("patient", 60, 40, 9),
        ("once", 60, 500, 1),
        ("not queued", 60, None, 9),
    ):
        for _ in range(number):
            past.run(agent, started - 1, 1, wait=wait)
    worst = past.run("breach", 30, 1, wait=60)
    past.write()
    assert firing(evaluate(reader, RULES["QueueTooOld"], past.now)) == {"breach"}
    found = evaluate(reader, RULES["QueueWaitOverObjective"], past.now)
    assert firing(found) == {"breach"} and found["breach"].trace_id == worst
    assert found["below"].value == pytest.approx(4.9) and set(found) == {"breach", "below", "patient"}


def test_counters_that_rise(past: Past, reader: Client) -> None:
    """Given up: a new series, one that goes on, one that begins again; not what stays, nor what was an hour ago."""

    def dead(agent: str, values: list[tuple[float, float]], process: str = "one") -> None:
        past.metric("agno.queue.dead_letters", values, process, agent_id=agent)

    dead("first ever", steady(1, 90))
    dead("one more", [*steady(4, HOUR, 5 * MINUTE), *steady(6, 4 * MINUTE)])
    dead("begins again", [*steady(7, HOUR, 8 * MINUTE), *steady(2, 3 * MINUTE)])
    dead("stays", steady(5, 2 * HOUR))
    dead("an hour ago", [*steady(0, 2 * HOUR, HOUR), *steady(3, 50 * MINUTE)])
    dead("not heard for long", [(2.5 * HOUR, 5), *steady(5, 5 * MINUTE)])
    dead("restarted", steady(9, 5 * HOUR, 20 * MINUTE))
    dead("restarted", steady(0, 9 * MINUTE), "new")
    dead("late", [(HOUR, 1)])
    newest = past.run("one more", 60, status="error")
    past.run("one more", 90, status="error")
    past.run("one more", 30)
    past.write()
    found = evaluate(reader, RULES["DeadLetters"], past.now)
    assert firing(found) == {"first ever", "one more", "begins again"}
    assert {agent: found[agent].value for agent in firing(found)} == {"first ever": 1, "one more": 2, "begins again": 2}
    assert found["one more"].trace_id == newest


def test_lost_telemetry(past: Past, reader: Client) -> None:
    def spans(destination: str, outcome: str, values: list[tuple[float, float]]) -> None:
        past.metric("agno.telemetry.spans", values, destination=destination, outcome=outcome)

    spans("clickhouse", "exported", [*steady(5, HOUR, 5 * MINUTE), *steady(500, 4 * MINUTE)])
    spans("postgres", "failed", steady(3, 60))
    spans("phoenix", "dropped", steady(300, HOUR))
    spans("collector", "replayed", [(300, 0), (30, 90)])
    past.metric("agno.telemetry.logs", [(300, 10), (30, 12)], outcome="dropped")
    past.write()
    found = evaluate(reader, RULES["TelemetryLost"], past.now)
    assert firing(found) == {"postgres", "logs"} and found["logs"].value == 12 and found["phoenix"].value == 0


def test_missing_telemetry(past: Past, reader: Client) -> None:
    past.metric("agno.telemetry.missing", steady(4, HOUR), destination="clickhouse")
    past.metric("agno.telemetry.missing", steady(9, HOUR), destination="postgres")
    past.write()
    found = evaluate(reader, RULES["TelemetryMissing"], past.now)
    assert firing(found) == {"clickhouse"} == set(found) and RULES["TelemetryMissing"].for_seconds == 600


def test_what_is_missing_no_more(past: Past, reader: Client) -> None:
    past.metric("agno.telemetry.missing", [*steady(4, HOUR, 90), *steady(0, 60)], destination="clickhouse")
    past.metric("agno.telemetry.missing", steady(7, HOUR, 5 * MINUTE), "dead", destination="clickhouse")
    past.write()
    assert firing(evaluate(reader, RULES["TelemetryMissing"], past.now)) == set()


def test_services_that_say_nothing(past: Past, reader: Client) -> None:
    for service, since, until in (
        ("silent", HOUR, 200),
        ("lives", HOUR, 30),
        ("slow", HOUR, 150),
        ("gone", 30 * HOUR, 26 * HOUR),
        ("restarted", HOUR, 10 * MINUTE),
    ):
        past.metric("agno.telemetry.queue.size", steady(0, since, until), service=service, destination="postgres")
    past.metric("agno.telemetry.queue.size", [(20, 0)], "new", "restarted", destination="postgres")
    past.write()
    rule = RULES["TelemetrySilent"]
    found = evaluate(reader, rule, past.now)
    assert firing(found) == {"silent"} and set(found) == {"silent", "lives", "slow", "restarted"}
    assert firing(evaluate(reader, rule, past.now, uptime=120)) == set(), "ClickHouse has just begun to listen"


def test_files_that_do_not_load(past: Past, reader: Client) -> None:
    past.metric("agno.agents.broken", [(90, 0), (60, 0), (30, 2)], service="broken")
    past.metric("agno.agents.broken", [(90, 2), (60, 2), (30, 0)], service="mended")
    past.metric("agno.agents.broken", steady(1, HOUR, 5 * MINUTE), service="restarted")
    past.metric("agno.agents.broken", [(30, 0)], "new", service="restarted")
    past.metric("agno.agents.broken", steady(0, HOUR), service="fine")
    past.write()
    found = evaluate(reader, RULES["AgentFailedToLoad"], past.now)
    assert firing(found) == {"broken"} and found["broken"].value == 2 and found["mended"].value == 0


def test_approvals_that_wait(past: Past, reader: Client) -> None:
    def pending(agent: str, values: list[tuple[float, float]], process: str = "one") -> None:
        past.metric("agno.approvals.pending", values, process, agent_id=agent)

    for agent in ("waits", "decided", "patient", "new process"):
        pending(agent, steady(2, 3 * HOUR, HOUR if agent == "new process" else 0))
    pending("new process", steady(2, HOUR - 60), "new")
    pending("recent", steady(1, HOUR))
    pending("none", [*steady(1, 3 * HOUR, HOUR), *steady(0, 59 * MINUTE, 20 * MINUTE), *steady(1, 19 * MINUTE)])
    pending("gap", [*steady(1, 3 * HOUR, 2 * HOUR), *steady(1, HOUR)])
    pending("gone", steady(1, 4 * HOUR, 10 * MINUTE))
    waiting = past.run("waits", 170 * MINUTE, status="paused")
    past.run("waits", 160 * MINUTE, status="paused")
    continued = past.run("waits", 175 * MINUTE, status="paused")
    past.run("waits", 174 * MINUTE, run=continued)
    past.span("decided", 10 * MINUTE, 3 * HOUR, "approval refund")
    past.write()
    found = evaluate(reader, RULES["ApprovalsWaiting"], past.now)
    assert firing(found) == {"waits", "new process"}
    assert found["waits"].trace_id == waiting and found["decided"].value == pytest.approx(10 * MINUTE, abs=1)
    assert found["none"].value == pytest.approx(20 * MINUTE, abs=31) and "gone" not in found
    assert found["gap"].value == pytest.approx(HOUR, abs=1) and found["patient"].objective == 28800
