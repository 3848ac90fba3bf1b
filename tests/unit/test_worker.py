"""The worker on agno's queue in memory: lanes, limits per agent, drains. (With processes: tests/integration.)"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from agno.agent import Agent
from agno.db.schemas.jobs import QueuedJob
from agno.job_queue.config import QueueConfig
from agno.job_queue.store import InMemoryQueueStore
from agno.run.cancel import get_cancellation_manager, set_cancellation_manager
from agno.tools.mcp import MCPTools
from agno.workflow import Step, Workflow

from runtime import mcp_tools
from runtime.cancellation import Cancellations
from runtime.events import Events
from runtime.lanes import Lane, Threads
from runtime.offline import OfflineModel
from runtime.worker import Worker
from telemetry import semconv
from tests.unit.conftest import Recorded

SECONDS = 10.0


class ThreadLock:
    """agno's store in memory holds its lock without awaiting anything, so that this one serves several loops."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    async def __aenter__(self) -> None:
        self._lock.acquire()

    async def __aexit__(self, *error: object) -> None:
        self._lock.release()


class MemoryQueue(InMemoryQueueStore):
    """What runtime.queue.Queue adds to agno's contract."""

    def __init__(self) -> None:
        super().__init__()
        self._lock: Any = ThreadLock()
        self.beats: list[list[str]] = []
        self.claims = 0

    def claim(self, worker_id: str, limit: int, lease_seconds: int, busy: Collection[str] = ()) -> list[dict[str, Any]]:
        self.claims += 1
        jobs = []
        for job in self._jobs.values():  # agno's claim passes over another deployment's
            job["deployment_id"] = "other" if job["component_id"] in busy else None
        while len(jobs) < limit and (claimed := asyncio.run(self.claim_job(worker_id, lease_seconds))):
            jobs.append(claimed)
        return jobs

    def heartbeat(self, worker_id: str, ids: Sequence[str]) -> int:
        self.beats.append(list(ids))
        return len(ids)

    def add(self, run_id: str, agent_id: str, prompt: str = "x", **more: Any) -> None:
        context = {semconv.TICKET_CONTEXT: {"traceparent": f"00-{trace_id(run_id)}-b7ad6b7169203331-01"}}
        payload = {"input": prompt, "kwargs": {"metadata": context}}
        job = QueuedJob(
            id=run_id, component_type="agent", component_id=agent_id, session_id=run_id, payload=payload, **more
        )
        asyncio.run(self.enqueue_job(job.to_dict()))

    def statuses(self) -> Counter[str]:
        return Counter(job["status"] for job in self._jobs.values())


def trace_id(run_id: str) -> str:
    return format(int.from_bytes(run_id.encode()), "032x")


def agent(agent_id: str, **options: Any) -> Agent:
    return Agent(id=agent_id, name=agent_id, model=OfflineModel(latency=0), telemetry=False, **options)


@contextmanager
def working(
    queue: MemoryQueue,
    *agents: Agent,
    lanes: int = 2,
    caps: dict[str, int] | None = None,
    **config: Any,
) -> Iterator[Worker]:
    known = {each.id: each for each in agents}

    async def resolve(kind: str, component_id: str, scope: Any = None) -> Any:
        return known[component_id].deep_copy() if component_id in known else None

    settings = {"lock_grace_seconds": 3, "stop_timeout_seconds": 1, "poll_interval": 0.05, "retry_delay_seconds": 0}
    worker = Worker(queue, resolve, QueueConfig(max_concurrency=lanes, **{**settings, **config}), caps or {}, None)  # type: ignore[arg-type]
    asyncio.run(worker.start())
    yield worker
    asyncio.run(worker.stop())


