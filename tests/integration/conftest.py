"""One embedded PostgreSQL and one embedded ClickHouse per session; a fresh database for each test.

They are started as `stack up` starts them, through stack.child, so they end with the test process however it ends.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from psycopg import sql

from stack import collector_build
from stack import postgres as embedded
from stack.alone import running, temporary_home
from stack.home import Home
from stack.settings import Settings
from telemetry.clickhouse.migrate import migrate

_number = itertools.count(1)


@pytest.fixture(scope="session")
def stack_home() -> Iterator[Home]:
    """A home of the session's own with free ports."""
    with temporary_home() as home:
        yield home


@pytest.fixture(scope="session")
def postgres_server(stack_home: Home) -> Iterator[Home]:
    embedded.prepare(stack_home)
    with running(stack_home, "postgres"):
        embedded.create_database(stack_home)
        yield stack_home


@pytest.fixture
def postgres(postgres_server: Home) -> Iterator[str]:
    """The URL of a fresh database, owned by `agents`, with the extensions of the stack and nothing else."""
    name = f"test_{next(_number)}"
    with embedded.connect(postgres_server) as server:
        create = sql.SQL("CREATE DATABASE {} OWNER agents TEMPLATE agents")
        server.execute(create.format(sql.Identifier(name)))
    yield postgres_server.database_url.removesuffix("agents") + name
    with embedded.connect(postgres_server) as server:
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@dataclass(frozen=True)
class ClickHouse:
    http_port: int
    tcp_port: int
    database: str
    password: str
    otel_url: str
    readonly_url: str

    def rows(self, query: str) -> list[list[object]]:
        """What `otel` gets for the query; values as JSON has them (64 bit integers are strings)."""
        url = urlsplit(self.otel_url)
        answer = httpx.post(
            f"http://127.0.0.1:{self.http_port}/",
            params={"database": self.database, "default_format": "JSONCompact"},
            auth=(url.username or "", url.password or ""),
            content=query,
            timeout=60,
        )
        assert answer.is_success, answer.text
        if not answer.content:
            return []
        data: list[list[object]] = answer.json()["data"]
        return data


@pytest.fixture(scope="session")
def clickhouse_server(stack_home: Home) -> Iterator[Home]:
    with running(stack_home, "clickhouse"):
        yield stack_home


@pytest.fixture
def clickhouse(clickhouse_server: Home) -> Iterator[ClickHouse]:
    """A fresh database with our schema on the session's server."""
    home = clickhouse_server
    name = f"otel_test_{next(_number)}"
    server = ClickHouse(
        http_port=home.ports["clickhouse_http"],
        tcp_port=home.ports["clickhouse_tcp"],
        database=name,
        password=home.secrets.clickhouse,
        otel_url=home.clickhouse_url.removesuffix("otel") + name,
        readonly_url=home.clickhouse_readonly_url.removesuffix("otel") + name,
    )
    migrate(server.otel_url)
    yield server
    client = ClickHouse(**{**vars(server), "database": "default"})
    client.rows(f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture(scope="session")
def collector_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Found as `stack up` finds it; on a machine without one, this is where it is built, which takes minutes."""
    log = tmp_path_factory.mktemp("collector") / "build.log"
    return collector_build.find_or_build(Settings(), print, log)
