"""Where spans can be sent: Postgres, the collector over OTLP, or ClickHouse and Phoenix when there is no collector."""

from collections.abc import Callable, Sequence
from typing import Any

import grpc
import httpx
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan

from telemetry import otlp
from telemetry.buffer import Rejected
from telemetry.postgres import PostgresSpans
from telemetry.settings import Settings

Send = Callable[[Sequence[ReadableSpan]], None]
Close = Callable[[], None]
Make = Callable[[], tuple[Send, Close]]

# The OTLP specification's codes that a sender may retry; any other means that this batch will never be taken.
_RETRYABLE = {
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.UNAUTHENTICATED,  # a key that is being rotated is no reason to lose spans
    grpc.StatusCode.PERMISSION_DENIED,
}


def spans(settings: Settings) -> dict[str, Make]:
    """Each destination by its name; made when called, which connects nothing yet."""
    ways: dict[str, Make] = {}
    if settings.mode == "collector":
        ways["collector"] = lambda: _collector(settings.otlp_endpoint)
    else:
        ways["clickhouse"] = lambda: _clickhouse(settings.clickhouse_url or "")
        if settings.phoenix_url:
            phoenix_url = settings.phoenix_url
            ways["phoenix"] = lambda: _phoenix(phoenix_url, settings.phoenix_api_key)
    if settings.database_url:
        database_url = settings.database_url
        ways["postgres"] = lambda: _postgres(database_url)
    return ways


def _collector(endpoint: str) -> tuple[Send, Close]:
    collector = CollectorSpans(endpoint=endpoint)
    return collector.send, collector.shutdown


def _clickhouse(url: str) -> tuple[Send, Close]:
    from telemetry.clickhouse.direct import DirectWriter  # memory that the collector's mode has no need of

    writer = DirectWriter(url)
    return writer.write_spans, writer.close


def _phoenix(url: str, api_key: str | None) -> tuple[Send, Close]:
    phoenix = PhoenixSpans(url, api_key)
    return phoenix.send, phoenix.close


def _postgres(url: str) -> tuple[Send, Close]:
    postgres = PostgresSpans(url)
    return postgres.send, postgres.close


_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class CollectorSpans(OTLPSpanExporter):
    """The SDK's gRPC exporter (its variables, channel and TLS), with errors that say whether to send again."""

    def send(self, spans: Sequence[ReadableSpan]) -> None:
        """Raises grpc.RpcError when the batch should be sent again, Rejected when it never will be taken."""
        channel: Any = self._channel
        export = channel.unary_unary(
            _EXPORT
        )  # bytes as they are: the stub would want messages, which cost more to make
        try:
            export(otlp.encode(spans), metadata=self._headers, timeout=self._timeout)
        except grpc.RpcError as error:
            if _is_retryable(error):
                raise
            raise Rejected(f"the collector refused a batch: {_code(error).name}") from error


class PhoenixSpans:
    """OTLP over HTTP to Phoenix itself (its gRPC port binds all interfaces)."""

    def __init__(self, url: str, api_key: str | None) -> None:
        self._url = f"{url.rstrip('/')}/v1/traces"
        self._session = httpx.Client(timeout=10)
        self._session.headers["content-type"] = "application/x-protobuf"
        if api_key:
            self._session.headers["authorization"] = f"Bearer {api_key}"

    def send(self, spans: Sequence[ReadableSpan]) -> None:
        """Raises httpx.HTTPError when the batch should be sent again, Rejected when it never will be taken."""
        answer = self._session.post(self._url, content=otlp.encode(spans))
        if answer.status_code in (400, 413, 415, 422):
            raise Rejected(f"Phoenix refused a batch: {answer.status_code}")
        answer.raise_for_status()

    def close(self) -> None:
        self._session.close()


def _code(error: Any) -> grpc.StatusCode:
    """Of an RpcError, which in grpcio is also a Call (the stubs do not know)."""
    code: grpc.StatusCode = error.code()
    return code


def _is_retryable(error: Any) -> bool:
    if _code(error) is grpc.StatusCode.RESOURCE_EXHAUSTED:
        # a full collector says when to come back; a batch over its size limit gets no such hint
        return any("retryinfo" in key or "pushback" in key for key, _ in error.trailing_metadata() or ())
    return _code(error) in _RETRYABLE
