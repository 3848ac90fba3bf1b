"""One embedded PostgreSQL and one embedded ClickHouse per session; a fresh database for each test.

They are started as `stack up` starts them, through stack.child, so they end with the test process however it ends.
"""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from clickhouse_connect.driver.client import Client
from psycopg import sql

from stack import collector_build
from stack import postgres as embedded
from stack.alone import running, temporary_home
from stack.home import Home
from stack.process import PROJECT
from stack.settings import Settings
from telemetry.clickhouse.client import connect
from telemetry.clickhouse.direct import DirectWriter
from telemetry.clickhouse.migrate import migrate

_number = itertools.count(1)


@pytest.fixture(scope="session")
def stack_home() -> Iterator[Home]:
    """A home of the session's own with free ports."""
    with temporary_home() as home:
        yield home


@pytest.fixture
def own_home() -> Iterator[Home]:
    """A home of the test's own, for services that it kills."""
    with temporary_home() as home:
        yield home


@pytest.fixture(scope="session")
def postgres_server(stack_home: Home) -> Iterator[Home]:
    embedded.prepare(stack_home)
    with running(stack_home, "postgres"):
        embedded.create_database(stack_home)
        yield stack_home


@contextmanager
def fresh_database(server: Home, template: str) -> Iterator[str]:
    """The URL of a copy of the database `template`, dropped afterwards."""
    name = sql.Identifier(f"test_{next(_number)}")
    with embedded.connect(server) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER agents TEMPLATE {}").format(name, sql.Identifier(template))
        )
    yield server.database_url.removesuffix("agents") + name.as_string()[1:-1]
    with embedded.connect(server) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture
def postgres(postgres_server: Home) -> Iterator[str]:
    """The URL of a fresh database, owned by `agents`, with the extensions of the stack and nothing else."""
    with fresh_database(postgres_server, "agents") as url:
        yield url


@pytest.fixture(scope="session")
def migrated_server(postgres_server: Home) -> Home:
    """The server with the template `migrated`: to migrate each database takes seconds, most of them agno's imports."""
    with embedded.connect(postgres_server) as server:
        server.execute("CREATE DATABASE migrated OWNER agents TEMPLATE agents")
    url = postgres_server.database_url.removesuffix("agents") + "migrated"
    environment = {**os.environ, "DATABASE_URL": url}
    subprocess.run([sys.executable, "-m", "runtime", "migrate"], env=environment, cwd=PROJECT, check=True)
    return postgres_server


@pytest.fixture
def migrated(migrated_server: Home) -> Iterator[str]:
    """The URL of a fresh database with all tables of the runtime."""
    with fresh_database(migrated_server, "migrated") as url:
        yield url


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


@contextmanager
def fresh_clickhouse(home: Home) -> Iterator[ClickHouse]:
    """A database with our schema, dropped afterwards."""
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


@pytest.fixture
def clickhouse(clickhouse_server: Home) -> Iterator[ClickHouse]:
    """A fresh database with our schema on the session's server."""
    with fresh_clickhouse(clickhouse_server) as server:
        yield server


@pytest.fixture
def otel(clickhouse: ClickHouse) -> Iterator[Client]:
    """The writing user, without final: it sees what is stored."""
    client = connect(clickhouse.otel_url)
    yield client
    client.close()


@pytest.fixture
def reader(clickhouse: ClickHouse) -> Iterator[Client]:
    client = connect(clickhouse.readonly_url)
    yield client
    client.close()


@pytest.fixture
def writer(clickhouse: ClickHouse) -> Iterator[DirectWriter]:
    direct = DirectWriter(clickhouse.otel_url)
    yield direct
    direct.close()


@pytest.fixture(scope="session")
def collector_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Found as `stack up` finds it; on a machine without one, this is where it is built, which takes minutes."""
    log = tmp_path_factory.mktemp("collector") / "build.log"
    return collector_build.find_or_build(Settings(), print, log)
