"""OpenTelemetry's own variables: what a user sets is what happens."""

import gzip
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from telemetry import environment, pipeline
from telemetry.pipeline import Settings, Telemetry
from tests.integration.certificates import Authority
from tests.integration.runtimes import until
from tests.servers import answering

NOWHERE = "http://127.0.0.1:9"  # the discard port: nothing listens there
MESSAGES = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
}
Start = Callable[..., Telemetry]


@dataclass
class Received:
    """By path: the last request's headers and message. `statuses` are answered first, 200 when none are left."""

    url: str = ""
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)


@pytest.fixture
def http() -> Iterator[Received]:
    """Takes OTLP over HTTP."""
    with receiving() as received:
        yield received


@contextmanager
def receiving(tls: ssl.SSLContext | None = None) -> Iterator[Received]:
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = received.statuses.pop() if received.statuses and self.path == "/v1/traces" else 200
            if status == 200:
                unzipped = gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body
                received.headers[self.path] = {key.lower(): value for key, value in self.headers.items()}
                received.messages[self.path] = str(MESSAGES[self.path].FromString(unzipped))
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False  # so that closing it closes all that it accepted
    received.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    with answering(server):
        yield received


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    started: list[Telemetry] = []

    def begin(endpoint: str = NOWHERE, **variables: str) -> Telemetry:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        started.append(pipeline.start(Settings("agent-runtime", "test", "collector", endpoint)))
        return started[-1]

    yield begin
    for telemetry in started:
        telemetry.shutdown(1)


def test_over_http_with_headers_zipped_and_a_resource(start: Start, http: Received) -> None:
    http.statuses = [503, 429]  # a reason to send again, not to give up
    telemetry = start(
        http.url,
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        OTEL_EXPORTER_OTLP_HEADERS="api-key=of%20all",
        OTEL_EXPORTER_OTLP_TRACES_HEADERS="api-key=traces",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_METRIC_EXPORT_INTERVAL="300",
        OTEL_RESOURCE_ATTRIBUTES="team=blue,deployment.environment.name=production,service.name=ignored",
        OTEL_SERVICE_NAME="mine",
    )
    with telemetry.tracer.start_as_current_span("span"):
        logging.getLogger("somebody").warning("careful")
    assert telemetry.flush(30)
    until(lambda: len(http.messages) == 3, 30)
    assert telemetry.health()["collector"]["exported"] == 1
    for path, message in http.messages.items():
        for expected in ("team", "blue", "production", "mine"):
            assert f'"{expected}"' in message, path
        assert '"test"' not in message and '"ignored"' not in message
        assert http.headers[path]["api-key"] == ("traces" if path == "/v1/traces" else "of all")
        assert http.headers[path]["content-encoding"] == "gzip"
    assert 'name: "span"' in http.messages["/v1/traces"]
    assert "careful" in http.messages["/v1/logs"]


def test_over_https_with_certificates_of_ones_own(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Server and client each show one; the authority is nobody else's."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # with which requests, in the SDK, overrules the SDK's own
        monkeypatch.delenv(name, raising=False)
    server, clients = Authority(tmp_path), Authority(tmp_path, "clients")
    certificate, key = clients.issue("client")
    with receiving(server.server(clients=clients.certificate)) as https:
        telemetry = start(
            https.url,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_EXPORTER_OTLP_CERTIFICATE=str(server.certificate),
            OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=str(certificate),
            OTEL_EXPORTER_OTLP_CLIENT_KEY=str(key),
            OTEL_METRIC_EXPORT_INTERVAL="300",
        )
        telemetry.tracer.start_span("span").end()
        logging.getLogger("somebody").warning("careful")
        assert telemetry.flush(30)
        until(lambda: len(https.messages) == 3, 30)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize(
    "name",
    [
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE",
    ],
)
def test_a_certificate_that_is_not_there_ends_the_start(start: Start, name: str, protocol: str) -> None:
    before = {*threading.enumerate(), *logging.getLogger().handlers}
    with pytest.raises(ValueError, match=r"OTLP_..._CERTIFICATE \(/nowhere.pem\) cannot be used: .*No such file"):
        start(OTEL_EXPORTER_OTLP_PROTOCOL=protocol, **{name: "/nowhere.pem"})
    assert {*threading.enumerate(), *logging.getLogger().handlers} <= before, "something was left running"


def test_a_signal_of_its_own_has_an_address_of_its_own(start: Start, http: Received) -> None:
    telemetry = start(
        OTEL_EXPORTER_OTLP_TRACES_PROTOCOL="http/protobuf",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{http.url}/v1/traces",
        OTEL_LOGS_EXPORTER="none",
        OTEL_METRICS_EXPORTER="none",
    )
    telemetry.tracer.start_span("span").end()
    assert telemetry.flush(30)
    assert set(http.messages) == {"/v1/traces"}
    assert set(telemetry.health()) == {"collector"}
    assert b"agno_telemetry_spans_total" in telemetry.exposition.prometheus()[0], "still there to be read"


def test_no_traces_is_no_collector(start: Start) -> None:
    telemetry = start(OTEL_TRACES_EXPORTER="none", OTEL_LOGS_EXPORTER="none", OTEL_METRICS_EXPORTER="none")
    telemetry.tracer.start_span("span").end()
    assert telemetry.flush(5)
    assert telemetry.health() == {}


def test_disabled_is_off(start: Start) -> None:
    before = psutil.Process().children()
    telemetry = start(OTEL_SDK_DISABLED="true")
    telemetry.tracer.start_span("span").end()
    assert telemetry.health() == {}
    assert psutil.Process().children() == before


def test_sizes_and_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MAX_QUEUE_SIZE": "7", "MAX_EXPORT_BATCH_SIZE": "3", "SCHEDULE_DELAY": "250"}.items():
        monkeypatch.setenv(f"OTEL_BSP_{name}", value)
    monkeypatch.setenv("OTEL_BLRP_MAX_QUEUE_SIZE", "")
    monkeypatch.setenv("TELEMETRY_QUEUE_BYTES", "1000")
    spans, records = environment.limits("OTEL_BSP"), environment.limits("OTEL_BLRP")
    assert (spans.queue, spans.batch, spans.delay, spans.bytes) == (7, 3, 0.25, 1000)
    assert (records.queue, records.batch, records.delay) == (20_000, 512, 0.5)


def test_a_protocol_that_there_is_not_is_said_at_once(start: Start) -> None:
    with pytest.raises(ValueError, match="grpc or http/protobuf"):
        start(OTEL_EXPORTER_OTLP_PROTOCOL="http/json")


def test_the_end_comes_in_time_when_nobody_answers(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Spans, logs and metrics together."""
    caplog.set_level(logging.INFO, "somebody")
    listening = socket.create_server(("127.0.0.1", 0))  # and never answers
    telemetry = start(f"http://127.0.0.1:{listening.getsockname()[1]}")
    for _ in range(1000):
        telemetry.tracer.start_span("span").end()
        logging.getLogger("somebody").info("careful")
    began = time.monotonic()
    telemetry.shutdown(3)
    assert time.monotonic() - began < 8
    health = telemetry.health()
    assert health["collector"]["dropped"] == health["logs"]["dropped"] == 1000
    assert health["logs"]["reasons"] == {"shut down before it was sent": 1000}
    listening.close()
