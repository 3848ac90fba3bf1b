"""OpenTelemetry's own variables, with our defaults where they lose less; docs/operations.md lists which are honoured.

The SDK's exporters read the rest themselves: headers, timeouts, compression and certificates, for all signals or one.
"""

import os
import ssl
from typing import Literal

from opentelemetry.util.re import parse_env_headers

from telemetry.buffer import Limits

Signal = Literal["traces", "metrics", "logs"]
_PATHS = {"traces": "v1/traces", "metrics": "v1/metrics", "logs": "v1/logs"}


def is_disabled() -> bool:
    return _read("OTEL_SDK_DISABLED", "").lower() == "true"


def is_exported(signal: Signal) -> bool:
    """Whether it leaves by OTLP or, in direct mode, to ClickHouse and Phoenix; Postgres has spans in any case."""
    return _read(f"OTEL_{signal.upper()}_EXPORTER", "otlp") != "none"


def uses_http(signal: Signal) -> bool:
    """OTLP over HTTP rather than gRPC. Raises ValueError for a protocol that there is not."""
    protocol = _of("PROTOCOL", signal, "grpc")
    if protocol not in ("grpc", "http/protobuf"):
        raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}, but must be grpc or http/protobuf")
    return protocol == "http/protobuf"


def endpoint(signal: Signal, of_all: str) -> str:
    """Where to send it. Over HTTP, what is meant for one signal is the whole address, as the specification says."""
    own = _read(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "")
    if own or not uses_http(signal):
        return own or of_all
    return f"{of_all.rstrip('/')}/{_PATHS[signal]}"


def http(signal: Signal) -> tuple[dict[str, str], float, bool]:
    """Headers, timeout in seconds (as the SDK for Python has it), and whether to send it zipped."""
    headers = dict(parse_env_headers(_of("HEADERS", signal, ""), liberal=True))
    return headers, float(_of("TIMEOUT", signal, "10")), _of("COMPRESSION", signal, "none") == "gzip"


def tls(signal: Signal) -> ssl.SSLContext | bool:
    """For httpx: trusts CERTIFICATE, shows CLIENT_CERTIFICATE. Raises ValueError for a file that is none of them.

    Over gRPC the SDK's exporters read the same; a file that they cannot read they would leave out and go on.
    """
    trusted, own, key = (_of(name, signal, "") for name in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"))
    if not (trusted or own):
        return True
    try:
        context = ssl.create_default_context(cafile=trusted or None)
        if own:
            context.load_cert_chain(own, key or None)
    except OSError as error:
        files = ", ".join(filter(None, (trusted, own, key)))
        raise ValueError(f"OTEL_EXPORTER_OTLP_..._CERTIFICATE ({files}) cannot be used: {error}") from error
    return context


def limits(prefix: Literal["OTEL_BSP", "OTEL_BLRP"]) -> Limits:
    """MAX_QUEUE_SIZE, MAX_EXPORT_BATCH_SIZE, SCHEDULE_DELAY (ms); and TELEMETRY_QUEUE_BYTES, which is ours."""
    default = Limits()
    return Limits(
        queue=int(_read(f"{prefix}_MAX_QUEUE_SIZE", default.queue)),
        batch=int(_read(f"{prefix}_MAX_EXPORT_BATCH_SIZE", default.batch)),
        delay=float(_read(f"{prefix}_SCHEDULE_DELAY", default.delay * 1000)) / 1000,
        bytes=int(_read("TELEMETRY_QUEUE_BYTES", default.bytes)),
    )


def metric_interval() -> float:
    """In milliseconds."""
    return float(_read("OTEL_METRIC_EXPORT_INTERVAL", 30_000))


def _of(name: str, signal: Signal, default: str) -> str:
    return _read(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}", _read(f"OTEL_EXPORTER_OTLP_{name}", default))


def _read(name: str, default: object) -> str:
    """An empty value is as good as none, as the specification says."""
    return os.environ.get(name, "").strip() or str(default)
