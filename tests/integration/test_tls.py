"""TLS to Postgres, to ClickHouse and to the collector: with an authority of one's own it is used, another is refused.

The embedded servers know no TLS: a proxy ends it before them, which lets nothing pass that is not encrypted.
"""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import clickhouse_connect
import grpc
import psycopg
import pytest
from clickhouse_connect.driver.exceptions import OperationalError

from stack.home import Home
from telemetry.clickhouse.client import connect
from tests.integration.certificates import Authority, encrypted
from tests.integration.conftest import ClickHouse
from tests.integration.runtimes import Runtime, running, until
from tests.integration.test_environment import Start
from tests.integration.test_environment import start as start

pytestmark = pytest.mark.timeout(300)  # several servers, on whatever else the machine does

SERVICES = ("trace.v1.TraceService", "metrics.v1.MetricsService", "logs.v1.LogsService")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other"), "somebody else")


@pytest.fixture
def database(migrated: str, stack_home: Home, authority: Authority) -> Iterator[str]:
    """Its URL, with TLS, but for the authority's file at the end."""
    with encrypted(stack_home.ports["postgres"], authority.server(), postgres=True) as port:
        yield migrated.replace(f":{stack_home.ports['postgres']}", f":{port}") + "?sslmode=verify-full&sslrootcert="


@pytest.fixture
def warehouse(clickhouse: ClickHouse, authority: Authority) -> Iterator[str]:
    """Its URL, with TLS, but for the authority's file at the end."""
    with encrypted(clickhouse.http_port, authority.server()) as port:
        url = clickhouse.otel_url.replace("http:", "https:").replace(f":{clickhouse.http_port}", f":{port}")
        yield f"{url}?ca_cert="


def test_all_that_a_runtime_does_is_encrypted(
    database: str, warehouse: str, migrated: str, clickhouse: ClickHouse, authority: Authority, tmp_path: Path
) -> None:
    """It has no other way to the stores: queue, sessions, LISTEN, spans, sizes of tables and the comparison use it."""
    settings = {
        "TELEMETRY_MODE": "direct",
        "CLICKHOUSE_URL": f"{warehouse}{authority.certificate}",
        "RECONCILE_SECONDS": "1",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
    }
    with running(f"{database}{authority.certificate}", tmp_path / "log", **settings) as runtime:
        runtime.database_url = migrated  # for the test's own questions
        run_id = runtime.send("encrypted", {"input": "hello"}).json()["run_id"]
        assert runtime.ended(run_id)["status"] == "completed"
        asked = f"SELECT count() FROM otel_traces WHERE RunId = '{run_id}'"
        until(lambda: clickhouse.rows(asked)[0][0] != "0", 60)
        until(lambda: runtime.query("SELECT count(*) FROM agno.agno_spans")[0][0] > 0, 60)
        until(lambda: clickhouse.rows("SELECT count() FROM otel_metrics_sum")[0][0] != "0", 60)
        until(lambda: clickhouse.rows("SELECT count() FROM otel_logs")[0][0] != "0", 60)
        until(lambda: "agno_db_table_size" in runtime.get("/api/metrics").text, 60)
        until(lambda: runtime.query("SELECT count(*) FROM telemetry_comparison")[0][0] == 1, 60)
        names = {name for (name,) in runtime.query("SELECT application_name FROM pg_stat_activity")}
        assert {"listener", "telemetry"} <= names
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_another_authority_is_refused_and_the_runtime_says_so(database: str, other: Authority, tmp_path: Path) -> None:
    for command in ("migrate", "serve"):
        runtime = Runtime(f"{database}{other.certificate}", tmp_path / command)
        assert runtime.command(command).wait(60) == 2
        said = runtime.log.read_text()
        assert "certificate verify failed" in said and "Traceback" not in said
    with pytest.raises(psycopg.OperationalError, match="closed the connection"):
        psycopg.connect(database.replace("verify-full", "disable").removesuffix("&sslrootcert="))


