"""The tables of a cluster with real rows: two shards, which here are two databases of one server.

The embedded engine has neither ReplicatedMergeTree nor ON CLUSTER: these two are taken out of what a cluster is sent.
Distributed is the real one, over connections of the server to itself.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from opentelemetry.sdk.trace import ReadableSpan

from benchmarks.panels import panels
from dashboards.viewer.queries import PANEL
from dashboards.viewer.queries import ClickHouse as Page
from runtime import analytics
from runtime.settings import Settings
from stack.alone import running, temporary_home
from telemetry import windows
from telemetry.clickhouse.client import connect
from telemetry.clickhouse.cluster import Cluster
from telemetry.clickhouse.direct import DirectWriter
from telemetry.clickhouse.migrate import RETENTION, ROLLUPS, migrate, read
from tests.integration.conftest import ClickHouse
from tests.integration.seeded import run, trace_of
from tests.integration.test_clickhouse_rollups import refresh

pytestmark = pytest.mark.timeout(300)  # several servers, on whatever else the machine does

SHARDS = ("otel_one", "otel_two")
SERVERS = """
<clickhouse><remote_servers><two>{shards}</two></remote_servers></clickhouse>
"""
SHARD = """
<shard><replica><host>127.0.0.1</host><port>{port}</port><default_database>{database}</default_database>
<user>otel</user><password>{password}</password></replica></shard>
"""
GRANTS = """
<clickhouse><users><otel><grants>
<query>GRANT ALL ON otel*.*</query><query>GRANT SELECT ON system.*</query><query>GRANT SYSTEM VIEWS ON *.*</query>
<query>GRANT REMOTE ON *.*</query>
</grants></otel></users></clickhouse>
"""


@dataclass
class Clustered:
    """`whole` has everything in one database, `url` the same on two shards; `shards` are their clients."""

    whole: str
    url: str
    whole_reader: str
    reader: str
    shards: list[Client]


@pytest.fixture(scope="module")
def clustered() -> Iterator[Clustered]:
    with temporary_home() as home:
        directory, port = home.path / "clickhouse", home.ports["clickhouse_tcp"]
        shards = [SHARD.format(port=port, database=name, password=home.secrets.clickhouse) for name in SHARDS]
        for place, text in (("config.d", SERVERS.format(shards="".join(shards))), ("users.d", GRANTS)):
            (directory / place).mkdir(parents=True)
            (directory / place / "cluster.xml").write_text(text)
        with running(home, "clickhouse"):
            migrate(home.clickhouse_url)
            clients = [connect(home.clickhouse_url, database="") for _ in SHARDS]
            for client, name in zip(clients, SHARDS, strict=True):
                client.command(f"CREATE DATABASE {name}")
                client.database = name
            statements = [each for migration in read() for each in migration.statements(Cluster("two", ""))]
            for client in clients:
                for statement in statements:
                    client.command(single(statement))
            urls = [url.removesuffix("otel") + SHARDS[0] for url in (home.clickhouse_url, home.clickhouse_readonly_url)]
            yield Clustered(home.clickhouse_url, urls[0], home.clickhouse_readonly_url, urls[1], clients)
            for client in clients:
                client.close()


def single(statement: str) -> str:
    """The statement for one server."""
    statement = re.sub(r"Replicated(\w*MergeTree)\('[^']*', '[^']*'(?:, )?", r"\1(", statement)
    statement = re.sub(r"(?<!non_)replicated_deduplication_window", "non_replicated_deduplication_window", statement)
    return statement.replace(" ON CLUSTER 'two'", "")


@pytest.fixture(scope="module")
def spans(clustered: Clustered) -> list[ReadableSpan]:
    """What both were sent, with other borders once more: each is there twice until the merge."""
    agents = [run(f"agent-{n % 3}", 5 + n, {"pay": 1 + n / 8, "find": 0.25}, id=f"r-{n}", cost=0.25) for n in range(30)]
    failed = [run("agent-0", 7.5 + n, {"pay": 9 + n / 8}, error="the bank says no") for n in range(5)]
    spans = [span for each in (*agents, *failed) for span in each]
    for url in (clustered.whole, clustered.url):
        writer = DirectWriter(url)
        writer.write_spans(spans)
        writer.write_spans(spans[7:])
        writer.close()
    with closing(connect(clustered.whole)) as whole:
        for client in (whole, *clustered.shards):
            refresh(client)
    return spans


def test_a_trace_is_on_one_shard_and_each_span_is_seen_once(clustered: Clustered, spans: list[ReadableSpan]) -> None:
    one, two = (
        client.query("SELECT DISTINCT TraceId FROM otel_traces_local").result_rows for client in clustered.shards
    )
    assert one and two and not {*one} & {*two}
    for client in clustered.shards:
        assert client.command("SELECT count() FROM otel_traces FINAL") == len(spans), "whoever is asked knows all"
        assert client.command("SELECT count() FROM otel_traces") > len(spans)  # type: ignore[operator]


@pytest.mark.parametrize("board", ["fleet", "run", "tools"])  # these ask in all the ways that there are
def test_panels_say_the_same_as_on_one_server(clustered: Clustered, spans: list[ReadableSpan], board: str) -> None:
    pages = Page(clustered.whole_reader), Page(clustered.reader)
    values = {"agent": "agent-0", "run_id": "r-3"}
    for name, sql, parameters in panels(values, int(time.time() * 1000) + 2000, only=board):
        one, two = (page.query(sql, parameters, PANEL)["data"] for page in pages)
        assert rounded(two) == rounded(one), name
    for page in pages:
        page.close()


def test_tools_of_agents_say_the_same(
    clustered: Clustered, spans: list[ReadableSpan], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: dict[str, list[str]] = {}
    for url in (clustered.whole_reader, clustered.reader):
        monkeypatch.setattr(analytics, "settings", partial(Settings, _env_file=None, clickhouse_readonly_url=url))
        for tool in analytics.TOOLS:
            given = {"run_details": {"run_id": "r-3"}, "trace": {"trace_id": trace_of(spans)}}.get(tool.__name__, {})
            given |= {"agent_id": "agent-0"} if tool.__name__ == "duration_compared" else {}
            answers.setdefault(tool.__name__, []).append(tool(**given))
    analytics._client.cache_clear()
    for name, (one, two) in answers.items():
        assert rounded(two) == rounded(one), name


def rounded(found: Any) -> Any:
    """In no order; and sums of floats depend on theirs."""
    rows = found if isinstance(found, list) else found.split("\n")
    return sorted(re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.6g}", str(row)) for row in rows)


def test_it_is_compared_with_postgres_as_one_server_is(clustered: Clustered, spans: list[ReadableSpan]) -> None:
    services = {span.resource.attributes["service.name"] for span in spans}
    start = windows.of(datetime.now(UTC)) - 60
    with closing(connect(clustered.whole)) as whole, closing(connect(clustered.url)) as client:
        one, two = (windows.ClickHouse(each, str(*services)) for each in (whole, client))
        assert two.sums(start, start + 62, hashed=True) == one.sums(start, start + 62, hashed=True) != {}
        window = next(iter(one.sums(start, start + 62, hashed=False)))
        assert two.spans(window) == one.spans(window) != {}


def test_a_changed_retention_changes_the_tables_that_are_there(clickhouse: ClickHouse, otel: Client) -> None:
    """By the command, as an administrator would."""

    def days(client: Client) -> dict[str, int]:
        query = "SELECT name, toUInt32(extract(engine_full, 'toIntervalDay\\\\((\\\\d+)\\\\)')) FROM system.tables"
        query += " WHERE database = currentDatabase() AND engine_full LIKE '%TTL%'"
        return dict(client.query(query).result_rows)

    assert days(otel) == dict.fromkeys(RETENTION, 30) | dict.fromkeys(ROLLUPS, 400)
    changed = {"CLICKHOUSE_URL": clickhouse.otel_url, "CLICKHOUSE_RETENTION_DAYS": "7", "CLICKHOUSE_ROLLUP_DAYS": "90"}
    command = [sys.executable, "-m", "telemetry.clickhouse", "migrate"]
    subprocess.run(command, env={**os.environ, **changed}, check=True, timeout=60)
    assert days(otel) == dict.fromkeys(RETENTION, 7) | dict.fromkeys(ROLLUPS, 90)
    assert windows.ClickHouse(otel, "").retention() == 7
