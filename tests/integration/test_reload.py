"""Agent files change while a runtime serves: over HTTP, in runs, by git-sync, under load."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.reload import Agents, Load, measure
from stack.home import Home
from tests.integration.conftest import fresh_database
from tests.integration.runtimes import Runtime, running, until

SOON = 2.0  # seconds; a second is the promise, on a machine that has nothing else to do
AGENT = """
from agno.agent import Agent
from runtime.offline import OfflineModel
{more}
{id} = Agent(id={id!r}, name={id!r}, description={description!r}, model=OfflineModel(latency=0.0){arguments})
"""


@pytest.fixture(scope="module")
def serving(migrated_server: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Runtime, Path]]:
    agents = tmp_path_factory.mktemp("agents")
    save(agents, "stays")
    log = agents.with_name("log")
    with (
        fresh_database(migrated_server, "migrated") as url,
        running(
            url,
            log,
            AGENTS_DIR=str(agents),
            TELEMETRY_MODE="collector",
            OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1",
        ) as runtime,
    ):
        yield runtime, agents


@pytest.fixture
def runtime(serving: tuple[Runtime, Path]) -> Runtime:
    return serving[0]


@pytest.fixture
def agents(serving: tuple[Runtime, Path]) -> Path:
    return serving[1]


def save(agents: Path, id: str, description: str = "", more: str = "", arguments: str = "") -> None:
    text = AGENT.format(id=id, description=description, more=more, arguments=arguments)
    (agents / f"{id}.py").write_text(text)


def shows(runtime: Runtime, id: str, description: str) -> None:
    until(lambda: runtime.get(f"/agents/{id}").json().get("description") == description, SOON)


def file(runtime: Runtime, name: str) -> dict[str, Any]:
    return next(file for file in runtime.get("/admin/agents").json()["files"] if file["file"] == name)


def answer(runtime: Runtime, run_id: str) -> str:
    ticket = runtime.ended(run_id)
    assert ticket["status"] == "completed", ticket
    return str(runtime.get(ticket["links"]["run"]).json()["content"])


def test_a_new_file_is_served_everywhere_and_a_removed_one_nowhere(runtime: Runtime, agents: Path) -> None:
    save(agents, "fresh", "new")
    shows(runtime, "fresh", "new")
    assert "fresh" in [agent["id"] for agent in runtime.get("/agents").json()]
    assert "fresh" in [agent["id"] for agent in runtime.get("/config").json()["agents"]]
    accepted = runtime.send("fresh", {"input": "x"}, agent="fresh")
    assert accepted.status_code == 202 and answer(runtime, accepted.json()["run_id"])
    direct = httpx.post(f"{runtime.url}/agents/fresh/runs", data={"message": "x", "stream": "false"}, trust_env=False)
    assert direct.json()["status"] == "COMPLETED"
    queued = httpx.post(
        f"{runtime.url}/agents/fresh/runs",
        data={"message": "x", "stream": "false", "background": "true"},
        trust_env=False,
    )
    assert queued.status_code == 202 and answer(runtime, queued.json()["run_id"])
    assert runtime.metric("agno_agents_loaded", kind="agent") == 2
    (agents / "fresh.py").unlink()
    until(lambda: runtime.get("/agents/fresh").status_code == 404, SOON)
    assert runtime.send("gone", {"input": "x"}, agent="fresh").status_code == 404
    assert runtime.get("/api/metrics").is_success and runtime.get("/agents/stays").is_success
    assert runtime.metric("agno_agents_reloads_total", outcome="ok") >= 2


def test_a_broken_file_keeps_its_last_good_version(runtime: Runtime, agents: Path) -> None:
    save(agents, "careful", "good")
    shows(runtime, "careful", "good")
    before = file(runtime, "careful.py")
    assert before["components"] == [{"id": "careful", "kind": "agent"}]
    assert before["version"] == before["serving_version"] and not before["older_version_serves"]
    (agents / "careful.py").write_text("x = 1\nraise RuntimeError('oh no')\n")
    until(lambda: file(runtime, "careful.py")["error"], SOON)
    after = file(runtime, "careful.py")
    assert (after["error"]["message"], after["error"]["where"]) == ("RuntimeError: oh no", "careful.py:2")
    assert after["older_version_serves"] and after["serving_version"] == before["version"] != after["version"]
    assert after["loaded_at"] == before["loaded_at"]
    assert runtime.get("/agents/careful").json()["description"] == "good"
    assert runtime.send("careful", {"input": "x"}, agent="careful").status_code == 202
    assert runtime.metric("agno_agents_reloads_total", outcome="error") == 1
    assert runtime.metric("agno_agents_broken") == 1
    save(agents, "careful", "mended")
    shows(runtime, "careful", "mended")
    assert file(runtime, "careful.py")["error"] is None
    assert runtime.metric("agno_agents_broken") == 0


@pytest.mark.parametrize("way", ["queue", "http"])
def test_a_run_ends_with_the_code_it_began_with(runtime: Runtime, agents: Path, way: str) -> None:
    tool = "def look() -> str:\n    '''Looks.'''\n    from ._late import WORD\n    return 'seen by ' + WORD\n"
    (agents / "_late.py").write_text("WORD = 'old'\n")
    (agents / "_looking.py").write_text(tool)
    save(agents, "looker", "1", more="from ._looking import look", arguments=", tools=[look]")
    shows(runtime, "looker", "1")
    with ThreadPoolExecutor(1) as sender:
        if way == "queue":
            sent = runtime.send(f"old-{way}", {"input": "[slow 3] [tool look] x"}, agent="looker").json()["run_id"]
            until(lambda: runtime.ticket(sent)["status"] == "running", 30)
        else:
            data = {"message": "[slow 3] [tool look] x", "stream": "false"}
            url = f"{runtime.url}/agents/looker/runs"
            asked = sender.submit(lambda: httpx.post(url, data=data, trust_env=False, timeout=30).json()["content"])
            time.sleep(0.5)
        (agents / "_late.py").write_text("WORD = 'new'\n")
        (agents / "_looking.py").write_text(tool.replace("seen by", "spotted by"))
        save(agents, "looker", "2", more="from ._looking import look", arguments=", tools=[look]")
        shows(runtime, "looker", "2")
        old = answer(runtime, sent) if way == "queue" else asked.result()
    assert "seen by old" in old
    sent = runtime.send(f"new-{way}", {"input": "[tool look] x"}, agent="looker").json()["run_id"]
    assert "spotted by new" in answer(runtime, sent)


def test_a_slow_import_stalls_nobody(runtime: Runtime, agents: Path) -> None:
    busy = "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: sum(range(1000))\ntime.sleep(3)\n"
    save(agents, "slow", "here", more=busy)
    longest, began = 0.0, time.monotonic()
    while runtime.get("/agents/slow").status_code == 404:
        assert time.monotonic() - began < 20
        asked = time.monotonic()
        assert runtime.get("/health").is_success
        longest = max(longest, time.monotonic() - asked)
    assert time.monotonic() - began > 4
    assert longest < 4, "it would be five on the loop of the server"
    (agents / "slow.py").unlink()


def test_a_changed_env_file_is_read_again(runtime: Runtime, agents: Path) -> None:
    save(agents, "reader", "", more="import os\nword = os.environ.get('RELOAD_WORD', '-')", arguments="")
    with (agents / "reader.py").open("a") as text:
        text.write("reader.description = word\n")
    shows(runtime, "reader", "-")
    (agents / ".env").write_text("RELOAD_WORD=hello\n")
    shows(runtime, "reader", "hello")


def test_git_sync_and_saves_under_load_fail_no_request(migrated: str, tmp_path: Path) -> None:
    laid_out = Agents(tmp_path / "git")
    settings = {"AGENTS_DIR": str(laid_out.directory), "QUEUE_MAX_DEPTH": "100000"}
    with running(migrated, tmp_path / "log", **settings) as runtime, Load(runtime.url).running() as load:
        measure(runtime.url, laid_out, reloads=20)
    assert load.failures == [] and load.requests > 50
    assert not os.path.lexists(tmp_path / "git" / "tmp-link")
    assert "cannot be loaded" not in (tmp_path / "log").read_text()
