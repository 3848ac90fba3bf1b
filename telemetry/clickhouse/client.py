"""Connections to ClickHouse over HTTP, described by one URL."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client

# What an https URL may say after its `?`: files in PEM, and the server's name when it is not the host.
_FILES = ("ca_cert", "client_cert", "client_cert_key")
_TLS = (*_FILES, "server_host_name")


def database_of(url: str) -> str:
    """The database that `url` names, "otel" when it names none."""
    return unquote(urlsplit(url).path.strip("/")) or "otel"


def options_of(url: str) -> dict[str, Any]:
    """Where `url` leads and how, in the words of clickhouse_connect, but for the user. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the ClickHouse URL must look like http://user:password@host:8123/database")
    tls = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(tls.keys() - set(_TLS)):
        raise ValueError(f"the ClickHouse URL says {', '.join(unknown)}, but only {', '.join(_TLS)} are known")
    if tls and parts.scheme != "https":
        raise ValueError(f"the ClickHouse URL says {', '.join(tls)}, but begins with http: nothing would be encrypted")
    for name in _FILES:
        if name in tls and not Path(tls[name]).is_file():
            raise ValueError(f"{name} of the ClickHouse URL: there is no file {tls[name]}")
    if "client_cert" in tls:
        tls["tls_mode"] = "strict"  # user and password log in; the certificate is for the connection
    return {"interface": parts.scheme, "host": parts.hostname, **tls}


def connect(url: str, *, database: str | None = None, **options: Any) -> Client:
    """A client for `http(s)://user:password@host:port/database`; raises clickhouse_connect's OperationalError.

    An https URL may end in `?ca_cert=/path/ca.pem` and name a client's certificate; see docs/operations.md.
    `database` overrides the URL's (a database must exist to connect to it). No server session is used, so one client
    may be used by several threads at once.
    """
    parts = urlsplit(url)
    return clickhouse_connect.get_client(
        **options_of(url),
        port=parts.port or (8443 if parts.scheme == "https" else 8123),
        username=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
        database=database if database is not None else database_of(url),
        autogenerate_session_id=False,
        **options,
    )
