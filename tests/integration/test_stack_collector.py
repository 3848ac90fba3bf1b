"""otel-collector.yaml on the real collector: nothing is lost or doubled on the way to ClickHouse."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from stack import collector
from stack.alone import running, temporary_home, wait
from stack.home import Home
from stack.process import PROJECT
from stack.services import SERVICES
from tests.integration.conftest import ClickHouse

pytestmark = pytest.mark.timeout(180)


class Collector:
    """A collector on the ports of `home`; `start` again after `kill` goes on with the same queue directory."""

    def __init__(self, home: Home, binary: Path, **variables: str) -> None:
        self.home = home
        self.binary = binary
        self.variables = {**collector.environment(home), "PHOENIX_DECISION_WAIT": "1s", **variables}
        self.url = f"http://127.0.0.1:{home.ports['otlp_http']}"
        self.log = home.logs / "collector.log"

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(self.binary), "--config", str(collector.CONFIG)],
                env={**os.environ, **self.variables},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait(lambda: collector.check(self.home), 30, self.process, self.log)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """It exits with 1 only because the last of its own metrics found its receiver gone; see otel-collector.yaml."""
        self.process.terminate()
        self.process.wait(20)
        assert re.fullmatch(
            "Error: failed to shutdown service after error: failed to shutdown meter provider: "
            "failed to upload metrics: .*: connection refused",
            self.log.read_text().splitlines()[-1],
        )

    def metric(self, name: str, exporter: str) -> float:
        """The sum over all series of `name` with this exporter; 0 when there is none."""
        text = httpx.get(self.home.collector_metrics_url).text
        pattern = rf'^{name}(?:_total)?\{{[^}}]*exporter="{exporter}"[^}}]*\}} (\S+)$'
        return sum(float(value) for value in re.findall(pattern, text, re.MULTILINE))


@contextmanager
def collecting(home: Home, binary: Path, **variables: str) -> Iterator[Collector]:
    running_collector = Collector(home, binary, **variables)
    running_collector.start()
    try:
        yield running_collector
    finally:
        running_collector.kill()


@pytest.fixture
def home() -> Iterator[Home]:
    with temporary_home() as home:
        yield home


def spans(count: int, *, failed: bool = False) -> ExportTraceServiceRequest:
    """One trace of `count` spans."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    attribute = resource.resource.attributes.add(key="service.name")
    attribute.value.string_value = "test"
    scope = resource.scope_spans.add()
    trace_id, now = os.urandom(16), time.time_ns()
    code = Status.STATUS_CODE_ERROR if failed else Status.STATUS_CODE_OK
    for _ in range(count):
        scope.spans.append(
            Span(
                trace_id=trace_id,
                span_id=os.urandom(8),
                name="work",
                start_time_unix_nano=now,
                end_time_unix_nano=now + 1_000_000,
                status=Status(code=code),
            )
        )
    return request


def send(url: str, requests: int, each: int, *, failed: bool = False) -> float:
    """Every request must be accepted at the first try. Returns the slowest one's seconds."""
    slowest = 0.0
    headers = {"content-type": "application/x-protobuf"}
    with httpx.Client(timeout=10) as client:
        for _ in range(requests):
            body = spans(each, failed=failed).SerializeToString()
            before = time.monotonic()
            answer = client.post(f"{url}/v1/traces", content=body, headers=headers)
            slowest = max(slowest, time.monotonic() - before)
            assert answer.status_code == 200, answer.text
            assert ExportTraceServiceResponse.FromString(answer.content).partial_success.rejected_spans == 0
    return slowest


def stored(clickhouse: ClickHouse, expected: int, seconds: float = 30) -> tuple[int, int]:
    """(rows, different spans), once there are as many rows as expected or the time is over; then a second look."""
    deadline = time.monotonic() + seconds
    counts = (0, 0)
    while counts[0] < expected and time.monotonic() < deadline:
        time.sleep(0.3)
        row = clickhouse.rows("SELECT count(), uniqExact(SpanId) FROM otel_traces")[0]
        counts = (int(str(row[0])), int(str(row[1])))
    return counts


