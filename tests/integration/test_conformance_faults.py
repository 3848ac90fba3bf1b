"""What becomes of telemetry when a destination, the memory or the disk of the collector is not well.

docs/collector.md has a row for each of these. Queues are small here, which the environment says.
"""

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from stack.home import Home
from telemetry.destinations import CollectorSpans
from tests.integration.collectors import (
    Collector,
    Refusing,
    Rejecting,
    Slow,
    collecting,
    phoenix_that_is,
    phoenix_that_takes,
    post,
    send,
    spans,
    stored,
    toward,
    unused_port,
)
from tests.integration.conftest import ClickHouse
from tests.integration.runtimes import until
from tests.integration.test_exporter import many

pytestmark = pytest.mark.timeout(180)
LARGE = "x" * 100_000


@pytest.mark.parametrize(
    ("behaviour", "counter"),
    [(None, "enqueue_failed"), (Slow, "enqueue_failed"), (Refusing, "enqueue_failed"), (Rejecting, "send_failed")],
    ids=["down", "slow", "refusing", "rejecting"],
)
def test_phoenix_never_holds_back_clickhouse(
    behaviour: type[Slow] | None, counter: str, own_home: Home, clickhouse: ClickHouse, collector_binary: Path
) -> None:
    """Three times as many spans as its queue holds, and all of them are for Phoenix."""
    with (
        phoenix_that_is(behaviour) as url,
        collecting(
            own_home, collector_binary, PHOENIX_ENDPOINT=url, PHOENIX_QUEUE_SIZE="1000", **toward(clickhouse)
        ) as collector,
    ):
        send(collector.url, requests=30, each=100, failed=True)
        assert stored(clickhouse, 3000) == (3000, 3000)
        until(lambda: collector.metric(f"otelcol_exporter_{counter}_spans", "otlp_http/phoenix") > 0, 60)
        assert collector.metric("otelcol_exporter_enqueue_failed_spans", "clickhouse/traces") == 0
        send(collector.url, requests=1, each=1)
        assert stored(clickhouse, 3001) == (3001, 3001)


@pytest.mark.parametrize("behaviour", ["down", "slow", "refusing"])
def test_clickhouse_never_holds_back_phoenix(
    behaviour: str, own_home: Home, clickhouse: ClickHouse, collector_binary: Path
) -> None:
    variables = toward(clickhouse)
    with (
        phoenix_that_takes() as (url, taken),
        socket.create_server(("127.0.0.1", 0)) as silent,  # who connects waits for an answer
        without_a_table(clickhouse),
    ):
        if behaviour != "refusing":
            port = silent.getsockname()[1] if behaviour == "slow" else unused_port()
            variables["CLICKHOUSE_ENDPOINT"] = f"tcp://127.0.0.1:{port}"
        with collecting(own_home, collector_binary, PHOENIX_ENDPOINT=url, **variables) as collector:
            send(collector.url, requests=10, each=100, failed=True)
            until(lambda: len(taken) == 1000, 60)
            assert collector.metric("otelcol_exporter_queue_size", "clickhouse/traces") == 1000


def test_what_waits_for_phoenix_survives_kill_9(own_home: Home, clickhouse: ClickHouse, collector_binary: Path) -> None:
    port = unused_port()
    url = f"http://127.0.0.1:{port}"
    with collecting(own_home, collector_binary, PHOENIX_ENDPOINT=url, **toward(clickhouse)) as collector:
        send(collector.url, requests=5, each=20, failed=True)
        until(lambda: collector.metric("otelcol_exporter_queue_size", "otlp_http/phoenix") == 100, 60)
        collector.kill()
        with phoenix_that_takes(port) as (_, taken):
            collector.start()
            until(lambda: len(taken) == 100, 60)


def test_a_full_queue_refuses_and_loses_nothing_that_it_accepted(
    own_home: Home, clickhouse: ClickHouse, collector_binary: Path
) -> None:
    with collecting(own_home, collector_binary, CLICKHOUSE_QUEUE_SIZE="1000", **toward(clickhouse)) as collector:
        with without_a_table(clickhouse):
            accepted = accepted_until_refused(collector, each=100)
            assert accepted == 1000
            assert is_refused_over_grpc(collector)
            assert collector.metric("otelcol_exporter_enqueue_failed_spans", "clickhouse/traces") >= 100
        until(lambda: post(collector.url, spans(100)).is_success, 60)
        assert stored(clickhouse, 1100) == (1100, 1100)


