"""`stack up` as a user runs it: recordings through the webhook to the last store, with processes killed on the way."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from stack.trajectories import counts, read
from tests import trajectories
from tests.e2e.conftest import Stack, stack

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def up() -> Iterator[Stack]:
    with stack(STACK_MODE="collector") as it:  # where none can be had, it says why
        said = it.must("up", "--detach", "--timings", timeout=800)
        home = it.home
        for url in (
            f"{home.runtime_url}/docs",
            home.phoenix_url,
            f"{home.runtime_url}/api/metrics",
            f"{home.dashboards_url}/dashboards",
        ):
            assert url in said.replace("\n", ""), said
        yield it


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trajectories.file(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="module")
def replayed(up: Stack, recordings: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(up.must("replay", str(recordings), "--speed", "0", "--json"))
    up.must("verify", "--timeout", "120")
    return result


def phoenix_spans(up: Stack) -> list[dict[str, Any]]:
    """All spans of our project, through Phoenix' public API."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        parameters = {"limit": 1000, **({"cursor": cursor} if cursor else {})}
        answer = httpx.get(
            f"{up.home.phoenix_url}/v1/projects/agent-runtime/spans",
            params=parameters,
            headers={"authorization": f"Bearer {up.home.phoenix_api_key}"},
            timeout=60,
        )
        if answer.status_code == 404:  # no span of ours has come yet
            return []
        page = answer.raise_for_status().json()
        found += page["data"]
        cursor = page["next_cursor"]
        if not cursor:
            return found


def in_phoenix_of(up: Stack, runs: list[str], wanted: int) -> Counter[str]:
    """Span names of the runs. Phoenix is behind: traces are judged after seconds, and it stores under 100 spans/s."""
    deadline = time.monotonic() + 90
    while True:
        names = Counter(s["name"] for s in phoenix_spans(up) if s["attributes"].get("agno.run.id") in set(runs))
        if names.total() >= wanted or time.monotonic() > deadline:
            return names
        time.sleep(2)


def test_every_store_has_exactly_what_was_recorded(up: Stack, recordings: Path, replayed: dict[str, Any]) -> None:
    expected = counts(read(recordings), 1)
    runs = replayed["run_ids"]
    assert len(set(runs)) == expected.runs

    tickets = up.postgres("SELECT status, count(*) FROM tickets WHERE id = ANY(%s) GROUP BY 1", runs)
    assert tickets == [("completed", expected.runs)]
    (sessions,) = up.postgres("SELECT count(DISTINCT session_id) FROM agno.agno_runs WHERE run_id = ANY(%s)", runs)
    assert sessions == (expected.sessions,)
    in_postgres = Counter(
        name
        for (name,) in up.postgres("SELECT name FROM agno.agno_spans WHERE attributes->>'agno.run.id' = ANY(%s)", runs)
    )
    in_clickhouse = Counter(
        name
        for (name,) in up.clickhouse(
            "SELECT SpanName FROM otel_traces WHERE has({runs:Array(String)}, SpanAttributes['agno.run.id'])", runs=runs
        )
    )
    in_phoenix = in_phoenix_of(up, runs, in_clickhouse.total())
    tools = Counter({f"execute_tool {name}": number for name, number in expected.tool_calls.items()})
    for found in (in_postgres, in_clickhouse, in_phoenix):
        assert sum(n for name, n in found.items() if name.startswith("invoke_agent ")) == expected.runs
        assert sum(n for name, n in found.items() if name.startswith("chat ")) == expected.model_calls
        assert Counter({name: n for name, n in found.items() if name.startswith("execute_tool ")}) == tools
        assert sum(n for name, n in found.items() if name.startswith("webhook ")) == expected.runs


