"""kill -9 of a worker in each state of a ticket: afterwards there is one completed run, and nothing is stuck."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import psycopg
import pytest

from stack import alone
from stack import postgres as embedded
from stack.home import Home
from tests.integration.conftest import fresh_database
from tests.integration.runtimes import Runtime, until
from tests.integration.worked import marked, serving, start_worker, statuses, working, write_agents


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_agents(tmp_path_factory.mktemp("agents"))


@pytest.fixture(scope="module")
def database(migrated_server: Home) -> Iterator[str]:
    with fresh_database(migrated_server, "migrated") as url:
        yield url


@pytest.fixture(scope="module")
def server(database: str, agents: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    log = tmp_path_factory.mktemp("server") / "log"
    with serving(database, log, agents, RUN_CONCURRENCY="0") as runtime:
        yield runtime


@pytest.fixture(scope="module")
def worker(database: str, agents: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    with working(database, tmp_path_factory.mktemp("worker") / "log", agents) as worker:
        yield worker


def send(server: Runtime, name: str, prompt: str, agent: str = "worker") -> str:
    run_id: str = server.send(name, {"input": prompt}, agent).json()["run_id"]
    return run_id


def completed(server: Runtime, run: str, attempt: int) -> None:
    ticket = server.ended(run, 40)
    assert (ticket["status"], ticket["attempt"]) == ("completed", attempt), ticket
    assert server.query("SELECT status FROM agno.agno_runs WHERE run_id = %s", run) == [("COMPLETED",)]
    assert not {"queued", "running", "paused"} & set(statuses(server))


def test_claimed_and_not_begun(server: Runtime, worker: Runtime, agents: Path) -> None:
    (agents / "slow").write_text("60")
    run = send(server, "claimed", "x", "slow")
    until(lambda: marked(agents, "copy"), 30)
    assert server.query("SELECT count(*) FROM agno.agno_runs WHERE run_id = %s", run) == [(0,)]
    worker.kill()
    (agents / "slow").unlink()
    start_worker(worker)
    completed(server, run, 2)


def test_in_a_model_call(server: Runtime, worker: Runtime) -> None:
    run = send(server, "model", "[slow 4] x")
    until(lambda: server.ticket(run)["status"] == "running", 30)
    time.sleep(0.5)
    worker.kill()
    start_worker(worker)
    completed(server, run, 2)


def test_in_a_tool(server: Runtime, worker: Runtime, agents: Path) -> None:
    before = marked(agents, "tool").total()
    run = send(server, "tool", "[tool block] 3 please")
    until(lambda: marked(agents, "tool").total() > before, 30)
    worker.kill()
    start_worker(worker)
    completed(server, run, 2)
    assert marked(agents, "tool").total() == before + 2


def test_between_the_end_of_the_run_and_that_of_its_ticket(server: Runtime, worker: Runtime, agents: Path) -> None:
    """The run is known to be complete, so that the second attempt only says so: nothing is executed twice."""
    before = marked(agents, "tool").total()
    run = send(server, "settle", "[tool nap] 1 please")
    until(lambda: server.ticket(run)["status"] == "running", 30)
    with psycopg.connect(server.database_url) as connection:
        connection.execute("SELECT FROM tickets WHERE id = %s FOR UPDATE", (run,))
        query = "SELECT status FROM agno.agno_runs WHERE run_id = %s"
        until(lambda: server.query(query, run) == [("COMPLETED",)], 30)
        worker.kill()
    start_worker(worker)
    completed(server, run, 2)
    assert marked(agents, "tool").total() == before + 1
    executed = "SELECT run_data #>> '{metadata, telemetry, attempt}' FROM agno.agno_runs WHERE run_id = %s"
    assert server.query(executed, run) == [("1",)], "by this stack verify knows whose span may be lost"


def test_paused(server: Runtime, worker: Runtime, agents: Path) -> None:
    """What waits for a person waits for no worker."""
    run = send(server, "paused", "[tool refund] ORD-7")
    until(lambda: server.ticket(run)["status"] == "paused", 30)
    worker.kill()
    time.sleep(4)
    assert server.ticket(run)["status"] == "paused"
    start_worker(worker)
    path = server.ticket(run)["links"]["run"]
    found = server.get(path).json()
    tools = [{**tool, "confirmed": True} for tool in found["tools"]]
    form = {"tools": httpx.Response(200, json=tools).text, "session_id": found["session_id"], "background": "true"}
    url = f"{server.url}/agents/worker/runs/{run}/continue"
    answer = httpx.post(url, data={**form, "stream": "false"}, trust_env=False, timeout=20)
    assert answer.is_success, answer.text
    completed(server, run, 2)
    assert marked(agents, "refund").total() == 1


def test_waiting_to_be_tried_again(server: Runtime, worker: Runtime) -> None:
    """The pauses have full jitter, from nothing to two seconds: one is taken that lasts."""
    waits = "SELECT FROM tickets WHERE id = %s AND status = 'queued' AND attempt = 1 AND available_at > now() + '0.5 s'"
    for number in range(20):
        run = send(server, f"again-{number}", "[fail-once] x")
        until(lambda run=run: server.query(waits, run) or server.ticket(run)["status"] == "completed", 20)  # type: ignore[misc]
        if server.query(waits, run):
            break
    worker.kill()
    assert server.ticket(run)["status"] == "queued"
    start_worker(worker)
    completed(server, run, 2)


def test_the_last_attempt_fails_visibly(server: Runtime, worker: Runtime) -> None:
    """A run whose processes die each time is not begun for ever."""
    run = send(server, "doomed", "[slow 60] x")
    for attempt in (1, 2, 3):
        until(lambda n=attempt: server.ticket(run)["attempt"] == n, 20)  # type: ignore[misc]
        until(lambda: server.ticket(run)["status"] == "running", 30)
        worker.kill()
        start_worker(worker)
    ticket = server.ended(run, 30)
    assert (ticket["status"], ticket["attempt"]) == ("failed", 3)
    assert "Worker lost" in ticket["error"]


def test_without_postgres_workers_wait_and_then_go_on(agents: Path, tmp_path: Path) -> None:
    """Under load: what was accepted is executed, each run once; what was not accepted was told so."""
    with alone.temporary_home() as home, ExitStack() as services:
        embedded.prepare(home)
        postgres = ExitStack()
        services.push(postgres)
        postgres.enter_context(alone.running(home, "postgres"))
        embedded.create_database(home)
        Runtime(home.database_url, tmp_path / "log").migrate()
        server = services.enter_context(serving(home.database_url, tmp_path / "log", agents, RUN_CONCURRENCY="0"))
        services.enter_context(working(home.database_url, tmp_path / "worker", agents, RUN_CONCURRENCY="4"))
        answers = [server.send(f"load-{n}", {"input": "[tool nap] 1 please"}, "worker") for n in range(20)]
        until(lambda: statuses(server)["completed"] > 0, 20)
        postgres.close()
        answers += [server.send(f"away-{n}", {"input": "x"}, "worker") for n in range(3)]
        assert server.get("/health").is_success
        postgres.enter_context(alone.running(home, "postgres"))
        until(lambda: server.send("back", {"input": "x"}, "worker").status_code in (200, 202), 20)
        accepted = [answer.json()["run_id"] for answer in answers if answer.status_code == 202]
        assert [answer.status_code for answer in answers] == [202] * 20 + [503] * 3
        until(lambda: statuses(server) == {"completed": 21}, 60)
        tickets = dict(server.query("SELECT id, status FROM tickets"))
        assert {tickets[run] for run in accepted} == {"completed"}
        rows = server.query("SELECT count(*), count(DISTINCT run_id) FROM agno.agno_runs WHERE status = 'COMPLETED'")
        assert rows == [(21, 21)]
        assert server.query("SELECT max(attempt) FROM tickets") == [(1,)], "who waits need not begin again"