def test_without_memory_it_refuses_until_there_is_some(
    own_home: Home, clickhouse: ClickHouse, collector_binary: Path
) -> None:
    """What waits to be judged for Phoenix fills it."""
    with (
        phoenix_that_takes() as (url, _),
        collecting(
            own_home,
            collector_binary,
            MEMORY_LIMIT_MIB="100",
            PHOENIX_DECISION_WAIT="4s",
            PHOENIX_ENDPOINT=url,
            **toward(clickhouse),
        ) as collector,
    ):
        accepted = accepted_until_refused(collector, each=10, text=LARGE)
        assert is_refused_over_grpc(collector)
        until(lambda: post(collector.url, spans(10)).is_success, 60)
        assert stored(clickhouse, accepted + 10) == (accepted + 10, accepted + 10)


def test_a_full_disk_refuses_and_loses_nothing_that_was_accepted(
    own_home: Home, clickhouse: ClickHouse, collector_binary: Path
) -> None:
    with (
        small_disk(own_home.path / "collector"),
        collecting(own_home, collector_binary, **toward(clickhouse)) as collector,
    ):
        with without_a_table(clickhouse):
            accepted = accepted_until_refused(collector, each=10, text=LARGE)
            assert accepted > 0
            assert is_refused_over_grpc(collector)
        until(lambda: post(collector.url, spans(10)).is_success, 60)
        assert stored(clickhouse, accepted + 10) == (accepted + 10, accepted + 10)


def test_killed_on_a_full_disk_it_starts_and_says_when_it_cannot_keep_what_it_was_sending(
    own_home: Home, clickhouse: ClickHouse, collector_binary: Path
) -> None:
    """v0.161 writes what was on its way anew when it starts; on a full disk that may fail. The reconciler sends it."""
    with (
        small_disk(own_home.path / "collector"),
        collecting(own_home, collector_binary, **toward(clickhouse)) as collector,
    ):
        with without_a_table(clickhouse):
            accepted = accepted_until_refused(collector, each=10, text=LARGE)
            collector.kill()
            collector.start()
        until(lambda: collector.metric("otelcol_exporter_queue_size", "clickhouse/traces") == 0, 60)
        lost = bool(re.search("Errors occurred while moving|Failed retrieving items", collector.log.read_text()))
        assert (stored(clickhouse, accepted, seconds=1) == (accepted, accepted)) != lost


def accepted_until_refused(collector: Collector, each: int, **attributes: str) -> int:
    """How many spans were accepted before it said to come again later."""
    accepted = 0
    while (answer := post(collector.url, spans(each, failed=True, **attributes))).is_success:
        accepted += each
        assert accepted < 100_000
    assert answer.status_code == 503, answer.text
    return accepted


def is_refused_over_grpc(collector: Collector) -> bool:
    """As our runtime's exporter sees it: an error after which it sends the batch again."""
    sender = CollectorSpans(endpoint=f"http://127.0.0.1:{collector.home.ports['otlp_grpc']}")
    try:
        with pytest.raises(grpc.RpcError) as error:
            sender.send(list(many(100)))
    finally:
        sender.shutdown()
    code: grpc.StatusCode = error.value.code()  # type: ignore[attr-defined]
    return code is grpc.StatusCode.UNAVAILABLE


@contextmanager
def without_a_table(clickhouse: ClickHouse) -> Iterator[None]:
    """ClickHouse refuses every insert of spans meanwhile."""
    clickhouse.rows("RENAME TABLE otel_traces TO otel_traces_aside")
    try:
        yield
    finally:
        clickhouse.rows("RENAME TABLE otel_traces_aside TO otel_traces")


@contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """8 MiB."""
    path.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", str(path)]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("to fill a disk takes one that is small, and root may mount it")
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)
