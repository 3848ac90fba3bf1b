"""otel-collector.yaml as the environment has it: valid in each, with a token, with TLS; and what it does to content."""

import datetime
import ipaddress
import os
import re
import ssl
import subprocess
import time
from pathlib import Path

import grpc
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from stack import collector
from stack.home import Home
from tests.integration import telemetrygen
from tests.integration.collectors import PROTOBUF, collecting, post, spans, stored, toward
from tests.integration.conftest import ClickHouse
from tests.integration.runtimes import until

pytestmark = pytest.mark.timeout(180)
TOKEN = "a.token-of_the+sender/77=="
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7\n+/0=\n-----END RSA PRIVATE KEY-----"
PROMPT = "See https://example.org/a:b?c=d, the risk-list, 5 tokens and Bearer of bad news: nothing@all.\n" * 50


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Of 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "collector")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "tls.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "tls.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return tmp_path / "tls.crt", tmp_path / "tls.key"


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTLP_AUTH": "true", "OTLP_BEARER_TOKEN": TOKEN},
        {"OTLP_AUTH": "true", "OTLP_BEARER_TOKEN": "${file:TOKEN_FILE}"},
        {
            "OTLP_TLS": "true",
            "CLICKHOUSE_ENDPOINT": "tcp://clickhouse:9440?secure=true",
            "PHOENIX_ENDPOINT": "https://p",
        },
        {"OTLP_BEARER_TOKEN": "", "CLICKHOUSE_PASSWORD": "", "PHOENIX_API_KEY": ""},
    ],
    ids=["plain", "token", "token in a file", "TLS", "empty"],
)
def test_the_file_is_valid(variables: dict[str, str], collector_binary: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    set_ones = {name: value.replace("TOKEN_FILE", str(tmp_path / "token")) for name, value in variables.items()}
    done = validate(collector_binary, set_ones)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"OTLP_AUTH": "yes please"}, "value expected 'true' or 'false'"),
        ({"OTLP_TLS": "true", "OTLP_CERT_FILE": ""}, "must include both certificate and key"),
        ({"DEPLOYMENT_ENVIRONMENT": ""}, "must be specified"),
        ({"CLICKHOUSE_QUEUE_SIZE": "many"}, "queue_size"),
    ],
    ids=["OTLP_AUTH", "OTLP_CERT_FILE", "DEPLOYMENT_ENVIRONMENT", "CLICKHOUSE_QUEUE_SIZE"],
)
def test_what_is_wrong_is_said(variables: dict[str, str], reason: str, collector_binary: Path) -> None:
    done = validate(collector_binary, variables)
    assert done.returncode == 1
    assert reason in done.stderr


def validate(binary: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    argv = [str(binary), "validate", "--config", str(collector.CONFIG)]
    environment = {name: value for name, value in os.environ.items() if name not in names()} | variables
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)


def names() -> set[str]:
    return set(re.findall(r"\$\{env:(\w+)", collector.CONFIG.read_text()))