class Slow(BaseHTTPRequestHandler):
    """Answers nothing until the client gives up."""

    def do_POST(self) -> None:
        time.sleep(30)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Refusing(Slow):
    """What Phoenix answers when its queue is full."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(503)
        self.send_header("content-length", "0")
        self.end_headers()


@contextmanager
def phoenix_that_is(behaviour: type[Slow] | None) -> Iterator[str]:
    """The URL of a faulty stand-in; with None, of a port where nothing listens."""
    if behaviour is None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            yield f"http://127.0.0.1:{unused.getsockname()[1]}"
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), behaviour)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def toward(clickhouse: ClickHouse) -> dict[str, str]:
    return {
        "CLICKHOUSE_ENDPOINT": f"tcp://127.0.0.1:{clickhouse.tcp_port}",
        "CLICKHOUSE_DATABASE": clickhouse.database,
        "CLICKHOUSE_PASSWORD": clickhouse.password,
    }


@pytest.mark.parametrize("behaviour", [None, Slow, Refusing], ids=["down", "slow", "refusing"])
def test_phoenix_never_holds_back_clickhouse(
    behaviour: type[Slow] | None, home: Home, clickhouse: ClickHouse, collector_binary: Path
) -> None:
    """30,000 spans that all go to Phoenix: more than its queue of 20,000 holds."""
    with (
        phoenix_that_is(behaviour) as url,
        collecting(home, collector_binary, PHOENIX_ENDPOINT=url, **toward(clickhouse)) as collector,
    ):
        slowest = send(collector.url, requests=300, each=100, failed=True)
        assert stored(clickhouse, 30_000) == (30_000, 30_000)
        deadline = time.monotonic() + 20
        dropped = 0.0
        while not dropped and time.monotonic() < deadline:
            time.sleep(0.5)
            dropped = collector.metric("otelcol_exporter_enqueue_failed_spans", "otlp_http/phoenix")
        assert dropped > 0, "what Phoenix does not get is counted"
        assert collector.metric("otelcol_exporter_enqueue_failed_spans", "clickhouse/traces") == 0
        assert slowest < 2
        assert send(collector.url, requests=1, each=1) < 2, "and it goes on"
        assert stored(clickhouse, 30_001) == (30_001, 30_001)


def test_phoenix_gets_errors_and_slow_traces_beyond_its_share(
    home: Home, clickhouse: ClickHouse, collector_binary: Path
) -> None:
    """The others are kept up to the rate; errors always."""
    with (
        phoenix_that_is(Refusing) as url,
        collecting(
            home, collector_binary, PHOENIX_ENDPOINT=url, PHOENIX_SPANS_PER_SECOND="1", **toward(clickhouse)
        ) as collector,
    ):
        send(collector.url, requests=150, each=100)  # 15,000: more than the allowance for bursts
        send(collector.url, requests=10, each=10, failed=True)
        assert stored(clickhouse, 15_100) == (15_100, 15_100)
        time.sleep(3)
        text = httpx.get(home.collector_metrics_url).text
        kept = {
            policy: int(float(count))
            for policy, count in re.findall(
                r'_count_traces_sampled(?:_total)?\{[^}]*policy="(\w+)"[^}]*sampled="true"[^}]*\} (\S+)', text
            )
        }
    assert kept["errors"] == 10
    assert 0 < kept["others"] < 150


def test_metrics_and_logs_reach_clickhouse(home: Home, clickhouse: ClickHouse, collector_binary: Path) -> None:
    metrics, logs = ExportMetricsServiceRequest(), ExportLogsServiceRequest()
    metric = metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="agno.queue.depth", unit="{ticket}")
    metric.gauge.data_points.add(as_int=3, time_unix_nano=time.time_ns())
    record = logs.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=time.time_ns())
    record.body.string_value = "hello"
    headers = {"content-type": "application/x-protobuf"}
    with collecting(home, collector_binary, **toward(clickhouse)) as collector:
        for path, message in (("metrics", metrics), ("logs", logs)):
            body = message.SerializeToString()
            httpx.post(f"{collector.url}/v1/{path}", content=body, headers=headers).raise_for_status()
        deadline = time.monotonic() + 20
        found: list[list[list[object]]] = []
        while not all(found) or not found:
            assert time.monotonic() < deadline, found
            time.sleep(0.3)
            found = [
                clickhouse.rows("SELECT MetricName, Value FROM otel_metrics_gauge"),
                clickhouse.rows("SELECT Body FROM otel_logs"),
            ]
    assert found == [[["agno.queue.depth", 3]], [["hello"]]]


def test_clickhouse_is_down_and_comes_back_and_the_collector_is_killed_meanwhile(
    home: Home, collector_binary: Path
) -> None:
    """What was accepted is on disk: it survives kill -9, and arrives once."""
    clickhouse = ClickHouse(
        http_port=home.ports["clickhouse_http"],
        tcp_port=home.ports["clickhouse_tcp"],
        database="otel",
        password=home.secrets.clickhouse,
        otel_url=home.clickhouse_url,
        readonly_url=home.clickhouse_readonly_url,
    )
    with running(home, "clickhouse"):
        migrate = [sys.executable, "-m", "telemetry.clickhouse", "migrate"]
        environment = {**os.environ, "CLICKHOUSE_URL": home.clickhouse_url}
        subprocess.run(migrate, env=environment, cwd=PROJECT, check=True)
    with collecting(home, collector_binary) as collector:  # it starts without ClickHouse
        send(collector.url, requests=40, each=100)
        collector.kill()
        collector.start()
        send(collector.url, requests=10, each=100)
        with running(home, "clickhouse"):
            assert stored(clickhouse, 5_000, seconds=60) == (5_000, 5_000)
            collector.stop()
            assert stored(clickhouse, 5_000) == (5_000, 5_000)
        assert not list((home.path / "collector").glob("*.tmp")), "no compaction was left half done"


def test_the_service_of_the_stack_uses_this_configuration(home: Home, collector_binary: Path) -> None:
    home.state.collector = str(collector_binary)
    with running(home, "collector"):
        SERVICES["collector"].check(home)
        assert "otelcol_process_uptime" in httpx.get(home.collector_metrics_url).text
