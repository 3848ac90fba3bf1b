"""What is loaded is what AgentOS serves, at once."""

import asyncio
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from agno.db.sqlite import SqliteDb
from fastapi import FastAPI
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from runtime import registry as registry_module
from runtime.registry import LiveAgentOS, Registry
from telemetry.metrics import Instruments
from tests.unit.test_loader import HEAD, agent

TEAM = HEAD + "pair = Team(id='pair', model=OfflineModel(), members=[Agent(id='member')])\n"
WORKFLOW = (
    HEAD
    + "steps = Workflow(id='steps', name='Steps', steps=[Step(name='s', agent=Agent(id='w', model=OfflineModel()))])"
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Served:
    """A registry published into an AgentOS that has no server: its application is called."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        base = FastAPI()
        base.add_api_route("/ours", lambda: "ours")
        self.registry = Registry(directory)
        self.agent_os = LiveAgentOS(
            db=SqliteDb(db_file=str(directory / "os.db")),
            agents=[],
            teams=[],
            workflows=[],
            base_app=base,
            on_route_conflict="preserve_base_app",
            telemetry=False,
        )
        self.registry.publish_to(self.agent_os)

    def start(self) -> "Served":
        self.registry.reload()
        self.app = self.agent_os.get_app()
        return self

    def write(self, **files: str) -> "Served":
        for name, text in files.items():
            (self.directory / f"{name}.py").write_text(text)
        return self

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://os") as client:
            return await client.get(path)

    async def ids(self, path: str) -> list[str]:
        return [item["id"] for item in (await self.get(path)).json()]


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path)


async def test_agent_os_serves_what_is_loaded(served: Served) -> None:
    served.write(one=agent("one"), pair=TEAM, steps=WORKFLOW).start()
    assert (await served.ids("/agents"), await served.ids("/teams"), await served.ids("/workflows")) == (
        ["one"],
        ["pair"],
        ["steps"],
    )
    served.write(one=agent("one", description="new"), two=agent("two"), pair=TEAM.replace("'pair'", "'trio'"))
    (served.directory / "steps.py").unlink()
    done = served.registry.reload()
    assert (done.added, done.changed, done.removed) == (["trio", "two"], ["one"], ["pair", "steps"])
    assert await served.ids("/agents") == ["one", "two"]
    assert (await served.get("/agents/one")).json()["description"] == "new"
    assert (await served.get("/teams/trio")).is_success
    assert (await served.get("/teams/pair")).status_code == (await served.get("/workflows/steps")).status_code == 404
    config = (await served.get("/config")).json()
    assert [[item["id"] for item in config[kind]] for kind in ("agents", "teams", "workflows")] == [
        ["one", "two"],
        ["trio"],
        [],
    ]
    listed = (await served.get("/registry?limit=100")).json()["data"]
    assert {item["id"] for item in listed if item["type"] in ("agent", "team", "workflow")} == {"one", "two", "trio"}
    assert (await served.get("/ours")).json() == "ours"
    assert (await served.get("/health")).is_success


async def test_what_is_new_is_as_if_it_had_been_there_from_the_start(served: Served) -> None:
    own = "from agno.db.in_memory import InMemoryDb\nown = InMemoryDb()\n"
    served.write(one=agent("one")).start()
    served.write(two=agent("two"), pair=TEAM, six=agent("six", own) + "six.db = own\n")
    served.registry.reload()
    values = {id: component.value for id, component in served.registry.components.items()}
    assert all(value.db is served.agent_os.db and value.store_events for id, value in values.items() if id != "six")
    assert values["six"].db is not served.agent_os.db and values["six"].db.id in served.agent_os.dbs
    assert values["pair"].members[0].model is values["pair"].model
    assert served.agent_os._agents is served.agent_os.agents


async def test_what_has_not_changed_is_left_alone(served: Served) -> None:
    served.write(one=agent("one"), two=agent("two")).start()
    before = served.registry.components["one"].value
    before.description = "by hand"
    served.write(two=agent("two", description="new"))
    assert served.registry.reload().changed == ["two"]
    assert served.registry.components["one"].value is before and served.agent_os.agents[0] is before


def test_each_run_has_a_copy(served: Served) -> None:
    served.write(one=agent("one")).start()
    first, second = served.registry.resolve("agent", "one"), served.registry.resolve("agent", "one")
    assert first is not second and first.id == "one"
    assert served.registry.resolve("team", "one") is served.registry.resolve("agent", "none") is None
    assert {attributes["kind"]: count for count, attributes in served.registry.counts()} == {
        "agent": 1,
        "team": 0,
        "workflow": 0,
    }


def test_reloads_are_counted_when_something_changed(served: Served) -> None:
    reader = InMemoryMetricReader()
    served.write(one=agent("one")).start()
    served.registry.instruments = Instruments(MeterProvider([reader]).get_meter("test"))

    def counted() -> dict[str, int]:
        data: Any = reader.get_metrics_data()
        metrics = data.resource_metrics[0].scope_metrics[0].metrics if data else []
        points = [
            point for metric in metrics if metric.name == "agno.agents.reloads" for point in metric.data.data_points
        ]
        return {point.attributes["outcome"]: point.value for point in points}

    served.registry.reload()
    assert counted() == {}
    served.write(one=agent("one", description="new")).registry.reload()
    assert counted() == {"ok": 1}
    served.write(one="broken(").registry.reload()
    served.registry.reload()  # still broken: nothing new
    assert counted() == {"ok": 1, "error": 1}
    served.write(one=agent("one", description="new")).registry.reload()
    assert counted() == {"ok": 2, "error": 1}


def test_reloads_are_made_one_at_a_time(served: Served) -> None:
    seen = "import threading, time\nthreading.busy = getattr(threading, 'busy', 0) + 1\nassert threading.busy == 1\n"
    seen += "time.sleep(0.05)\nthreading.busy -= 1\n"
    served.write(**{f"a{n}": agent(f"a{n}", seen) for n in range(8)}).start()
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(served.registry.reload())) for _ in range(4)]
    served.write(**{f"a{n}": agent(f"a{n}", seen, "new") for n in range(8)})
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(len(result.changed) for result in results) == [0, 0, 0, 8]
    assert not any(result.errors for result in results)


async def test_no_step_of_the_loop_sees_half(served: Served) -> None:
    """Each version has its number in every component; no look may see two numbers, or anything missing."""
    versions = [
        {
            "one": agent("one", description=v),
            "pair": TEAM + f"pair.description = {v!r}\n",
            f"only{v}": agent(f"only{v}", description=v),
        }
        for v in ("0", "1")
    ]
    served.write(**versions[0]).start()
    served.registry.serve_on(asyncio.get_running_loop())
    seen: Counter[str] = Counter()
    stop = False

    def reloads() -> None:
        nonlocal stop
        for n in range(1, 21):
            (served.directory / f"only{(n + 1) % 2}.py").unlink()
            served.write(**versions[n % 2]).registry.reload()
        stop = True

    thread = threading.Thread(target=reloads)
    thread.start()
    while not stop:
        found = [*served.agent_os.agents, *served.agent_os.teams]
        found += [component.value for component in served.registry.components.values()]
        assert len(found) == 6 and len({value.description for value in found}) == 1
        assert {value.id for value in found} == {"one", "pair", f"only{found[0].description}"}
        seen[found[0].description] += 1
        await asyncio.sleep(0)
    thread.join()
    assert set(seen) == {"0", "1"}


async def test_a_slow_import_stalls_nobody(served: Served) -> None:
    served.write(one=agent("one")).start()
    served.registry.serve_on(asyncio.get_running_loop())
    served.write(slow=agent("slow", "import time; time.sleep(3)"))
    began = time.monotonic()
    reload = asyncio.get_running_loop().run_in_executor(None, served.registry.reload)
    longest = 0.0
    while not reload.done():
        asked = time.monotonic()
        assert await served.ids("/agents") in (["one"], ["one", "slow"])
        longest = max(longest, time.monotonic() - asked)
        await asyncio.sleep(0.01)
    assert time.monotonic() - began >= 3 and longest < 2.5
    assert await served.ids("/agents") == ["one", "slow"]


async def test_a_blocked_loop_publishes_when_it_can(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "PUBLISH_SECONDS", 0.1)
    served.write(one=agent("one")).start()
    served.registry.serve_on(asyncio.get_running_loop())
    served.write(two=agent("two"))
    reload = asyncio.get_running_loop().run_in_executor(None, served.registry.reload)
    time.sleep(0.5)
    with pytest.raises(TimeoutError):
        await reload
    assert await served.ids("/agents") == ["one", "two"]
    assert served.registry.reload().added == []
