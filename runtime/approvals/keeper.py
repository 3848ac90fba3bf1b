"""The thread that sees to approvals: what nobody decided in time, runs that may go on, notices to send."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from agno.db.base import BaseDb
from agno.os.job_queue import QueueWorker
from sqlalchemy.exc import SQLAlchemyError

from runtime.approvals import records
from runtime.approvals.continuation import go_on
from runtime.approvals.measures import measure
from runtime.approvals.notices import Sender
from runtime.approvals.records import Records
from runtime.approvals.store import Decision, Notice, Store
from runtime.connections import UNAVAILABLE
from runtime.settings import Settings
from telemetry import secrets
from telemetry.pipeline import Telemetry

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
_PRUNE_SECONDS = 3600.0
_AWAY: tuple[type[Exception], ...] = (*UNAVAILABLE, SQLAlchemyError)


class Keeper:
    """One daemon thread with a loop of its own, one per process; any number of processes share the work.

    `worker`: the queue's worker, once there is one. `sender`: None sends nothing.
    """

    def __init__(
        self,
        store: Store,
        database: BaseDb,
        worker: Callable[[], QueueWorker | None],
        sender: Callable[[], Sender] | None = None,
    ) -> None:
        self._store = store
        self._database = database
        self._worker = worker
        self._make_sender = sender
        self._loop = asyncio.new_event_loop()
        self._wakes: list[asyncio.Event] = []
        self._thread = threading.Thread(target=self._live, name="approvals", daemon=True)
        store.on_change = self.wake

    def start(self) -> None:
        self._store.open()
        self._thread.start()

    def wake(self) -> None:
        """From any thread."""
        with suppress(RuntimeError):  # it has stopped
            self._loop.call_soon_threadsafe(self._set)

    def _set(self) -> None:
        for event in self._wakes:
            event.set()

    def stop(self, seconds: float = 3.0) -> None:
        """What is not done then is done by another process, or after the restart."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._cancel)
        self._thread.join(seconds)
        records.uninstall()
        self._store.close()

    def _cancel(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._work())
        self._loop.close()

    async def _work(self) -> None:
        tasks = [self._again(self._decide), self._again(self._continue)]
        sender = self._make_sender() if self._make_sender is not None else None
        if sender is not None:
            tasks.append(self._again(lambda: self._send(sender)))
        try:
            await asyncio.gather(*tasks)
        finally:
            if sender is not None:
                await sender.close()

    async def _again(self, step: Callable[[], object]) -> None:
        """Does it whenever there is reason to, and each second; an absent Postgres is waited for."""
        wake = asyncio.Event()
        self._wakes.append(wake)
        well = True
        while True:
            wake.clear()
            try:
                await step()  # type: ignore[misc]
                well = True
            except _AWAY as error:
                if well:
                    log.warning("approvals wait until Postgres is back: %s", error or type(error).__name__)
                well = False
            except Exception:
                log.exception("approvals could not be seen to")
            with suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), POLL_SECONDS)

    async def _decide(self) -> None:
        for approval_id in self._store.overdue():
            reason = f"nobody decided within {_words(self._store.timeout_seconds)}"
            decision = Decision("expired", "timeout", reason=reason, data={"reason": reason})
            if self._store.decide(approval_id, decision) is not None:
                log.warning("approval %s has expired: %s", approval_id, reason)

    async def _continue(self) -> None:
        worker = self._worker()
        if worker is None:
            return
        later = False
        for run_id in self._store.due():
            with self._store.going_on(run_id) as found:
                if found is None:
                    continue
                waiting, end = found
                done = await go_on(waiting, self._database, worker)
                end(done)
                later = later or not done
        if later:  # the pause is being written down: a moment, not a second
            self._loop.call_later(0.1, self.wake)

    async def _send(self, sender: Sender) -> None:
        await self._prune()
        while claimed := self._store.claim_notices():
            await asyncio.gather(*(self._send_one(sender, notice) for notice in claimed))

    async def _send_one(self, sender: Sender, notice: Notice) -> None:
        error = await sender.send(notice.id, notice.body)
        if error is None:
            self._store.delivered(notice)
        elif self._store.not_delivered(notice, error):
            log.error("notice %s of approval %s is given up: %s", notice.id, notice.approval_id, error)
        elif notice.attempt == 1:
            log.warning("notice %s of approval %s was not taken: %s", notice.id, notice.approval_id, error)

    _pruned = 0.0

    async def _prune(self) -> None:
        if time.monotonic() - self._pruned > _PRUNE_SECONDS:
            self._pruned = time.monotonic()
            self._store.prune()


def _words(seconds: int) -> str:
    for unit, size in (("hour", 3600), ("minute", 60)):
        if seconds % size == 0:
            return f"{seconds // size} {unit}{'s' if seconds != size else ''}"
    return f"{seconds} second{'s' if seconds != 1 else ''}"


def start(
    settings: Settings, database: Records, telemetry: Telemetry, worker: Callable[[], QueueWorker | None]
) -> tuple[Store, Keeper]:
    """Approvals of the runs that this process executes, answers for or sees to. Call it in the lifespan.

    Raises RuntimeError when agno changed under us.
    """
    url, secret = settings.approval_webhook_url, settings.approval_webhook_secret or settings.webhook_secret
    base_url = secrets.address(settings.public_url or "") or f"http://{settings.runtime_host}:{settings.runtime_port}"
    store = Store(settings.database_url, settings.approval_timeout_seconds, base_url, notify=url is not None)
    records.install(store)
    measure(store, telemetry)
    database.approvals = store
    keeper = Keeper(store, database, worker, (lambda: Sender(url, secret.split()[0])) if url and secret else None)
    keeper.start()
    return store, keeper
