"""The worker: claims tickets and has them executed on lanes, so that the server's loop never waits for a run.

Its threads, all daemons: `dispatcher` claims for the free lanes; `heartbeat` renews the leases of what runs; `lane-N`
executes one run at a time; `sweeper` fails tickets whose last attempt was lost and deletes old ones. How a claimed
ticket is executed is agno's (agno.os.job_queue.QueueWorker, 3.1.10): attempts, fences, run rows, retries, timeouts.
"""

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agno.job_queue.config import QueueConfig
from agno.os.job_queue import QueueWorker, resolve_stop_timeout
from agno.run.concurrency import set_cancellation_cause

from runtime.lanes import Lane
from runtime.resolver import Resolver

UNWIND_SECONDS = 3.0  # what a cancelled run may take to write down that it was
_CLEANUP_SECONDS = 3600
log = logging.getLogger(__name__)


class Tickets(Protocol):
    """What the worker's own threads ask of the store (runtime.queue.Queue), beside agno's contract."""

    def claim(
        self, worker_id: str, limit: int, lease_seconds: int, busy: Collection[str] = ()
    ) -> list[dict[str, Any]]: ...
    def heartbeat(self, worker_id: str, ids: Sequence[str]) -> int: ...


@dataclass(frozen=True)
class Running:
    component_id: str
    lane: Lane


class Worker(QueueWorker):
    """`config.max_concurrency` lanes (0: executes nothing). `agent_concurrency`: at most so many runs of a component
    at once in this process, by component id."""

    def __init__(
        self,
        queue: Any,
        resolve: Resolver,
        config: QueueConfig,
        agent_concurrency: Mapping[str, int],
        authorization_app: Any,
    ) -> None:
        super().__init__(
            queue,
            resolve,
            config,
            stop_timeout=resolve_stop_timeout(config),
            auto_provision=False,
            authorization_app=authorization_app,
        )
        self._tickets: Tickets = queue
        self._caps = dict(agent_concurrency)
        self._idle: list[Lane] = []
        self._runs: dict[str, Running] = {}  # by run id; this and the idle lanes are guarded by `_changed`
        self._changed = threading.Condition()
        self._wanted = False  # there may be more tickets than were claimed: a lane that gets free looks for them
        self._awake = threading.Event()
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._sweeper: Lane | None = None
        self._renewed = time.monotonic()

    def is_running(self, run_id: str) -> bool:
        """Whether this process executes it."""
        return run_id in self._runs

    def wake(self) -> None:
        """There is something to claim. From any thread."""
        self._awake.set()

    async def start(self) -> None:
        lanes = self.config.max_concurrency or 0
        if self._running or lanes <= 0:
            return
        self._running = True
        self._idle = [Lane(f"lane-{n}") for n in range(1, lanes + 1)]
        self._sweeper = Lane("sweeper")
        self._sweeper.run(self._sweep, lambda error: None)
        for name, work in (("heartbeat", self._beat), ("dispatcher", self._dispatch)):
            self._threads.append(threading.Thread(target=work, name=name, daemon=True))
            self._threads[-1].start()

    async def stop(self) -> None:
        """Claims nothing more, lets runs end for config.stop_timeout_seconds, gives the others' tickets back.

        Takes that long and UNWIND_SECONDS at most, and some. Idempotent.
        """
        if self._running:
            self._running = False
            await asyncio.to_thread(self._drain)

    def _dispatch(self) -> None:
        well = True
        while self._running:
            self._awake.clear()  # before the claim: who wakes during it is heard after it
            try:
                self._claim()
                well = True
            except Exception as error:
                if well:
                    log.warning("no tickets can be claimed until the queue is back: %s", error or type(error).__name__)
                well = False
            self._awake.wait(self.config.poll_interval)

    def _claim(self) -> None:
        while self._running:
            limit, busy = self._room()
            self._wanted = bool(busy) or limit == 0
            if limit == 0:
                return
            if time.monotonic() - self._renewed > self.config.lock_grace_seconds / 2:
                # Postgres was away for long: what runs here must not look as if nobody did
                self._renew()
            claimed = self._tickets.claim(self.worker_id, limit, self.config.lock_grace_seconds, busy)
            for job in claimed:
                self._begin(job)
            if len(claimed) < limit:
                return

    def _room(self) -> tuple[int, list[str]]:
        """How many tickets may be claimed now, whichever agents' they are, and of which agents none."""
        with self._changed:
            counts = Counter(run.component_id for run in self._runs.values())
            left = {agent: cap - counts[agent] for agent, cap in self._caps.items()}
            busy = [agent for agent, room in left.items() if room <= 0]
            return min([len(self._idle), *(room for room in left.values() if room > 0)]), busy

    def _begin(self, job: dict[str, Any]) -> None:
        run_id: str = job["id"]
        with self._changed:
            if run_id in self._runs:
                log.warning("the lease of run %s had run out while it runs here", run_id)
                return
            lane = self._idle.pop()
            self._runs[run_id] = Running(job["component_id"], lane)

        def ended(error: BaseException | None) -> None:
            if error is not None and not isinstance(error, asyncio.CancelledError):
                log.error("run %s could not be executed", run_id, exc_info=error)
            with self._changed:
                del self._runs[run_id]
                self._idle.append(lane)
                self._changed.notify_all()
            if self._wanted:
                self.wake()

        lane.run(lambda: self._execute_claimed(job), ended)

    def _beat(self) -> None:
        pause = interval = self.config.lock_grace_seconds / 3
        while not self._over.wait(pause):
            pause = interval
            try:
                self._renew()
            except Exception as error:
                log.warning("leases could not be renewed: %s", error or type(error).__name__)
                pause = 1.0

    def _renew(self) -> None:
        now = time.monotonic()
        if ids := list(self._runs):
            self._tickets.heartbeat(self.worker_id, ids)
        self._renewed = now

    async def _sweep(self) -> None:
        cleaned = time.monotonic()
        while True:
            await asyncio.sleep(self.config.lock_grace_seconds / 3)
            try:
                await self._sweep_exhausted()
                if time.monotonic() - cleaned > _CLEANUP_SECONDS:
                    cleaned = time.monotonic()
                    await self.store.cleanup_jobs(self.config.retention_seconds)
            except Exception as error:
                log.warning("lost tickets could not be looked for: %s", error or type(error).__name__)

    def _drain(self) -> None:
        self.wake()
        dispatcher = self._threads[-1]
        dispatcher.join(5)
        for run_id in list(self._runs):
            set_cancellation_cause(run_id, "drain")  # so that agno gives the ticket back rather than cancel the run
        if not self._ended_within(self.stop_timeout):
            for run_id, run in list(self._runs.items()):
                set_cancellation_cause(run_id, "drain")
                run.lane.cancel()
            if not self._ended_within(UNWIND_SECONDS):
                # Stuck in code that cannot be interrupted; the process ends without them.
                log.warning("left to their lease, because they do not stop: %s", ", ".join(self._runs))
        self._over.set()
        with self._changed:
            lanes = list(self._idle)
        if self._sweeper is not None:
            lanes.append(self._sweeper)
        for lane in lanes:
            lane.stop()
        for lane in lanes:
            lane.join(1)

    def _ended_within(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._runs, seconds)
