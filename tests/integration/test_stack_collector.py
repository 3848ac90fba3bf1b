"""otel-collector.yaml on the real collector: nothing is lost or doubled on the way to ClickHouse."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from stack.alone import running
from stack.home import Home
from stack.process import PROJECT
from stack.services import SERVICES
from tests.integration.collectors import (
    Refusing,
    collecting,
    phoenix_that_is,
    send,
    stored,
    toward,
)
from tests.integration.conftest import ClickHouse

pytestmark = pytest.mark.timeout(180)


def test_phoenix_gets_errors_and_slow_traces_beyond_its_share(
    own_home: Home, clickhouse: ClickHouse, collector_binary: Path
) -> None:
    """The others are kept up to the rate; errors always."""
    with (
        phoenix_that_is(Refusing) as url,
        collecting(
            own_home, collector_binary, PHOENIX_ENDPOINT=url, PHOENIX_SPANS_PER_SECOND="1", **toward(clickhouse)
        ) as collector,
    ):
        send(collector.url, requests=150, each=100)  # 15,000: more than the allowance for bursts
        send(collector.url, requests=10, each=10, failed=True)
        assert stored(clickhouse, 15_100) == (15_100, 15_100)
        time.sleep(3)
        text = httpx.get(own_home.collector_metrics_url).text
        kept = {
            policy: int(float(count))
            for policy, count in re.findall(
                r'_count_traces_sampled(?:_total)?\{[^}]*policy="(\w+)"[^}]*sampled="true"[^}]*\} (\S+)', text
            )
        }
    assert kept["errors"] == 10
    assert 0 < kept["others"] < 150


def test_clickhouse_is_down_and_comes_back_and_the_collector_is_killed_meanwhile(
    own_home: Home, collector_binary: Path
) -> None:
    """What was accepted is on disk: it survives kill -9, and arrives once."""
    clickhouse = ClickHouse(
        http_port=own_home.ports["clickhouse_http"],
        tcp_port=own_home.ports["clickhouse_tcp"],
        database="otel",
        password=own_home.secrets.clickhouse,
        otel_url=own_home.clickhouse_url,
        readonly_url=own_home.clickhouse_readonly_url,
    )
    with running(own_home, "clickhouse"):
        migrate = [sys.executable, "-m", "telemetry.clickhouse", "migrate"]
        environment = {**os.environ, "CLICKHOUSE_URL": own_home.clickhouse_url}
        subprocess.run(migrate, env=environment, cwd=PROJECT, check=True)
    with collecting(own_home, collector_binary) as collector:  # it starts without ClickHouse
        send(collector.url, requests=40, each=100)
        collector.kill()
        collector.start()
        send(collector.url, requests=10, each=100)
        with running(own_home, "clickhouse"):
            assert stored(clickhouse, 5_000, seconds=60) == (5_000, 5_000)
            collector.stop()
            assert stored(clickhouse, 5_000) == (5_000, 5_000)
        assert not list((own_home.path / "collector").glob("*.tmp")), "no compaction was left half done"


def test_the_service_of_the_stack_uses_this_configuration(own_home: Home, collector_binary: Path) -> None:
    own_home.state.collector = str(collector_binary)
    with running(own_home, "collector"):
        SERVICES["collector"].check(own_home)
        assert "otelcol_process_uptime" in httpx.get(own_home.collector_metrics_url).text
