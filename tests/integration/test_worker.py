"""Runs in lanes and in processes of their own: what blocks, what streams, what is cancelled, and who executes what."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import httpx
import pytest

from stack.home import Home
from stack.process import PROJECT
from tests.integration.conftest import fresh_database
from tests.integration.runtimes import AGENTS, Runtime, until
from tests.integration.worked import marked, marks, serving, statuses, working, write_agents
from tests.servers import answering

_TOOLS = """
import os
import sys
from pathlib import Path

from agno.agent import Agent
from agno.models.openai import OpenAIChat
from agno.team import Team
from agno.tools.mcp import MCPTools
from agno.workflow import Step, Workflow

from runtime.offline import OfflineModel

server = Path(__file__).parent / "_mcp_server.py"


def tools() -> MCPTools:
    return MCPTools(command=f"{sys.executable} {server}")


asker = Agent(id="asker", name="Asker", model=OfflineModel(latency=0.02), tools=[tools()])
member = Agent(id="member", name="Member", model=OfflineModel(latency=0.02), tools=[tools()])
flow = Workflow(id="flow", name="Flow", steps=[Step(name="one", agent=member)])
remote = Agent(
    id="remote", name="Remote",
    model=OpenAIChat(id="m", api_key="x", base_url=os.environ["OPENAI_FAKE"], timeout=10, max_retries=0),
)
"""

_MCP_SERVER = """
from mcp.server import MCPServer

server = MCPServer("numbers")


@server.tool()
def double(number: int) -> int:
    "Doubles a number."
    return 2 * number


server.run("stdio")
"""


class FakeOpenAI(BaseHTTPRequestHandler):
    """Answers chat completions, and keeps connections open."""

    protocol_version = "HTTP/1.1"
    ports: ClassVar[Counter[int]] = Counter()  # requests by the client's port: by connection

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        FakeOpenAI.ports[self.client_address[1]] += 1
        time.sleep(0.02)
        message = {"role": "assistant", "content": "from afar"}
        body = json.dumps(
            {
                "id": "x",
                "object": "chat.completion",
                "created": 1,
                "model": "m",
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture(scope="module")
def database(migrated_server: Home) -> Iterator[str]:
    with fresh_database(migrated_server, "migrated") as url:
        yield url


@pytest.fixture(scope="module")
def fake_openai() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeOpenAI)
    server.daemon_threads = True
    with answering(server) as port:
        yield f"http://127.0.0.1:{port}/v1"


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = write_agents(tmp_path_factory.mktemp("agents"))
    (directory / "tools.py").write_text(_TOOLS)
    (directory / "_mcp_server.py").write_text(_MCP_SERVER)
    return directory


@pytest.fixture(scope="module")
def runtime(
    database: str, agents: Path, fake_openai: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runtime]:
    log = tmp_path_factory.mktemp("runtime") / "log"
    with serving(database, log, agents, OPENAI_FAKE=fake_openai) as runtime:
        yield runtime


def send(runtime: Runtime, name: str, prompt: str, agent: str = "worker") -> str:
    answer = runtime.send(f"{name}-{time.monotonic_ns()}", {"input": prompt}, agent)
    assert answer.status_code == 202, answer.text
    run_id: str = answer.json()["run_id"]
    return run_id


def post(runtime: Runtime, path: str, **form: str) -> httpx.Response:
    return httpx.post(f"{runtime.url}{path}", data=form, trust_env=False, timeout=20)


@pytest.mark.parametrize("tool", ["hold_the_loop", "hold"])
def test_health_answers_while_eight_runs_block(runtime: Runtime, agents: Path, tool: str) -> None:
    """With a p99 of 11 ms on a machine with nothing else to do. If a run could hold it back, it would be for ever."""
    (agents / "released").unlink(missing_ok=True)
    before = marked(agents, "tool").total()
    runs = [send(runtime, tool, f"[tool {tool}] please") for _ in range(8)]
    until(lambda: marked(agents, "tool").total() == before + 8, 60)
    with httpx.Client(base_url=runtime.url, trust_env=False, timeout=20) as client:
        for _ in range(100):
            assert client.get("/health").is_success
    assert statuses(runtime)["running"] == 8
    (agents / "released").touch()
    assert {runtime.ended(run)["status"] for run in runs} == {"completed"}


def test_one_model_serves_runs_on_many_loops(runtime: Runtime) -> None:
    """Connections belong to the loop that made them; with the client's own pool a quarter of these runs fails."""
    with ThreadPoolExecutor(8) as senders:
        runs = list(senders.map(lambda n: send(runtime, f"remote-{n}", "x", "remote"), range(32)))
    assert Counter(runtime.ended(run)["status"] for run in runs) == {"completed": 32}
    assert {runtime.ended(run)["attempt"] for run in runs} == {1}
    assert post(runtime, "/agents/remote/runs", message="x", stream="false").json()["content"] == "from afar"
    # agno makes a client for each of the first runs at once, and then all use the last one: two at most per lane
    assert len(FakeOpenAI.ports) <= 17 < sum(FakeOpenAI.ports.values()), "connections are kept"


@pytest.mark.parametrize("component", ["asker", "flow"])
def test_mcp_tools_work_on_every_lane_and_on_the_server(runtime: Runtime, component: str) -> None:
    runs = [send(runtime, f"mcp-{n}", "[tool double] 21 please", component) for n in range(4)]
    for run in runs:
        ticket = runtime.ended(run)
        assert (ticket["status"], ticket["attempt"]) == ("completed", 1), ticket
        assert "double says: 42" in runtime.get(ticket["links"]["run"]).json()["content"]
    if component == "asker":
        answer = post(runtime, "/agents/asker/runs", message="[tool double] 21 please", stream="false")
        assert "double says: 42" in answer.json()["content"]