def test_one_trace_from_the_webhook_to_the_last_call(up: Stack, replayed: dict[str, Any]) -> None:
    (run_id, trace_id) = up.postgres(
        "SELECT run_id, trace_id FROM agno.agno_traces JOIN agno.agno_spans USING (trace_id)"
        " WHERE run_id = ANY(%s) AND agno_spans.name LIKE 'execute_tool %%' LIMIT 1",
        replayed["run_ids"],
    )[0]
    spans = up.clickhouse(
        "SELECT SpanName, SpanId, ParentSpanId FROM otel_traces WHERE TraceId = {trace:String}", trace=trace_id
    )
    by_name = {name.split()[0]: (span, parent) for name, span, parent in spans}
    webhook, run = by_name["webhook"], by_name["invoke_agent"]
    assert webhook[1] == ""
    assert run[1] == webhook[0]
    assert by_name["chat"][1] == run[0]

    page = httpx.get(f"{up.home.runtime_url}/traces/{trace_id}", timeout=20).raise_for_status().json()
    assert (page["run_id"], page["agent_id"], page["status"]) == (run_id, "replay", "OK")
    assert page["session_id"].startswith("replay-")
    assert page["input"]


def test_metrics_and_logs_are_in_clickhouse(up: Stack, replayed: dict[str, Any]) -> None:
    completed = (
        "SELECT max(Value) FROM otel_metrics_sum WHERE MetricName = 'agno.agent.runs'"
        " AND Attributes['agent_id'] = 'replay' AND Attributes['status'] = 'completed'"
    )
    deadline = time.monotonic() + 60  # metrics leave every 30 s
    while up.clickhouse(completed)[0][0] < len(replayed["run_ids"]) and time.monotonic() < deadline:
        time.sleep(1)
    assert up.clickhouse(completed) == [(len(replayed["run_ids"]),)]
    (exemplars,) = up.clickhouse(
        "SELECT uniqExact(arrayJoin(Exemplars.TraceId)) FROM otel_metrics_histogram"
        " WHERE MetricName = 'agno.agent.duration'"
    )
    assert exemplars[0] > 0
    (lines,) = up.clickhouse("SELECT count() FROM otel_logs WHERE ServiceName = 'agent-runtime'")
    assert lines[0] > 0


def test_api_metrics_shows_the_same_runs(up: Stack, replayed: dict[str, Any]) -> None:
    text = httpx.get(f"{up.home.runtime_url}/api/metrics", timeout=20).raise_for_status().text
    line = next(line for line in text.splitlines() if line.startswith("agno_agent_runs_total") and "replay" in line)
    assert float(line.split()[-1]) >= len(replayed["run_ids"])


def test_a_second_up_says_what_runs(up: Stack, replayed: dict[str, Any]) -> None:
    before = {name: line["pid"] for name, line in up.services().items()}
    said = up.must("up", "--detach")
    assert "running already" in said
    assert {name: line["pid"] for name, line in up.services().items()} == before


def test_killing_everything_once_loses_and_doubles_nothing(
    up: Stack, recordings: Path, replayed: dict[str, Any]
) -> None:
    replay = up.start("replay", str(recordings), "--rate", "3", "--speed", "1", "--json")
    try:
        for service in ("runtime", "collector", "clickhouse"):
            time.sleep(4)
            kill(up, service)
        output, _ = replay.communicate(timeout=500)
    finally:
        replay.kill()
    assert replay.returncode == 0, output
    result = json.loads(output.splitlines()[-1])
    assert result["runs"] == {"completed": len(result["run_ids"])}
    up.must("verify", "--timeout", "180")
    ended = "SELECT count(*) FROM tickets WHERE id = ANY(%s) AND attempt > 1"
    assert up.postgres(ended, result["run_ids"])[0][0] > 0, "no run was interrupted: the runtime was killed too late"


def kill(up: Stack, name: str) -> None:
    """kill -9, then waits until the supervisor has another one that is healthy."""
    pid = up.services()[name]["pid"]
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        line = up.services()[name]
        if line["healthy"] and line["pid"] not in (0, pid):
            return
        time.sleep(0.5)
    pytest.fail(f"{name} was not restarted")


def test_down_leaves_nothing(up: Stack, replayed: dict[str, Any]) -> None:
    up.must("down")
    assert up.processes() == []
    assert up.run("status").returncode == 3
