"""The composition: settings, the committed files, ClickHouse, the alerts, and the app in front of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from anyio import to_thread
from fastapi import FastAPI

from dashboards.viewer import boards, problems, rules
from dashboards.viewer.alerts import alerts_api
from dashboards.viewer.context import Context
from dashboards.viewer.evaluation import Evaluation
from dashboards.viewer.files import Files
from dashboards.viewer.guard import Guard
from dashboards.viewer.history import History
from dashboards.viewer.links import Links
from dashboards.viewer.notify import Notifier
from dashboards.viewer.pages import pages
from dashboards.viewer.queries import ClickHouse
from dashboards.viewer.routes import api
from dashboards.viewer.settings import Settings
from dashboards.viewer.watch import Watch

HEAD_BYTES = 262_144  # a panel's parameters are in its address: parameters.MOST_CHARACTERS, twelve bytes each
MOST_CONNECTIONS = 200


def create_app(settings: Settings, *, dashboards: Path = boards.GENERATED, alerts: Path = rules.COMMITTED) -> FastAPI:
    """Raises BoardError, RulesError or OSError. Alerts are evaluated while the app's lifespan lasts."""
    links = Links(settings)
    clickhouse = ClickHouse(settings.clickhouse_readonly_url)
    found, files, committed = boards.load(dashboards), Files(), rules.load(alerts)
    history = History(settings.dashboards_state)
    url = settings.alert_webhook_url
    evaluation = Evaluation(committed, clickhouse, history, links, posts=url is not None)
    context = Context(settings, found, files, clickhouse, history, evaluation, links)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        notifier = Notifier(url, settings.alert_webhook_secret, history, links) if url else None
        watch = Watch(evaluation, notifier, settings.alert_seconds)
        watch.start()
        await to_thread.run_sync(files.warm)
        yield
        await to_thread.run_sync(watch.stop)
        clickhouse.close()
        history.close()
        if notifier:
            notifier.close()

    app = FastAPI(title="Dashboards", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, url=settings.base)
    problems.handle(app)
    for router in (api(context), alerts_api(context), pages(context)):
        app.include_router(router)
    return app


def make_server(app: FastAPI, settings: Settings) -> uvicorn.Server:
    """On loopback: who may see the page from elsewhere is for a proxy to say."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=settings.dashboards_port,
            access_log=False,
            log_config=None,
            server_header=False,
            http="h11",  # bounds what it keeps of a head; what the page costs is its queries
            h11_max_incomplete_event_size=HEAD_BYTES,
            ws="none",
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=5,
        )
    )