def test_events_of_a_run_on_a_lane_arrive_live_and_in_order(runtime: Runtime) -> None:
    form = {"message": "[tool nap] 1 please and say a lot of words about it", "stream": "true", "background": "true"}
    events: list[tuple[float, dict[str, object]]] = []
    url = f"{runtime.url}/agents/worker/runs"
    with httpx.stream("POST", url, data=form, trust_env=False, timeout=30) as answer:
        assert answer.is_success
        for line in answer.iter_lines():
            if line.startswith("data: "):
                events.append((time.monotonic(), json.loads(line.removeprefix("data: "))))
    names = [event["event"] for _, event in events]
    assert names[0] == "RunStarted" and names[-1] == "RunCompleted"
    assert [event["event_index"] for _, event in events] == list(range(len(events)))
    at = {event["event"]: when for when, event in events}
    assert at["ToolCallCompleted"] - at["ToolCallStarted"] > 0.8, "each event when it happens, not all at the end"
    assert names.count("RunContent") > 1
    assert runtime.ended(str(events[0][1]["run_id"]))["status"] == "completed"


def test_a_run_on_a_lane_is_cancelled(runtime: Runtime) -> None:
    is_cancelled(runtime, "cancelled")


def test_the_routes_of_the_queue_are_there(runtime: Runtime) -> None:
    stats = runtime.get("/queue/stats").raise_for_status().json()
    assert stats["counts"]["completed"] > 0
    jobs = runtime.get("/queue/jobs?status=completed&limit=1").raise_for_status().json()
    assert jobs["data"][0]["status"] == "completed"
    assert runtime.get("/config").raise_for_status().json()["queue"]["durable"] is True
    assert not [path for path in runtime.get("/openapi.json").json()["paths"] if path == "/queue"]


def test_what_a_server_accepts_other_processes_execute(
    migrated: str, agents: Path, fake_openai: str, tmp_path: Path
) -> None:
    """Two of them, with at most two runs of `capped` each; one gets a SIGTERM meanwhile."""
    caps = {"AGENT_CONCURRENCY": '{"capped": 2}', "RUN_CONCURRENCY": "4", "OPENAI_FAKE": fake_openai}
    with serving(migrated, tmp_path / "serve", agents, RUN_CONCURRENCY="0", OPENAI_FAKE=fake_openai) as server:
        waiting = send(server, "waiting", "x")
        time.sleep(1.5)
        assert server.ticket(waiting)["status"] == "queued"
        with (
            working(migrated, tmp_path / "a", agents, **caps) as one,
            working(migrated, tmp_path / "b", agents, **caps),
        ):
            assert server.ended(waiting)["status"] == "completed"
            assert any(lasts(server) < 0.6 for _ in range(20)), "NOTIFY wakes a worker before it looks by itself"

            runs = [send(server, f"capped-{n}", "[tool nap] 1 please", "capped") for n in range(8)]
            runs += [send(server, f"free-{n}", "[tool nap] 1 please") for n in range(4)]
            seen: list[int] = []
            query = (
                "SELECT count(*) FROM tickets WHERE status = 'running' AND component_id = 'capped' GROUP BY locked_by"
            )
            while any(server.ticket(run)["status"] != "completed" for run in runs):
                seen += [count for (count,) in server.query(query)]
                time.sleep(0.05)
            assert max(seen) == 2
            assert len(marked(agents, "tool")) >= 2, "both processes had a part"

            streamed(server)
            is_cancelled(server, "from-afar")
            assert one.stop(20) == 0
            assert server.ended(send(server, "after", "x"))["status"] == "completed"


def lasts(server: Runtime) -> float:
    """Seconds from a run's webhook to its end."""
    began = time.monotonic()
    quick = send(server, "quick", "x")
    until(lambda: server.ticket(quick)["status"] == "completed", 30)
    return time.monotonic() - began


def streamed(server: Runtime) -> None:
    """Whoever watches a run that another process executes sees no events, but does not wait for ever."""
    form = {"message": "[tool nap] 1 please", "stream": "true", "background": "true"}
    began = time.monotonic()
    with httpx.stream("POST", f"{server.url}/agents/worker/runs", data=form, trust_env=False, timeout=30) as answer:
        assert answer.is_success
        for _ in answer.iter_lines():
            pass
    assert time.monotonic() - began < 20


def is_cancelled(server: Runtime, name: str) -> None:
    run = send(server, name, "[tool nap] [tool nap] 2 please")
    until(lambda: server.ticket(run)["status"] == "running", 30)
    time.sleep(0.5)
    assert post(server, f"/agents/worker/runs/{run}/cancel").is_success
    assert server.ended(run)["status"] == "cancelled"


def test_work_says_what_it_does_and_what_it_cannot(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "runtime", "work", "--help"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    for word in ("SIGTERM", "RUN_CONCURRENCY", "DATABASE_URL"):
        assert word in done.stdout
    idle = Runtime("postgresql://nobody@127.0.0.1:1/none", tmp_path / "log", {"RUN_CONCURRENCY": "0"})
    assert idle.command("work").wait(30) == 2
    assert "nothing to do" in idle.log.read_text()


def test_importing_the_runtime_starts_no_thread() -> None:
    code = "import threading, runtime.main, runtime.processes; print([t.name for t in threading.enumerate()])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env={**os.environ, "AGENTS_DIR": str(AGENTS)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['MainThread']"


def test_nothing_was_executed_twice(runtime: Runtime, agents: Path) -> None:
    assert runtime.query("SELECT count(*) FROM tickets WHERE attempt > 1") == [(0,)]
    assert marks(agents)
