"""SIGTERM: nothing more is claimed, runs may end, what does not end is another's, and the process is gone in time."""

import signal
import time
from pathlib import Path

import httpx
import pytest

from tests.integration.runtimes import Runtime, until
from tests.integration.worked import marked, serving, working, write_agents


@pytest.fixture
def agents(tmp_path: Path) -> Path:
    return write_agents(tmp_path / "agents")


def send(runtime: Runtime, name: str, prompt: str) -> str:
    run_id: str = runtime.send(name, {"input": prompt}, "worker").json()["run_id"]
    return run_id


def tickets(runtime: Runtime) -> dict[str, tuple[str, int]]:
    return {
        run_id: (status, attempt)
        for run_id, status, attempt in runtime.query("SELECT id, status, attempt FROM tickets")
    }


def test_a_server_that_ends(migrated: str, agents: Path, tmp_path: Path) -> None:
    """It answers while runs end. One run ends in time; one is interrupted; one waits; a hanging tool keeps nobody."""
    with serving(
        migrated, tmp_path / "log", agents, RUN_CONCURRENCY="3", LEASE_SECONDS="8", DRAIN_SECONDS="6"
    ) as server:
        short = send(server, "short", "[tool nap] 5 please")
        long = send(server, "long", "[slow 300] x")
        hangs = send(server, "hangs", "[tool hang] x")
        until(lambda: [status for status, _ in tickets(server).values()] == ["running"] * 3, 30)
        until(lambda: marked(agents, "tool").total() == 2, 30)
        waits = send(server, "waits", "x")

        assert server.process is not None
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        answered = 0
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            while server.ticket(short)["status"] == "running":
                assert client.get("/health").is_success
                answered += 1
                time.sleep(0.05)
        assert answered > 1
        late = send(server, "late", "x")
        assert server.process.wait(20) == 0
        assert time.monotonic() - began < 15
        assert tickets(server) == {
            short: ("completed", 1),
            long: ("queued", 1),
            hangs: ("queued", 1),
            waits: ("queued", 0),
            late: ("queued", 0),
        }
        text = server.log.read_text()
        assert "Traceback" not in text.split("Shutting down")[-1], text

    with working(migrated, tmp_path / "next", agents, RUN_CONCURRENCY="3") as worker:
        until(lambda: tickets(worker)[waits] == tickets(worker)[late] == ("completed", 1), 20)
        until(lambda: tickets(worker)[long] == tickets(worker)[hangs] == ("running", 2), 20)


def test_a_worker_whose_thread_does_not_stop(migrated: str, agents: Path, tmp_path: Path) -> None:
    """It blocks its loop, so that nothing can be told to it: the ticket is left to its lease, and nobody else begins
    it before the process has ended."""
    with serving(migrated, tmp_path / "serve", agents, RUN_CONCURRENCY="0") as server:
        with working(migrated, tmp_path / "a", agents) as worker:
            stuck = send(server, "stuck", "[tool block] 12 please")
            until(lambda: marked(agents, "tool").total() == 1, 30)
            began = time.monotonic()
            assert worker.stop(20) == 0
            assert time.monotonic() - began < 12
            assert "left to their lease" in worker.log.read_text()
            assert tickets(server)[stuck] == ("running", 1)
        with working(migrated, tmp_path / "b", agents):
            until(lambda: tickets(server)[stuck] == ("completed", 2), 40)
        assert marked(agents, "tool").total() == 2
