"""The composition root: settings -> agents -> AgentOS -> app; all else begins in the lifespan."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from agno.os.config import AuthorizationConfig
from agno.os.settings import AgnoAPISettings
from fastapi import FastAPI

from runtime import admin, auth, clients, observability, problems, replica, webhook_docs, webhooks
from runtime.approvals import keeper as approvals
from runtime.approvals import routes as approval_routes
from runtime.context import Context
from runtime.database import Database
from runtime.deliveries import Deliveries
from runtime.execution import RuntimeOS, queue_config, with_worker
from runtime.gauges import Gauges
from runtime.processes import FLUSH_SECONDS
from runtime.queue import Queue
from runtime.registry import Registry
from runtime.runs import Runs
from runtime.settings import Settings
from runtime.signatures import Signatures
from runtime.throttle import Throttle
from runtime.watcher import Watcher
from telemetry import pipeline, recorder

if TYPE_CHECKING:
    from telemetry.reconcile import Background


def create_app(settings: Settings) -> FastAPI:
    """The AgentOS application with our routes. Loads the agents; starts nothing before its lifespan does."""
    database = Database(settings.database_url, settings.database_read_url)
    queue = Queue(settings.database_url, settings.queue_max_depth)
    registry = Registry(settings.agents_dir)
    clients.install()
    # FastAPI's own telemetry is off: it makes a span for every request, the webhook's among them, which has ours.
    quiet = {"tracing": False, "metrics": False, "logs": False, "operation_spans": False}
    base = webhooks.Application(title="Agent runtime", telemetry=quiet)  # type: ignore[arg-type]
    problems.handle(base)
    base.include_router(webhook_docs.router)
    base.include_router(observability.router)
    base.include_router(admin.router)
    base.include_router(approval_routes.router)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Around AgentOS' own. What begins last ends first: telemetry flushes when all else has ended.
        async with AsyncExitStack() as parts:
            parts.callback(database.dispose)
            telemetry = pipeline.start(_telemetry(settings))
            parts.callback(telemetry.shutdown, FLUSH_SECONDS)
            recorder.install(telemetry)
            parts.callback(recorder.uninstall)
            queue.instruments = telemetry.instruments
            queue.settlements.on_given_up = telemetry.instruments.ticket_given_up
            queue.open()
            parts.callback(queue.close)
            registry.instruments = telemetry.instruments
            parts.callback(Gauges(telemetry.instruments, settings, queue, registry).stop)
            runs = Runs(settings.database_url)
            parts.callback(runs.close)
            deliveries = Deliveries(queue, settings.delivery_retention_days)
            signatures = Signatures(settings.webhook_secret, settings.webhook_secrets)
            throttle = Throttle(settings.webhook_rate)
            worker = partial(getattr, app.state, "queue_worker", None)
            decisions, keeper = approvals.start(settings, database, telemetry, worker)
            parts.push_async_callback(asyncio.to_thread, keeper.stop)
            comparison = _comparison(settings, telemetry)
            if comparison is not None:
                parts.push_async_callback(asyncio.to_thread, comparison.stop)
            app.state.context = Context(
                settings, telemetry, registry, deliveries, signatures, throttle, runs, decisions, comparison
            )
            registry.serve_on(asyncio.get_running_loop())
            parts.callback(registry.serve_on, None)
            watcher = Watcher(registry)
            watcher.start()
            parts.push_async_callback(asyncio.to_thread, watcher.stop)
            yield

    agent_os = RuntimeOS(
        name="Agent runtime",
        db=database,
        agents=[],
        teams=[],
        workflows=[],
        settings=AgnoAPISettings(os_security_key=settings.os_security_key),
        base_app=base,
        on_route_conflict="preserve_base_app",
        lifespan=lifespan,
        authorization=auth.authorization(settings),
        user_isolation=settings.user_isolation and settings.uses_tokens,
        telemetry=False,
    )
    # Webhooks are signed: they need no key. (With a key and no JWT, agno takes exceptions from this attribute only.)
    agent_os.authorization_config = agent_os.authorization_config or AuthorizationConfig(
        excluded_route_paths=auth.SIGNED
    )
    registry.publish_to(agent_os)
    registry.reload()
    agent_os.tickets = queue_config(settings, queue)
    app = with_worker(agent_os.get_app(), agent_os, registry, queue, settings)
    if settings.database_read_url:
        app.add_middleware(replica.Pages)
    auth.protect(app, settings)
    return app


def _comparison(settings: Settings, telemetry: pipeline.Telemetry) -> "Background | None":
    """None when there is nothing to compare."""
    if settings.telemetry_mode == "off" or not settings.clickhouse_url or not settings.reconcile_seconds:
        return None
    from telemetry import reconcile  # memory that it costs only who uses it

    reconciler = reconcile.Reconciler(settings.database_url, settings.clickhouse_url, settings.otel_service_name)
    return reconcile.Background(reconciler, telemetry.instruments, settings.reconcile_seconds)


def _telemetry(settings: Settings) -> pipeline.Settings:
    return pipeline.Settings(
        service_name=settings.otel_service_name,
        environment=settings.deployment_environment,
        mode=settings.telemetry_mode,
        otlp_endpoint=settings.otel_exporter_otlp_endpoint,
        database_url=settings.database_url,
        clickhouse_url=settings.clickhouse_url,
        phoenix_url=settings.phoenix_url,
        phoenix_api_key=settings.phoenix_api_key,
        content=settings.telemetry_content,
        redact=settings.telemetry_redact,
        prices=settings.telemetry_prices,
    )
