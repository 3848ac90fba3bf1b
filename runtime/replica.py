"""DATABASE_READ_URL: AgentOS' pages of sessions and traces are read from a replica of Postgres.

Only requests for these pages are, by what they ask for: whatever a run reads (its session, its ticket, what it is
continued with) comes from the primary, however far behind the replica is.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from agno.db.postgres.engine import create_postgres_engine
from sqlalchemy import Connection, Engine, event, orm
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, TimeoutError
from starlette.types import ASGIApp, Receive, Scope, Send

from runtime.connections import CONNECT

RETRY_SECONDS = 10.0  # while it is away the primary is asked, and nobody waits for the replica
T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass
class _Request:
    """One request. Once it has asked the primary it goes on there: of what it found, the replica may lack the rest."""

    on_primary: bool = False
    error: BaseException | None = None


_request: ContextVar[_Request | None] = ContextVar("reads_for", default=None)
_connection: ContextVar[Connection | None] = ContextVar("reads_from", default=None)


class Session(orm.Session):
    """On the replica's connection where one is used."""

    def get_bind(self, *args: Any, **kwargs: Any) -> Engine | Connection:
        connection = _connection.get()
        return super().get_bind(*args, **kwargs) if connection is None else connection


class Replica:
    """Connects when it is first read from."""

    def __init__(self, url: str) -> None:
        self.engine = create_postgres_engine(url, pool_size=5, max_overflow=5, pool_timeout=2, connect_args=CONNECT)
        event.listen(self.engine, "handle_error", _remember)
        self._away_until = 0.0
        self._is_away = False

    def read(self, ask: Callable[[], T]) -> T | None:
        """What `ask` finds on the replica. None: the primary is to be asked, since the replica has nothing (yet), is
        away, or is not for this caller."""
        request = _request.get()
        if request is None or request.on_primary or time.monotonic() < self._away_until:
            return None
        found = None
        try:
            with self.engine.connect() as connection, _using(connection):
                found = ask()
        except (DBAPIError, TimeoutError) as error:
            request.error = error
        if request.error is not None:  # also one that agno has made "nothing found" of
            self._failed(request.error)
            found = None
        elif self._is_away:
            self._is_away = False
            log.info("the replica of Postgres is back")
        request.on_primary = found is None
        return found

    def _failed(self, error: BaseException) -> None:
        self._away_until = time.monotonic() + RETRY_SECONDS
        if not self._is_away:
            said = (str(error).splitlines() or [""])[0]
            log.warning("the replica of Postgres cannot be read, the primary is meanwhile: %s", said)
        self._is_away = True


@contextmanager
def _using(connection: Connection) -> Iterator[None]:
    token = _connection.set(connection)
    try:
        yield
    finally:
        _connection.reset(token)


def _remember(context: ExceptionContext) -> None:
    request = _request.get()
    if request is not None and not context.is_pre_ping:  # then another connection is made, or that fails
        request.error = context.original_exception


class Pages:
    """Middleware that knows the requests which are for pages of sessions and traces."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _is_page(scope["method"], scope["path"]):
            _request.set(_Request())  # in the request's own context
        await self._app(scope, receive, send)


def _is_page(method: str, path: str) -> bool:
    if method == "GET":
        return path.split("/")[1] in ("sessions", "traces")
    return (method, path) == ("POST", "/traces/search")
