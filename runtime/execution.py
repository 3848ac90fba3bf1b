"""Everything in a process that executes runs: the worker, and agno's globals made fit for runs on many loops."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agno.job_queue.config import QueueConfig
from agno.os.event_streams import set_event_stream
from agno.os.job_queue import set_active_queue_worker
from agno.run.cancel import set_cancellation_manager
from agno.run.concurrency import set_background_max_concurrency
from fastapi import FastAPI

from runtime import cancellation
from runtime.cancellation import Cancellations
from runtime.events import Events
from runtime.lanes import Threads
from runtime.listener import Listener
from runtime.queue import CHANNEL, Queue
from runtime.registry import LiveAgentOS, Registry
from runtime.resolver import Resolver
from runtime.settings import Settings
from runtime.worker import Worker


class RuntimeOS(LiveAgentOS):
    """An AgentOS with the routes of a durable queue, but without the worker that agno would start on the server's loop:
    agno asks for `queue` when it makes the lifespan, and again, later, when it makes the routes."""

    tickets: QueueConfig

    def _add_built_in_routes(self, app: FastAPI) -> None:
        self.queue = self.tickets
        super()._add_built_in_routes(app)


def queue_config(settings: Settings, queue: Queue) -> QueueConfig:
    return QueueConfig(
        durable=True,
        db=queue,
        max_concurrency=settings.run_concurrency,
        max_queue_depth=settings.queue_max_depth,
        max_attempts=settings.run_max_attempts,
        retry_delay_seconds=2,
        lock_grace_seconds=settings.lease_seconds,
        stop_timeout_seconds=settings.drain_seconds,
        poll_interval=1.0,  # for what no NOTIFY tells: retries that are due, leases that have run out
        retention_seconds=settings.delivery_retention_days * 86_400,
    )


def with_worker(app: FastAPI, agent_os: RuntimeOS, registry: Registry, queue: Queue, settings: Settings) -> FastAPI:
    """`app`, whose lifespan now has a worker, within AgentOS' own: that closes the databases, which runs need."""
    around = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with around(app):
            resolver = Resolver(registry.resolve, agent_os, app)
            worker = Worker(queue, resolver, agent_os.tickets, settings.agent_concurrency, app)
            async with _working(app, worker, queue, settings):
                yield

    app.router.lifespan_context = lifespan
    return app


@asynccontextmanager
async def _working(app: FastAPI, worker: Worker, queue: Queue, settings: Settings) -> AsyncIterator[None]:
    asyncio.get_running_loop().set_default_executor(Threads("server"))
    cancellations = Cancellations(settings.database_url)
    set_cancellation_manager(cancellations)
    set_event_stream(Events(queue.get_job))
    # Of runs in the background that are not in the queue (with attachments), which are executed on the server's loop
    set_background_max_concurrency(settings.run_concurrency or None)

    def cancel(run_id: str) -> None:
        if worker.is_running(run_id):
            cancellations.cancel_run(run_id)

    listener = Listener(
        settings.database_url, {CHANNEL: lambda _: worker.wake(), cancellation.CHANNEL: cancel}, worker.wake
    )
    app.state.queue_worker = worker
    set_active_queue_worker(worker)
    try:
        await worker.start()
        if settings.run_concurrency:
            listener.start()
        yield
    finally:
        await worker.stop()
        listener.stop()
        set_active_queue_worker(None)
