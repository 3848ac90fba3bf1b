"""Agents whose tools block, and what they write down, for the tests of workers."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.runtimes import Runtime, running, until

READY = "executing runs"
SETTINGS = {"LEASE_SECONDS": "3", "DRAIN_SECONDS": "2"}

_AGENTS = '''
import os
import signal
import time
from pathlib import Path

from agno.agent import Agent
from agno.tools import tool

from runtime.offline import OfflineModel

DIRECTORY = Path(__file__).parent


def mark(what: str) -> None:
    with (DIRECTORY / "marks").open("a") as marks:
        marks.write(f"{os.getpid()} {what}\\n")


def nap(number: float) -> str:
    """Sleeps in a thread."""
    mark("tool")
    time.sleep(number)
    return "slept"


async def block(number: float) -> str:
    """Blocks the loop that it runs on."""
    mark("tool")
    time.sleep(number)
    return "blocked"


def hold() -> str:
    """Waits in a thread for the file `released`."""
    mark("tool")
    while not (DIRECTORY / "released").exists():
        time.sleep(0.05)
    return "held"


async def hold_the_loop() -> str:
    """Blocks the loop that it runs on until there is the file `released`."""
    return hold()


async def count(number: float) -> str:
    """Keeps the interpreter busy."""
    mark("tool")
    end = time.monotonic() + number
    while time.monotonic() < end:
        sum(range(1000))
    return "counted"


def hang() -> str:
    """Never returns, whatever is asked of it."""
    mark("tool")
    while True:
        time.sleep(1)


@tool(requires_confirmation=True)
def refund(order: str) -> str:
    """Refunds."""
    mark("refund")
    return "refunded"


class Slow(Agent):
    """Its copy takes as long as the file `slow` says: a ticket that is claimed, and not begun."""

    def deep_copy(self, **more: object) -> Agent:
        mark("copy")
        slow = DIRECTORY / "slow"
        time.sleep(float(slow.read_text()) if slow.exists() else 0)
        return super().deep_copy(**more)


def model() -> OfflineModel:
    return OfflineModel(latency=0.02)


worker = Agent(id="worker", name="Worker", model=model(), tools=[nap, block, hold, hold_the_loop, count, hang, refund])
capped = Agent(id="capped", name="Capped", model=model(), tools=[nap])
slow = Slow(id="slow", name="Slow", model=model())
'''


def write_agents(directory: Path) -> Path:
    """The directory with the agents `worker`, `capped` and `slow`, made."""
    directory.mkdir(exist_ok=True)
    (directory / "workers.py").write_text(_AGENTS)
    return directory


def marks(directory: Path) -> list[tuple[int, str]]:
    """Process id and what, in order."""
    path = directory / "marks"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(pid), what) for pid, what in (line.split(maxsplit=1) for line in lines)]


def marked(directory: Path, what: str) -> Counter[int]:
    """How often in each process."""
    return Counter(pid for pid, said in marks(directory) if said == what)


def statuses(runtime: Runtime) -> Counter[str]:
    return Counter(dict(runtime.query("SELECT status, count(*) FROM tickets GROUP BY status")))


@contextmanager
def working(database_url: str, log: Path, agents: Path, **settings: str) -> Iterator[Runtime]:
    """A process of `python -m runtime work`, killed at the end if it still runs. It answers no requests."""
    worker = Runtime(database_url, log, {**SETTINGS, "AGENTS_DIR": str(agents), **settings})
    try:
        start_worker(worker)
        yield worker
    finally:
        if worker.process is not None and worker.process.poll() is None:
            worker.kill()


def start_worker(worker: Runtime) -> None:
    begun = worker.log.read_text().count(READY) if worker.log.exists() else 0
    worker.process = worker.command("work")
    until(lambda: worker.log.exists() and worker.log.read_text().count(READY) > begun, 60)


@contextmanager
def serving(database_url: str, log: Path, agents: Path, **settings: str) -> Iterator[Runtime]:
    with running(database_url, log, **{**SETTINGS, "AGENTS_DIR": str(agents), **settings}) as runtime:
        yield runtime
