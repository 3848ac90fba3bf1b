"""The real collector as a process, what senders send it, and destinations that are not well."""

import gzip
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from stack import collector
from stack.alone import wait
from stack.home import Home
from tests.integration.conftest import ClickHouse
from tests.servers import answering

PROTOBUF = {"content-type": "application/x-protobuf"}


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
        try:
            wait(lambda: collector.check(self.home), 30, self.process, self.log)
        except BaseException:
            self.kill()
            raise

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


def toward(clickhouse: ClickHouse) -> dict[str, str]:
    return {
        "CLICKHOUSE_ENDPOINT": f"tcp://127.0.0.1:{clickhouse.tcp_port}",
        "CLICKHOUSE_DATABASE": clickhouse.database,
        "CLICKHOUSE_PASSWORD": clickhouse.password,
    }


def spans(count: int, *, failed: bool = False, **attributes: str) -> ExportTraceServiceRequest:
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
        for key, value in attributes.items():
            scope.spans[-1].attributes.add(key=key).value.string_value = value
    return request


def post(url: str, request: ExportTraceServiceRequest) -> httpx.Response:
    return httpx.post(f"{url}/v1/traces", content=request.SerializeToString(), headers=PROTOBUF, timeout=20)


def send(url: str, requests: int, each: int, *, failed: bool = False) -> float:
    """Every request must be accepted at the first try. Returns the slowest one's seconds."""
    slowest = 0.0
    with httpx.Client(timeout=10) as client:
        for _ in range(requests):
            body = spans(each, failed=failed).SerializeToString()
            before = time.monotonic()
            answer = client.post(f"{url}/v1/traces", content=body, headers=PROTOBUF)
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

    status = 503

    def do_POST(self) -> None:
        self.read()
        self.send_response(self.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def read(self) -> bytes:
        body = self.rfile.read(int(self.headers["content-length"]))
        return gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body


class Rejecting(Refusing):
    """Will never take it: the collector is not to try again."""

    status = 400


class Taking(Refusing):
    """Keeps the ids of all spans that it gets."""

    status = 200
    taken: set[bytes]

    def read(self) -> bytes:
        body = super().read()
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.taken |= {span.span_id for scope in resource.scope_spans for span in scope.spans}
        return body


@contextmanager
def phoenix_that_is(behaviour: type[Slow] | None, port: int = 0) -> Iterator[str]:
    """The URL of a stand-in; with None, of a port where nothing listens."""
    if behaviour is None:
        yield f"http://127.0.0.1:{unused_port()}"
        return
    server = ThreadingHTTPServer(("127.0.0.1", port), behaviour)
    server.daemon_threads = True
    server.block_on_close = False
    with answering(server) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def phoenix_that_takes(port: int = 0) -> Iterator[tuple[str, set[bytes]]]:
    """Its URL, and the ids of the spans that it has."""
    taken: set[bytes] = set()
    with phoenix_that_is(type("Phoenix", (Taking,), {"taken": taken}), port) as url:
        yield url, taken


def unused_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port
