"""The composition root: settings -> agents -> AgentOS -> app; all else begins in the lifespan."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from agno.job_queue.config import QueueConfig
from agno.os.authz import Authorization
from agno.os.config import AuthorizationConfig
from agno.os.settings import AgnoAPISettings
from fastapi import FastAPI

from runtime import observability, problems, webhook_docs, webhooks
from runtime.context import Context
from runtime.database import Database
from runtime.deliveries import Deliveries
from runtime.queue import Queue
from runtime.registry import LiveAgentOS, Registry
from runtime.settings import Settings
from runtime.signatures import Signatures
from runtime.throttle import Throttle
from telemetry import pipeline, recorder

LEASE_SECONDS = 15  # a ticket whose worker has not been heard of for so long is another's
DRAIN_SECONDS = 10  # how long runs may go on after SIGTERM
FLUSH_SECONDS = 10
SIGNED = ["/api/webhooks/*"]


def create_app(settings: Settings) -> FastAPI:
    """The AgentOS application with our routes. Loads the agents; starts nothing before its lifespan does."""
    database = Database(settings.database_url)
    queue = Queue(settings.database_url, settings.queue_max_depth)
    registry = Registry(settings.agents_dir)
    # FastAPI's own telemetry is off: it makes a span for every request, the webhook's among them, which has ours.
    quiet = {"tracing": False, "metrics": False, "logs": False, "operation_spans": False}
    base = FastAPI(title="Agent runtime", telemetry=quiet)  # type: ignore[arg-type]
    problems.handle(base)
    base.include_router(webhook_docs.router)
    base.include_router(observability.router)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Around AgentOS' own. What begins last ends first: telemetry flushes when all else has ended.
        async with AsyncExitStack() as parts:
            parts.callback(database.db_engine.dispose)
            telemetry = pipeline.start(_telemetry(settings))
            parts.callback(telemetry.shutdown, FLUSH_SECONDS)
            recorder.install(telemetry)
            parts.callback(recorder.uninstall)
            queue.instruments = telemetry.instruments
            queue.open()
            parts.callback(queue.close)
            registry.instruments = telemetry.instruments
            _observe(telemetry, queue, registry)
            deliveries = Deliveries(queue, settings.delivery_retention_days)
            signatures = Signatures(settings.webhook_secret, settings.webhook_secrets)
            throttle = Throttle(settings.webhook_rate)
            app.state.context = Context(settings, telemetry, registry, deliveries, signatures, throttle)
            registry.serve_on(asyncio.get_running_loop())
            parts.callback(registry.serve_on, None)
            yield

    agent_os = LiveAgentOS(
        name="Agent runtime",
        db=database,
        agents=[],
        teams=[],
        workflows=[],
        settings=AgnoAPISettings(os_security_key=settings.os_security_key),
        base_app=base,
        on_route_conflict="preserve_base_app",
        lifespan=lifespan,
        queue=QueueConfig(
            durable=True,
            db=queue,
            max_concurrency=settings.run_concurrency,
            max_queue_depth=settings.queue_max_depth,
            max_attempts=settings.run_max_attempts,
            retry_delay_seconds=2,
            lock_grace_seconds=LEASE_SECONDS,
            stop_timeout_seconds=DRAIN_SECONDS,
            poll_interval=0.25,
            retention_seconds=settings.delivery_retention_days * 86_400,
        ),
        authorization=_jwt(settings),
        telemetry=False,
    )
    # Webhooks are signed: they need no key. (With a key and no JWT, agno takes exceptions from this attribute only.)
    agent_os.authorization_config = agent_os.authorization_config or AuthorizationConfig(excluded_route_paths=SIGNED)
    registry.publish_to(agent_os)
    registry.reload()
    app = agent_os.get_app()
    app.add_middleware(webhooks.Door)
    return app


def _jwt(settings: Settings) -> Authorization | bool:
    """Scopes in the token decide, as AgentOS has them."""
    if not settings.jwt_verification_key and not settings.jwt_jwks_file:
        return False
    keys = [settings.jwt_verification_key] if settings.jwt_verification_key else None
    return Authorization(verification_keys=keys, jwks_file=settings.jwt_jwks_file, excluded_route_paths=SIGNED)


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
    )


def _observe(telemetry: pipeline.Telemetry, queue: Queue, registry: Registry) -> None:
    telemetry.instruments.observe("agno.queue.depth", queue.depth)
    telemetry.instruments.observe("agno.queue.oldest.age", queue.oldest)
    telemetry.instruments.observe("agno.agents.loaded", registry.counts)
