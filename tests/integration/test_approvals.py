"""A run that waits for a person: who is told, how it is decided, and how it goes on."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest

from stack.delivery import Receipt, Sender
from stack.home import Home
from tests.integration.conftest import fresh_database
from tests.integration.receivers import Receiver, receiving
from tests.integration.runtimes import SECRET as RUNTIME_SECRET
from tests.integration.runtimes import Runtime, running, until

AGENTS = Path(__file__).parent / "approval_agents"
SECRET = "whsec_YXBwcm92YWxzLWFwcHJvdmFscy1hcHByb3ZhbHMtMTI="


@dataclass
class Desk:
    """A runtime, the receiver of its notices, and the file of what its tools did."""

    runtime: Runtime
    receiver: Receiver
    file: Path

    def executed(self) -> list[str]:
        return self.file.read_text().splitlines() if self.file.exists() else []

    def ask(self, prompt: str, agent: str = "desk", count: int = 1) -> tuple[str, list[dict[str, Any]]]:
        """The id of a run that now waits, and its approvals as GET /approvals lists them."""
        self.file.unlink(missing_ok=True)
        run_id = self.runtime.send(str(uuid4()), {"input": prompt}, agent).json()["run_id"]
        until(lambda: self.runtime.ticket(run_id)["status"] in ("paused", "failed", "completed"), 20)
        assert self.runtime.ticket(run_id)["status"] == "paused"
        found = self.approvals(run_id)
        assert [approval["status"] for approval in found] == ["pending"] * count
        return run_id, found

    def approvals(self, run_id: str) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self.runtime.get(f"/approvals?run_id={run_id}").raise_for_status().json()["data"]
        return sorted(answer, key=lambda approval: approval["tool_name"])

    def post(self, approval_id: str, verb: str, body: Any = None, **more: Any) -> httpx.Response:
        url = f"{self.runtime.url}/approvals/{approval_id}/{verb}"
        return httpx.post(url, json=body, trust_env=False, timeout=20, **more)


def settings(receiver: Receiver, file: Path, **more: str) -> dict[str, str]:
    return {
        "AGENTS_DIR": str(AGENTS),
        "EXECUTED": str(file),
        "APPROVAL_WEBHOOK_URL": receiver.url,
        "APPROVAL_WEBHOOK_SECRET": SECRET,
        "APPROVAL_TIMEOUT_SECONDS": "7200",
        "PUBLIC_URL": "https://agents.example/",
        "TELEMETRY_MODE": "collector",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1",
        **more,
    }


@pytest.fixture(scope="module")
def desk(migrated_server: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    path = tmp_path_factory.mktemp("approvals")
    with fresh_database(migrated_server, "migrated") as url, receiving(SECRET) as receiver:
        with running(url, path / "log", **settings(receiver, path / "executed")) as runtime:
            yield Desk(runtime, receiver, path / "executed")
        assert "could not be seen to" not in (path / "log").read_text()


def test_a_run_waits_is_approved_and_goes_on(desk: Desk) -> None:
    desk.receiver.answers[:] = [500, 302]
    run_id, [approval] = desk.ask("[tool pay] 100 cents of A-1")
    asked = {"order_id": "A-1", "cents": 100}
    assert (approval["agent_id"], approval["tool_name"], approval["tool_args"]) == ("desk", "pay", asked)
    assert approval["expires_at"] - approval["created_at"] == 7200 and approval["run_id"] == run_id
    assert desk.executed() == []

    [notice] = until(lambda: desk.receiver.of(approval["id"], "approval.requested"), 20)
    ids = {i for i, body in desk.receiver.attempts if body["data"]["approval_id"] == approval["id"]}
    assert len(ids) == 1, "refused twice, sent again under the same id"
    assert (notice["run_id"], notice["agent_id"], notice["tool"], notice["arguments"]) == (run_id, "desk", "pay", asked)
    assert notice["links"]["approve"] == f"https://agents.example/approvals/{approval['id']}/approve"
    until(lambda: desk.runtime.metric("agno_approvals_pending", agent_id="desk") == 1, 30)

    answer = desk.post(approval["id"], "approve", {"by": "ann", "note": "fine"})
    assert answer.status_code == 200 and answer.json()["status"] == "approved"
    assert desk.runtime.ended(run_id)["status"] == "completed"
    assert desk.executed() == ["paid 100 A-1"]
    [told] = until(lambda: desk.receiver.of(approval["id"], "approval.resolved"), 30)
    assert (told["status"], told["by"], told["reason"]) == ("approved", "ann", "fine")
    assert desk.runtime.metric("agno_approval_wait_seconds_count", agent_id="desk", decision="approved") == 1
    until(lambda: desk.runtime.metric("agno_approvals_pending", agent_id="desk") == 0, 30)

    assert desk.post(approval["id"], "approve", {"by": "bob"}).json() == answer.json()
    conflict = desk.post(approval["id"], "reject")
    assert conflict.status_code == 409 and conflict.json()["decision"] == "approved"
    assert desk.post(approval["id"], "approve", {"arguments": {"cents": 1}}).status_code == 409
    assert desk.executed() == ["paid 100 A-1"]


def test_the_wait_is_a_span_in_the_trace_of_the_run(desk: Desk) -> None:
    run_id, [approval] = desk.ask("[tool pay] 100 cents of A-1")
    desk.post(approval["id"], "approve", {"arguments": {"cents": 7}})
    desk.runtime.ended(run_id)
    spans = "SELECT trace_id, attributes::jsonb FROM agno.agno_spans WHERE name = %s AND attributes::jsonb->>%s = %s"
    [(trace_id, attributes)] = until(lambda: desk.runtime.query(spans, "approval pay", "agno.run.id", run_id), 20)
    assert attributes["agno.approval.decision"] == "approved"
    assert json.loads(attributes["input.value"])["cents"] == 100
    assert json.loads(attributes["output.value"])["cents"] == 7
    until(lambda: len(desk.runtime.query(spans, "invoke_agent Desk", "agno.run.id", run_id)) == 2, 20)
    assert {row[0] for row in desk.runtime.query(spans, "invoke_agent Desk", "agno.run.id", run_id)} == {trace_id}


def test_a_rejected_tool_is_not_executed_and_the_model_hears_why(desk: Desk) -> None:
    run_id, [approval] = desk.ask("[tool pay] 100 cents of A-1")
    assert desk.post(approval["id"], "reject", {"reason": "too much", "by": "ann"}).status_code == 200
    assert desk.runtime.ended(run_id)["status"] == "completed"
    assert desk.executed() == [] and "pay says: too much" in content(desk, run_id)
    again = desk.post(approval["id"], "reject", {"reason": "another"})
    assert again.status_code == 200 and again.json()["reason"] == "too much"
    assert desk.post(approval["id"], "approve").status_code == 409


def test_arguments_can_be_changed(desk: Desk) -> None:
    run_id, [approval] = desk.ask("[tool pay] 100 cents of A-1")
    for arguments, field in (
        ({"cents": "many"}, "arguments.cents"),
        ({"cents": 501}, "arguments.cents"),
        ({"currency": "EUR"}, "arguments.currency"),
    ):
        refused = desk.post(approval["id"], "approve", {"arguments": arguments})
        assert (refused.status_code, refused.json()["field"]) == (422, field)
        assert refused.headers["content-type"] == "application/problem+json"
    answer = desk.post(approval["id"], "approve", {"arguments": {"cents": 50}})
    assert answer.json()["changed_arguments"] == {"order_id": "A-1", "cents": 50}
    assert desk.runtime.ended(run_id)["status"] == "completed"
    assert desk.executed() == ["paid 50 A-1"] and "paid 50 A-1" in content(desk, run_id)
    [shown] = desk.approvals(run_id)
    assert shown["tool_args"]["cents"] == 100 and shown["resolution_data"]["arguments"]["cents"] == 50


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 422), (b'{"argument": {}}', 422), (b'{"arguments": []}', 422), (b'{"by": 1}', 422)],
)
def test_what_cannot_be_read_is_a_problem(desk: Desk, body: bytes, status: int) -> None:
    url = f"{desk.runtime.url}/approvals/none/approve"
    refused = httpx.post(url, content=body, trust_env=False, timeout=20)
    assert refused.status_code == status and refused.json()["status"] == status


def test_an_unknown_approval_is_not_found(desk: Desk) -> None:
    assert desk.post("none", "approve").status_code == 404
    assert desk.post("no%00ne", "reject").status_code == 404


def test_agnos_resolve_makes_the_run_go_on_too(desk: Desk) -> None:
    run_id, [approval] = desk.ask("[tool mail] to a@b.c")
    assert desk.post(approval["id"], "resolve", {"status": "approved", "resolved_by": "ann"}).status_code == 200
    assert desk.runtime.ended(run_id)["status"] == "completed"
    assert len(desk.executed()) == 1
    assert desk.post(approval["id"], "resolve", {"status": "rejected"}).status_code == 409


def test_many_decide_at_once_and_one_wins(desk: Desk) -> None:
    run_id, [approval] = desk.ask("[tool pay] 100 cents of A-1")
    with ThreadPoolExecutor(20) as people:
        answers = list(people.map(lambda n: desk.post(approval["id"], ("approve", "reject")[n % 2]), range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [409] * 10
    won = desk.approvals(run_id)[0]["status"]
    assert desk.runtime.ended(run_id)["status"] == "completed"
    assert desk.executed() == (["paid 100 A-1"] if won == "approved" else [])


def test_each_tool_of_one_turn_is_decided_on_its_own(desk: Desk) -> None:
    run_id, [mail, pay] = desk.ask("please", "both", count=2)
    assert (mail["tool_name"], pay["tool_name"]) == ("mail", "pay")
    desk.post(pay["id"], "reject", {"reason": "no money"})
    time.sleep(1.5)
    assert desk.runtime.ticket(run_id)["status"] == "paused" and desk.executed() == []
    desk.post(mail["id"], "approve", {"arguments": {"address": "x@y.z"}})
    assert desk.runtime.ended(run_id)["status"] == "completed"
    assert desk.executed() == ["mailed x@y.z"]
    assert "pay says: no money" in content(desk, run_id)


@pytest.mark.parametrize(
    ("component", "prompt"), [("front", "Please pay 100 for A-1."), ("flow", "[tool pay] 100 A-1")]
)
def test_a_member_and_a_step_wait_as_an_agent_does(desk: Desk, component: str, prompt: str) -> None:
    run_id, [approval] = desk.ask(prompt, component)
    assert approval["agent_id"] == "desk" and approval["run_id"] != run_id
    [notice] = until(lambda: desk.receiver.of(approval["id"], "approval.requested"), 30)
    assert notice["run_id"] == run_id
    assert desk.post(approval["id"], "approve", {"arguments": {"cents": 5}}).status_code == 200
    assert desk.runtime.ended(run_id)["status"] == "completed"
    assert desk.executed() == ["paid 5 A-1"]
    run_id, [approval] = desk.ask(prompt, component)
    desk.post(approval["id"], "reject", {"reason": "no money"})
    assert desk.runtime.ended(run_id)["status"] == "completed"
    assert desk.executed() == [] and "no money" in content(desk, run_id)


def test_a_denied_tool_is_a_failed_call(desk: Desk) -> None:
    run_id = desk.runtime.send(str(uuid4()), {"input": "[tool shell] rm"}, "desk").json()["run_id"]
    assert desk.runtime.ended(run_id)["status"] == "completed"
    assert "the tool shell is denied by policy" in content(desk, run_id)
    spans = "SELECT status_code FROM agno.agno_spans WHERE name = %s"
    assert until(lambda: desk.runtime.query(spans, "execute_tool shell"), 20) == [("ERROR",)]
    assert desk.approvals(run_id) == []


def test_a_run_that_was_started_without_the_queue_goes_on_in_it(desk: Desk) -> None:
    form = {"message": "[tool pay] 100 cents of A-1", "stream": "false", "session_id": str(uuid4())}
    desk.file.unlink(missing_ok=True)
    paused = httpx.post(f"{desk.runtime.url}/agents/desk/runs", data=form, trust_env=False, timeout=20).json()
    assert paused["status"] == "PAUSED"
    [approval] = desk.approvals(paused["run_id"])
    assert desk.post(approval["id"], "approve").status_code == 200
    assert desk.runtime.ended(paused["run_id"])["status"] == "completed"
    assert desk.executed() == ["paid 100 A-1"]


def test_the_demo_approves_what_it_caused(desk: Desk) -> None:
    run_id, [approval] = desk.ask("[tool pay] 100 cents of A-1")

    async def approve() -> None:
        home: Any = SimpleNamespace(runtime_url=desk.runtime.url, webhook_secret=RUNTIME_SECRET)
        async with Sender(home) as sender:
            await sender.approve(Receipt(run_id, approval["session_id"], "", duplicate=False))

    asyncio.run(approve())
    assert desk.runtime.ended(run_id)["status"] == "completed" and desk.executed() == ["paid 100 A-1"]


def test_nothing_waits_for_the_approval_of_a_cancelled_run(desk: Desk) -> None:
    run_id, [approval] = desk.ask("[tool pay] 100 cents of A-1")
    httpx.post(f"{desk.runtime.url}/agents/desk/runs/{run_id}/cancel", trust_env=False, timeout=20).raise_for_status()
    until(lambda: desk.runtime.ticket(run_id)["status"] == "cancelled", 30)
    refused = desk.post(approval["id"], "approve")
    assert refused.status_code == 409 and "cancelled" in refused.json()["detail"]
    assert desk.executed() == []


def test_a_killed_runtime_tells_and_goes_on_exactly_once(migrated: str, tmp_path: Path) -> None:
    file = tmp_path / "executed"
    with receiving(SECRET) as receiver:
        receiver.answers[:] = [503] * 100
        with running(migrated, tmp_path / "log", **settings(receiver, file)) as runtime:
            desk = Desk(runtime, receiver, file)
            run_id, [approval] = desk.ask("[tool pay] 100 cents of A-1")
            between = "SELECT 1 FROM approval_notices WHERE next_at - now() BETWEEN interval '1s' AND interval '15s'"
            until(lambda: runtime.query(f"{between} AND last_error = 'status 503'"), 20)
            runtime.kill()  # between the pause and its notice
            receiver.answers.clear()
            runtime.start()
            [notice] = until(lambda: receiver.of(approval["id"], "approval.requested"), 45)
            assert notice["run_id"] == run_id and len({i for i, _ in receiver.attempts}) == 1

            # Between the decision and the continuation: what is committed is there, the rest never happened.
            runtime.kill()
            runtime.query(
                "WITH decided AS (UPDATE agno.agno_approvals SET status = 'approved' WHERE id = %s RETURNING id)"
                " UPDATE approval_waits SET decided_at = now(), decision = 'approved', through = 'ours',"
                " continue_at = now() WHERE approval_id IN (SELECT id FROM decided) RETURNING 1",
                approval["id"],
            )
            starting = ThreadPoolExecutor(1).submit(runtime.start)
            with running(migrated, tmp_path / "other", **settings(receiver, file)) as other:
                starting.result()
                assert runtime.ended(run_id)["status"] == "completed"
                expires_once(desk, other)
            assert Counter(desk.executed()) == {"paid 100 A-1": 1}


def expires_once(desk: Desk, other: Runtime) -> None:
    """Of two runtimes one rejects what nobody decided in time."""
    executed = desk.executed()
    run_id, [approval] = desk.ask("[tool pay] 200 cents of A-1")
    desk.file.write_text("\n".join(executed))
    desk.runtime.query("UPDATE approval_waits SET expires_at = now() WHERE decided_at IS NULL RETURNING 1")
    assert desk.runtime.ended(run_id)["status"] == "completed"
    assert "nobody decided within 2 hours" in content(desk, run_id)
    assert desk.approvals(run_id)[0]["status"] == "expired"
    assert desk.post(approval["id"], "approve").status_code == 409
    [told] = until(lambda: desk.receiver.of(approval["id"], "approval.resolved"), 30)
    assert told["status"] == "expired"
    time.sleep(1)
    counted = [r.metric("agno_approval_wait_seconds_count", decision="expired") for r in (desk.runtime, other)]
    assert sorted(counted) == [0, 1]
    assert len(desk.receiver.of(approval["id"], "approval.resolved")) == 1


def content(desk: Desk, run_id: str) -> str:
    [(data,)] = desk.runtime.query("SELECT run_data::text FROM agno.agno_runs WHERE run_id = %s", run_id)
    return str(data)
