"""Connections to ClickHouse over HTTP, described by one URL."""

from typing import Any
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client


def database_of(url: str) -> str:
    """The database that `url` names, "otel" when it names none."""
    return unquote(urlsplit(url).path.strip("/")) or "otel"


def connect(url: str, *, database: str | None = None, **options: Any) -> Client:
    """A client for `http(s)://user:password@host:port/database`; raises clickhouse_connect's OperationalError.

    `database` overrides the URL's (a database must exist to connect to it). No server session is used, so one client
    may be used by several threads at once.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the ClickHouse URL must look like http://user:password@host:8123/database")
    return clickhouse_connect.get_client(
        interface=parts.scheme,
        host=parts.hostname,
        port=parts.port or (8443 if parts.scheme == "https" else 8123),
        username=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
        database=database if database is not None else database_of(url),
        autogenerate_session_id=False,
        **options,
    )