def test_clickhouse_with_another_authority_is_refused(warehouse: str, authority: Authority, other: Authority) -> None:
    connect(f"{warehouse}{authority.certificate}").close()
    with pytest.raises(OperationalError, match="certificate verify failed"):
        connect(f"{warehouse}{other.certificate}")
    with pytest.raises(OperationalError, match="certificate verify failed"):  # the system's authorities do not know it
        connect(warehouse.removesuffix("?ca_cert="))


def test_clickhouse_may_ask_for_a_certificate(clickhouse: ClickHouse, authority: Authority, other: Authority) -> None:
    with encrypted(clickhouse.http_port, authority.server(clients=other.certificate)) as port:
        url = clickhouse.otel_url.replace("http:", "https:").replace(f":{clickhouse.http_port}", f":{port}")
        url += f"?ca_cert={authority.certificate}"
        certificate, key = other.issue("client")
        shown = connect(f"{url}&client_cert={certificate}&client_cert_key={key}", client_name="shown")
        assert shown.command("SELECT 1") == 1
        shown.close()
        with pytest.raises(clickhouse_connect.driver.exceptions.Error):
            connect(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://h/otel?ca_cert=/nowhere.pem", "ca_cert of the ClickHouse URL: there is no file /nowhere.pem"),
        ("https://h/otel?verify=false", "says verify, but only ca_cert"),
        ("http://h/otel?server_host_name=x", "begins with http: nothing would be encrypted"),
        ("tcp://h/otel", "must look like http"),
    ],
)
def test_what_a_url_of_clickhouse_cannot_say(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        connect(url)


@pytest.fixture
def collector(authority: Authority, other: Authority) -> Iterator[tuple[str, dict[str, dict[str, str]]]]:
    """A collector's gRPC port with TLS, for clients of the other authority: its URL, and by service the metadata that
    came last."""
    received: dict[str, dict[str, str]] = {}

    def taking(service: str) -> Any:
        def take(request: bytes, context: Any) -> bytes:
            received[service] = dict(context.invocation_metadata())
            return b""

        return grpc.unary_unary_rpc_method_handler(take)

    certificate, key = authority.issue("collector")
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), certificate.read_bytes())], other.certificate.read_bytes(), require_client_auth=True
    )
    generic = [
        grpc.method_handlers_generic_handler(f"opentelemetry.proto.collector.{name}", {"Export": taking(name)})
        for name in SERVICES
    ]
    server = grpc.server(ThreadPoolExecutor(2), handlers=generic)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    yield f"https://127.0.0.1:{port}", received
    server.stop(0).wait()


def test_otlp_over_grpc_is_encrypted_with_certificates_and_headers(
    start: Start, collector: tuple[str, dict[str, dict[str, str]]], authority: Authority, other: Authority
) -> None:
    """Spans out of the exporter's process, metrics and logs out of this one."""
    url, received = collector
    certificate, key = other.issue("runtime")
    telemetry = start(
        url,
        OTEL_EXPORTER_OTLP_CERTIFICATE=str(authority.certificate),
        OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=str(certificate),
        OTEL_EXPORTER_OTLP_CLIENT_KEY=str(key),
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20of%20all",
        OTEL_EXPORTER_OTLP_TRACES_HEADERS="authorization=Bearer%20of%20spans",
        OTEL_METRIC_EXPORT_INTERVAL="300",
    )
    telemetry.tracer.start_span("span").end()
    logging.getLogger("somebody").warning("careful")
    assert telemetry.flush(30)
    until(lambda: set(received) == set(SERVICES), 60)
    sent = {service: metadata["authorization"] for service, metadata in received.items()}
    assert sent == dict.fromkeys(SERVICES, "Bearer of all") | {SERVICES[0]: "Bearer of spans"}


def test_a_collector_of_another_authority_gets_nothing_and_health_says_why(
    start: Start, collector: tuple[str, dict[str, dict[str, str]]], other: Authority
) -> None:
    url, received = collector
    telemetry = start(url, OTEL_EXPORTER_OTLP_CERTIFICATE=str(other.certificate), OTEL_METRICS_EXPORTER="none")
    telemetry.tracer.start_span("span").end()
    until(lambda: "CERTIFICATE_VERIFY_FAILED" in (telemetry.health()["collector"]["last_error"] or ""), 60)
    assert telemetry.health()["collector"]["queued"] == 1 and not received