def until(condition: Callable[[], Any], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def cancellations() -> Iterator[Cancellations]:
    before = get_cancellation_manager()
    ours = Cancellations("postgresql://nobody@127.0.0.1:1/none")
    set_cancellation_manager(ours)
    yield ours
    set_cancellation_manager(before)


def test_runs_that_block_their_thread_run_side_by_side() -> None:
    """Each blocks until all four are there."""
    barrier = threading.Barrier(4)

    async def meet() -> str:
        """Meets."""
        barrier.wait(SECONDS)
        return "met"

    queue = MemoryQueue()
    for n in range(4):
        queue.add(f"r{n}", "a", "[tool meet] go")
    with working(queue, agent("a", tools=[meet]), lanes=4):
        until(lambda: queue.statuses() == {"completed": 4})
    assert not barrier.broken


def test_an_agent_has_at_most_as_many_runs_as_it_may() -> None:
    running, most = Counter[str](), Counter[str]()
    lock = threading.Lock()

    def tool(agent_id: str) -> Callable[[], Awaitable[str]]:
        async def work() -> str:
            """Works."""
            with lock:
                running[agent_id] += 1
                most[agent_id] = max(most[agent_id], running[agent_id])
            time.sleep(0.1)
            with lock:
                running[agent_id] -= 1
            return "done"

        return work

    queue = MemoryQueue()
    for n in range(8):
        queue.add(f"two-{n}", "two", "[tool work] go")
        queue.add(f"free-{n}", "free", "[tool work] go")
    queue.add("never", "none", "[tool work] go")
    agents = [agent(name, tools=[tool(name)]) for name in ("two", "free", "none")]
    with working(queue, *agents, lanes=6, caps={"two": 2, "none": 0}):
        until(lambda: queue.statuses() == {"completed": 16, "queued": 1})
    assert most["two"] == 2 and most["free"] > 2 and most["none"] == 0


def test_a_wake_is_heard_at_once_and_a_backlog_needs_none() -> None:
    queue = MemoryQueue()
    with working(queue, agent("a"), poll_interval=60.0) as worker:
        until(lambda: queue.claims > 0)
        for n in range(10):
            queue.add(f"r{n}", "a")
        worker.wake()
        until(lambda: queue.statuses() == {"completed": 10})


def test_leases_are_renewed_while_a_run_blocks() -> None:
    queue = MemoryQueue()
    queue.add("r", "a", "[tool block] go")

    async def block() -> str:
        """Blocks the loop of the lane."""
        time.sleep(2.5)
        return "done"

    with working(queue, agent("a", tools=[block])):
        until(lambda: queue.statuses() == {"completed": 1})
    assert queue.beats and all(beat == ["r"] for beat in queue.beats)


def test_a_drain_lets_runs_end_and_gives_the_others_back() -> None:
    queue = MemoryQueue()
    queue.add("1-short", "a", "[slow 0.5] x", max_attempts=2)
    queue.add("2-long", "a", "[slow 60] x", max_attempts=2)
    queue.add("3-later", "a")
    with working(queue, agent("a")):
        until(lambda: queue.statuses() == {"running": 2, "queued": 1})
        began = time.monotonic()
    assert time.monotonic() - began < 20
    statuses = {id: job["status"] for id, job in queue._jobs.items()}
    assert statuses == {"1-short": "completed", "2-long": "queued", "3-later": "queued"}
    assert (queue._jobs["2-long"]["attempt"], queue._jobs["3-later"]["attempt"]) == (1, 0)


def test_a_thread_that_does_not_stop_is_left_to_its_lease() -> None:
    queue = MemoryQueue()
    queue.add("stuck", "a", "[tool block] go", max_attempts=2)
    release = threading.Event()

    async def block() -> str:
        """Blocks the loop of the lane."""
        release.wait(SECONDS)
        return "done"

    with working(queue, agent("a", tools=[block])):
        until(lambda: queue.statuses() == {"running": 1})
        time.sleep(0.2)
        began = time.monotonic()
    try:
        assert 1 < time.monotonic() - began < 7
        assert queue.statuses() == {"running": 1}, "nobody else may begin it while it may still run"
    finally:
        release.set()
        until(lambda: queue.statuses() != {"running": 1})


def test_attempts_that_fail_are_not_repeated_in_lockstep() -> None:
    with working(MemoryQueue(), lanes=1, retry_delay_seconds=2) as worker:
        delays = Counter(worker._retry_delay(3) for _ in range(100))
    assert set(delays) <= set(range(9)) and max(delays.values()) < 40, "uniform between 0 and 2 * 2 ** 2 seconds"


def test_a_process_may_execute_nothing() -> None:
    queue = MemoryQueue()
    queue.add("r", "a")
    before = {*threading.enumerate()}  # some of other tests', which may end meanwhile
    with working(queue, agent("a"), lanes=0) as worker:
        worker.wake()
        time.sleep(0.2)
        assert {*threading.enumerate()} <= before, "something was started"
    assert queue.statuses() == {"queued": 1} and queue.claims == 0


def test_traces_do_not_mix(recorded: Recorded) -> None:
    """Eight runs at once on eight lanes: each span is in the trace of its run's ticket, below its run."""
    barrier = threading.Barrier(8)

    def meet() -> str:
        """Meets. A plain function: agno calls it in a thread of the lane's executor."""
        barrier.wait(SECONDS)
        return "met"

    queue = MemoryQueue()
    for n in range(8):
        queue.add(f"r{n}", "a", "[tool meet] go")
    with working(queue, agent("a", tools=[meet]), lanes=8):
        until(lambda: queue.statuses() == {"completed": 8})
    for n in range(8):
        mine = [s for s in recorded.all() if s.attributes[semconv.RUN_ID] == f"r{n}"]
        assert sorted(s.name.split()[0] for s in mine) == ["chat", "chat", "execute_tool", "invoke_agent"]
        assert {format(s.context.trace_id, "032x") for s in mine} == {trace_id(f"r{n}")}
        (top,) = (s for s in mine if s.name.startswith("invoke_agent"))
        assert {s.parent.span_id for s in mine if s is not top} == {top.context.span_id}


def test_a_run_on_a_lane_can_be_cancelled(cancellations: Cancellations) -> None:
    queue = MemoryQueue()
    queue.add("r", "a", "[slow 1] [tool count] [tool count] x")

    def count() -> str:
        """Counts."""
        return "1"

    with working(queue, agent("a", tools=[count])) as worker:
        until(lambda: worker.is_running("r") and "r" in cancellations.get_active_runs())
        assert asyncio.run(cancellations.acancel_run("r"))
        until(lambda: queue.statuses() == {"cancelled": 1})


def test_cancellations_hold_from_many_loops(cancellations: Cancellations) -> None:
    """With agno's own manager, loops in threads wait for ever for each other's lock."""

    async def churn(name: str) -> None:
        for n in range(300):
            await cancellations.aregister_run(f"{name}-{n}")
            assert not await cancellations.ais_cancelled(f"{name}-{n}")
            await cancellations.acleanup_run(f"{name}-{n}")

    threads = [threading.Thread(target=lambda n=n: asyncio.run(churn(f"t{n}")), daemon=True) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert not any(thread.is_alive() for thread in threads)


def test_events_of_a_lane_reach_who_watches_on_another_loop() -> None:
    lane = Lane("publisher")

    async def watch() -> list[int]:
        async def no_ticket(run_id: str) -> None:
            return None

        events = Events(no_ticket)
        loop = asyncio.get_running_loop()
        watching = loop.create_task(consume(events))
        await asyncio.sleep(0.05)
        failed: list[BaseException | None] = []
        lane.run(lambda: publish(events), failed.append)
        seen = await asyncio.wait_for(watching, SECONDS)
        assert failed in ([], [None])
        return seen

    async def consume(events: Events) -> list[int]:
        return [index async for index, _ in events.tail("r")]

    async def publish(events: Events) -> None:
        from agno.run.agent import RunContentEvent
        from agno.run.base import RunStatus

        for n in range(200):
            assert await events.add_event("r", RunContentEvent(content=str(n), run_id="r")) == n
        await events.complete_run("r", RunStatus.completed)

    assert asyncio.run(watch()) == list(range(200))
    lane.stop()
    assert lane.join(SECONDS)


def test_threads_are_daemons_and_are_used_again() -> None:
    threads = Threads("test")
    release = threading.Event()
    waiting = [threads.submit(release.wait, SECONDS) for _ in range(3)]
    names = {t.ident for t in threading.enumerate() if t.name == "test-call"}
    assert len(names) == 3 and all(t.daemon for t in threading.enumerate() if t.name == "test-call")
    release.set()
    assert [each.result(SECONDS) for each in waiting] == [True] * 3
    until(lambda: threads._idle == 3)
    assert threads.submit(threading.get_ident).result(SECONDS) in names
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 / 0).result(SECONDS)


def test_each_run_has_mcp_tools_of_its_own_wherever_they_are() -> None:
    tools = MCPTools(command="true")
    tools._initialized, tools._session_context, tools.session = True, object(), object()  # type: ignore[assignment]
    flow = Workflow(id="flow", steps=[Step(name="one", agent=agent("a", tools=[tools]))])
    copied = flow.deep_copy()
    mcp_tools.disconnect(copied)
    (mine,) = copied.steps[0].agent.tools  # type: ignore[index,union-attr]
    assert mine is not tools and not mine.initialized and mine.session is None
    assert flow.steps[0].agent.tools == [tools] and tools.initialized  # type: ignore[index,union-attr]