def test_who_has_no_token_is_refused_and_all_is_by_tls(
    own_home: Home, clickhouse: ClickHouse, collector_binary: Path, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    """Its own metrics come through its own door, and telemetrygen is let in as a stranger with a token is."""
    (tmp_path / "token").write_text(TOKEN)
    url = f"https://127.0.0.1:{own_home.ports['otlp_http']}"
    variables = {
        "OTLP_AUTH": "true",
        "OTLP_BEARER_TOKEN": f"${{file:{tmp_path}/token}}",
        "OTLP_TLS": "true",
        "OTLP_CERT_FILE": str(certificate[0]),
        "OTLP_KEY_FILE": str(certificate[1]),
        "OWN_METRICS_ENDPOINT": url,
        "OWN_METRICS_CA_FILE": str(certificate[0]),
        "OWN_METRICS_INTERVAL": "1000",
    }
    with collecting(own_home, collector_binary, **toward(clickhouse), **variables):
        with httpx.Client(verify=ssl.create_default_context(cafile=certificate[0])) as client:
            for token, status in ((None, 401), ("Bearer wrong", 401), (TOKEN, 401), (f"Bearer {TOKEN}", 200)):
                headers = PROTOBUF | ({"authorization": token} if token else {})
                answer = client.post(f"{url}/v1/traces", content=spans(1).SerializeToString(), headers=headers)
                assert answer.status_code == status, token
        with pytest.raises(httpx.HTTPError):
            httpx.get(url.replace("https", "http")).raise_for_status()
        port = own_home.ports["otlp_grpc"]
        with grpc.secure_channel(
            f"127.0.0.1:{port}", grpc.ssl_channel_credentials(certificate[0].read_bytes())
        ) as channel:
            export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
            with pytest.raises(grpc.RpcError) as error:
                export(spans(1).SerializeToString(), timeout=20)
            assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED  # type: ignore[attr-defined]
        authorization = f'authorization="Bearer {TOKEN}"'
        common = [
            "--otlp-endpoint",
            f"127.0.0.1:{port}",
            "--ca-cert",
            str(certificate[0]),
            "--otlp-header",
            authorization,
        ]
        generate = [str(telemetrygen.path()), "traces", "--traces", "2", "--child-spans", "1", "--rate", "0", *common]
        done = subprocess.run(generate, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert stored(clickhouse, 5) == (5, 5)
        own = "SELECT count() FROM otel_metrics_gauge WHERE MetricName = 'otelcol_exporter_queue_capacity'"
        until(lambda: clickhouse.rows(own) != [[0]], 60)


def test_the_environment_is_named_and_secrets_are_not_kept(
    own_home: Home, clickhouse: ClickHouse, collector_binary: Path
) -> None:
    secret = {
        "http.request.header.authorization": "Basic dTpw",
        "db.password": "hunter2",
        "openai.api_key": "x",
        "url.full": "postgresql://ann:hunter2@db/prices",
        "error": "401 for Bearer abcdefghijklmnopqrstuvwxyz0123",
        "input.value": f"{PROMPT}my key is sk-proj-AbCdEfGhIjKlMnOpQrStUvWx-12_34, keep it\n{KEY}\n",
        "kept": PROMPT,
    }
    named = spans(1)
    attribute = named.resource_spans[0].resource.attributes.add(key="deployment.environment.name")
    attribute.value.string_value = "its own"
    logs = ExportLogsServiceRequest()
    record = logs.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=time.time_ns())
    record.body.string_value = f"connecting to redis://:hunter2@cache:6379/0 with {KEY}"
    record.attributes.add(key="session.cookie").value.string_value = "crumbs"
    with collecting(own_home, collector_binary, DEPLOYMENT_ENVIRONMENT="production", **toward(clickhouse)) as running:
        assert post(running.url, spans(1, **secret)).is_success
        assert post(running.url, named).is_success
        url = f"{running.url}/v1/logs"
        assert httpx.post(url, content=logs.SerializeToString(), headers=PROTOBUF).is_success
        assert stored(clickhouse, 2) == (2, 2)
        until(lambda: clickhouse.rows("SELECT count() FROM otel_logs") == [[1]], 60)
    environment = "ResourceAttributes['deployment.environment.name']"
    rows = clickhouse.rows(f"SELECT {environment}, SpanAttributes FROM otel_traces ORDER BY 1")
    assert rows == [
        ["its own", {}],
        [
            "production",
            {
                "http.request.header.authorization": "****",
                "db.password": "****",
                "openai.api_key": "****",
                "url.full": "postgresql****db/prices",
                "error": "401 for ****",
                "input.value": f"{PROMPT}my key is ****, keep it\n****\n",
                "kept": PROMPT,
            },
        ],
    ]
    assert clickhouse.rows(f"SELECT {environment}, Body, LogAttributes FROM otel_logs") == [
        ["production", "connecting to redis****cache:6379/0 with ****", {"session.cookie": "****"}]
    ]
