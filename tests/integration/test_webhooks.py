"""The webhook contract, over HTTP, against a runtime in a process of its own and a real Postgres."""

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from stack.home import Home
from tests.integration.conftest import fresh_database
from tests.integration.runtimes import SECRET, Runtime, running, signed, until


@pytest.fixture(scope="module")
def database(migrated_server: Home) -> Iterator[str]:
    with fresh_database(migrated_server, "migrated") as url:
        yield url


@pytest.fixture(scope="module")
def runtime(database: str, clickhouse_server: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    log = tmp_path_factory.mktemp("runtime") / "log"
    settings = {"TELEMETRY_MODE": "direct", "CLICKHOUSE_URL": clickhouse_server.clickhouse_url}
    with running(database, log, **settings, WEBHOOK_MAX_BYTES="100000") as runtime:
        yield runtime


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["type"] and body["title"] and body["status"] == status and body["detail"]
    assert "Traceback" not in answer.text
    return body


@pytest.mark.parametrize(("agent", "kind"), [("echo", "agents"), ("pair", "teams"), ("steps", "workflows")])
def test_a_delivery_becomes_a_run_in_the_trace_of_the_webhook(runtime: Runtime, agent: str, kind: str) -> None:
    body = {"input": "hello", "session_id": f"s-{agent}", "user_id": "u", "metadata": {"order": 7}}
    answer = runtime.send(f"new-{agent}", body, agent)
    assert answer.status_code == 202
    accepted = answer.json()
    assert accepted["decision"] == "new" and accepted["session_id"] == f"s-{agent}"
    assert re.fullmatch("[0-9a-f]{32}", accepted["trace_id"])
    ticket = runtime.ended(accepted["run_id"])
    assert (ticket["status"], ticket["attempt"], ticket["trace_id"]) == ("completed", 1, accepted["trace_id"])

    run = runtime.get(accepted["links"]["run"])
    assert run.is_success and run.json()["run_id"] == accepted["run_id"]
    assert accepted["links"]["run"].startswith(f"/{kind}/{agent}/runs/")

    query = "SELECT name, parent_span_id FROM agno.agno_spans WHERE trace_id = %s"
    names = until(lambda: _with(runtime.query(query, accepted["trace_id"]), f"webhook {agent}"), 30)
    assert [name for name in names if name.startswith(("invoke_agent", "invoke_workflow"))]
    query = "SELECT run_id FROM agno.agno_traces WHERE trace_id = %s"
    assert runtime.query(query, accepted["trace_id"]) == [(accepted["run_id"],)]


def _with(rows: list[tuple[Any, ...]], name: str) -> list[str]:
    names = [row[0] for row in rows]
    return names if name in names and len(names) > 1 else []


@pytest.mark.parametrize("flags", ["01", "00"])
def test_an_incoming_trace_goes_on_and_is_recorded(runtime: Runtime, flags: str) -> None:
    """Also that of a sender who does not record it: our runs are never invisible."""
    trace_id = f"0af7651916cd43dd8448eb211c8031{flags}"
    answer = runtime.send(f"traced-{flags}", {"input": "x"}, traceparent=f"00-{trace_id}-b7ad6b7169203331-{flags}")
    assert answer.json()["trace_id"] == trace_id
    query = "SELECT name FROM agno.agno_spans WHERE trace_id = %s AND name LIKE 'invoke_agent%%'"
    assert until(lambda: runtime.query(query, trace_id), 10) == [("invoke_agent Echo",)]


def test_a_broken_traceparent_is_ignored(runtime: Runtime) -> None:
    assert re.fullmatch("[0-9a-f]{32}", runtime.send("untraced", {"input": "x"}, traceparent="x").json()["trace_id"])


def test_the_same_delivery_is_answered_with_the_first_run(runtime: Runtime) -> None:
    body = {"input": "once"}
    first, again = runtime.send("twice", body), runtime.send("twice", body)
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json() == first.json() | {"decision": "duplicate"}


@pytest.mark.parametrize("other", [("echo", {"input": "two"}), ("pair", {"input": "one"})])
def test_an_id_used_for_something_else_is_a_conflict(runtime: Runtime, other: tuple[str, Any]) -> None:
    agent, body = other
    first = runtime.send(f"conflict-{agent}", {"input": "one"})
    found = problem(runtime.send(f"conflict-{agent}", body, agent), 409)
    assert found["run_id"] == first.json()["run_id"]


def test_a_hundred_identical_deliveries_at_once_are_one_run(runtime: Runtime) -> None:
    before = runtime.metric("agno_webhook_requests_total", outcome="duplicate")
    with ThreadPoolExecutor(100) as senders:
        answers = list(senders.map(lambda _: runtime.send("hundred", {"input": "[slow 0.2] x"}), range(100)))
    assert Counter(answer.status_code for answer in answers) == {202: 1, 200: 99}
    assert len({(a.json()["run_id"], a.json()["trace_id"], a.json()["session_id"]) for a in answers}) == 1
    assert runtime.query("SELECT count(*) FROM tickets WHERE payload::text LIKE %s", '%"hundred"%') == [(1,)]
    assert runtime.metric("agno_webhook_requests_total", outcome="duplicate") == before + 99


def test_different_bodies_under_one_id_at_once_are_one_run(runtime: Runtime) -> None:
    """Also for different users, within which agno's own queue deduplicates."""

    def send(number: int) -> httpx.Response:
        return runtime.send("rivals", {"input": f"body {number}", "user_id": f"user-{number}"})

    with ThreadPoolExecutor(20) as senders:
        answers = list(senders.map(send, range(20)))
    assert Counter(answer.status_code for answer in answers) == {202: 1, 409: 19}
    assert runtime.query("SELECT count(*) FROM tickets WHERE payload ->> 'input' LIKE %s", "body %") == [(1,)]


def test_runs_of_one_session_are_in_order(runtime: Runtime) -> None:
    bodies = [{"input": f"[slow {seconds}] x", "session_id": "ordered"} for seconds in (0.4, 0.1, 0.3, 0.1)]
    sent = [runtime.send(f"order-{n}", body).json()["run_id"] for n, body in enumerate(bodies)]
    query = (
        "SELECT attributes ->> 'agno.run.id', start_time, end_time FROM agno.agno_spans"
        " WHERE name = 'invoke_agent Echo' AND attributes ->> 'session.id' = 'ordered' ORDER BY start_time"
    )
    until(lambda: len(runtime.query(query)) == 4, 20)
    spans = runtime.query(query)
    assert [run_id for run_id, _, _ in spans] == sent
    assert all(earlier[2] <= later[1] for earlier, later in itertools.pairwise(spans))


def test_what_is_not_signed_is_refused(runtime: Runtime) -> None:
    content = b'{"input": "x"}'
    wrong = signed("w", content, secret="whsec_" + "A" * 44)
    problem(runtime.send("w", content, webhook_signature=wrong["webhook-signature"]), 401)
    old = signed("w", content, at=datetime.now(UTC) - timedelta(minutes=6))
    problem(runtime.send("w", content, **{k.replace("-", "_"): v for k, v in old.items()}), 401)
    problem(runtime.send("w", content + b" ", webhook_signature=signed("w", content)["webhook-signature"]), 401)
    problem(httpx.post(f"{runtime.url}/api/webhooks/echo", json={}, trust_env=False), 401)
    assert runtime.query("SELECT count(*) FROM deliveries WHERE delivery_id = 'w'") == [(0,)]


def test_several_signatures_of_which_one_holds(runtime: Runtime) -> None:
    content = b'{"input": "x"}'
    good = signed("rotated", content)["webhook-signature"]
    other = signed("rotated", content, secret="whsec_" + "A" * 44)["webhook-signature"]
    assert runtime.send("rotated", content, webhook_signature=f"v2,zz {other} {good}").status_code == 202


def test_an_unknown_agent_gets_the_nearest_id(runtime: Runtime) -> None:
    found = problem(runtime.send("near", {"input": "x"}, "ehco"), 404)
    assert found["nearest"] == "echo" and "echo" in found["detail"]
    assert runtime.metric("agno_webhook_requests_total", agent_id="unknown") >= 1
    assert runtime.metric("agno_webhook_requests_total", agent_id="ehco") == 0


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_refused(runtime: Runtime, chunked: bool) -> None:
    content = b'{"input": "' + b"x" * 2_000_000 + b'"}'
    sent: Any = iter([content[at : at + 50_000] for at in range(0, len(content), 50_000)]) if chunked else content
    headers = signed("large", content)
    answer = httpx.post(f"{runtime.url}/api/webhooks/echo", content=sent, headers=headers, trust_env=False)
    assert "100000" in problem(answer, 413)["detail"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/json; charset=latin-1", ""])
def test_only_json_and_forms_are_taken(runtime: Runtime, content_type: str) -> None:
    problem(runtime.send("type", {"input": "x"}, content_type=content_type), 415)


@pytest.mark.parametrize(
    ("content", "status", "field"),
    [
        (b"{", 400, None),
        (b'{"input": "\xff"}', 400, None),
        (b'{"input": NaN}', 400, None),
        (b"[" * 50_000, 422, "body"),
        (b"[]", 422, "body"),
        (b'{"input": 7}', 422, "input"),
        (b'{"input": "a\\u0000b"}', 422, "body.input"),
        (b'{"input": "\\ud800"}', 422, "body.input"),
        (b'{"input": "x", "metadata": []}', 422, "metadata"),
        (b'{"input": "x", "session_id": ""}', 422, "session_id"),
        (b'{"input": "x", "user_id": 5}', 422, "user_id"),
        (b'{"input": "x", "metadata": {"n": 1e999}}', 422, "body"),
    ],
)
def test_bad_input_is_told_where(runtime: Runtime, content: bytes, status: int, field: str | None) -> None:
    at = datetime.now(UTC)
    headers = signed("bad", content, at=at)
    answer = httpx.post(f"{runtime.url}/api/webhooks/echo", content=content, headers=headers, trust_env=False)
    assert problem(answer, status).get("field") == field


def test_a_body_without_a_known_field_is_the_input_itself(runtime: Runtime) -> None:
    accepted = runtime.send("whole", {"alert": "disk full"}).json()
    runtime.ended(accepted["run_id"])
    assert json.dumps({"alert": "disk full"}) in runtime.get(accepted["links"]["run"]).json()["content"]


def test_metadata_cannot_forge_the_ticket(runtime: Runtime) -> None:
    forged = {"telemetry": {"traceparent": "00-" + "1" * 32 + "-" + "1" * 16 + "-01", "attempt": 9}}
    accepted = runtime.send("forged", {"input": "x", "metadata": forged}).json()
    assert runtime.ended(accepted["run_id"])["trace_id"] == accepted["trace_id"] != "1" * 32


def test_a_failing_run_is_tried_again_and_then_given_up(runtime: Runtime) -> None:
    accepted = runtime.send("fails", {"input": "[fail] x"}).json()
    ticket = runtime.ended(accepted["run_id"], 60)
    assert (ticket["status"], ticket["attempt"]) == ("failed", 3)
    assert "asked for this error" in ticket["error"]


def test_every_answer_is_counted(runtime: Runtime) -> None:
    runtime.send("counted", {"input": "x"})
    outcomes = ("accepted", "duplicate", "conflict", "rejected", "invalid")
    assert all(runtime.metric("agno_webhook_requests_total", outcome=outcome) for outcome in outcomes)
    for decision in ("miss", "hit", "conflict"):
        assert runtime.metric("agno_dedup_decisions_total", decision=decision, source="webhook") > 0
    assert runtime.metric("agno_webhook_duration_seconds_count", outcome="accepted") > 0
    assert runtime.metric("agno_queue_wait_seconds_count", agent_id="echo") > 0
    assert runtime.metric("agno_agents_loaded", kind="team") == 1


def test_only_webhooks_and_runs_are_traced(runtime: Runtime) -> None:
    for path in ("/health", "/agents", "/api/metrics", "/docs"):
        assert runtime.get(path).is_success
    names = {row[0] for row in runtime.query("SELECT DISTINCT split_part(name, ' ', 1) FROM agno.agno_spans")}
    assert names <= {"webhook", "invoke_agent", "invoke_workflow", "chat", "execute_tool"}


@pytest.mark.parametrize("run_id", ["nobody", "%00", "%F0%9F%A6%86"])
def test_a_run_that_nobody_knows(runtime: Runtime, run_id: str) -> None:
    problem(runtime.get(f"/api/runs/{run_id}"), 404)
    problem(runtime.send("anything", {"input": "x"}, run_id), 404)


def test_secrets_are_not_in_the_log(runtime: Runtime) -> None:
    text = runtime.log.read_text()
    assert "this file is broken on purpose" in text
    assert SECRET not in text and runtime.database_url.split(":")[2].split("@")[0] not in text
