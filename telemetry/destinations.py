"""Where spans can be sent: Postgres, the collector over OTLP, or ClickHouse and Phoenix when there is no collector."""

import gzip
import ssl
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import httpx
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan

from telemetry import environment, otlp
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
    if not environment.is_exported("traces"):
        pass
    elif settings.mode == "collector":
        environment.uses_http("traces")
        environment.tls("traces")  # a mistake in them ends the start of the runtime, not of each exporter's process
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
    endpoint = environment.endpoint("traces", endpoint)
    if environment.uses_http("traces"):
        # not the SDK's exporter: it would itself try again for a minute, and not say what happened
        headers, timeout, zipped = environment.http("traces")
        over_http = HttpSpans("the collector", endpoint, headers, timeout, zipped, environment.tls("traces"))
        return over_http.send, over_http.close
    collector = CollectorSpans(endpoint=endpoint)
    return collector.send, collector.shutdown


def _clickhouse(url: str) -> tuple[Send, Close]:
    from telemetry.clickhouse.direct import DirectWriter  # memory that the collector's mode has no need of

    writer = DirectWriter(url)
    return writer.write_spans, writer.close


def _phoenix(url: str, api_key: str | None) -> tuple[Send, Close]:
    """Over HTTP, since its gRPC port binds all interfaces."""
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    phoenix = HttpSpans("Phoenix", f"{url.rstrip('/')}/v1/traces", headers)
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


class HttpSpans:
    """OTLP over HTTP. `name`: of the destination, for its errors; `timeout` in seconds; `tls` as httpx has it."""

    def __init__(
        self,
        name: str,
        url: str,
        headers: dict[str, str],
        timeout: float = 10,
        zipped: bool = False,
        tls: ssl.SSLContext | bool = True,
    ) -> None:
        self._name = name
        self._url = url
        self._zipped = zipped
        own = {"content-type": "application/x-protobuf", **({"content-encoding": "gzip"} if zipped else {})}
        self._session = httpx.Client(timeout=timeout, headers={**headers, **own}, verify=tls)

    def send(self, spans: Sequence[ReadableSpan]) -> None:
        """Raises httpx.HTTPError when the batch should be sent again, Rejected when it never will be taken."""
        body = otlp.encode(spans)
        answer = self._session.post(self._url, content=gzip.compress(body, 1) if self._zipped else body)
        if answer.status_code in (400, 413, 415, 422):
            raise Rejected(f"{self._name} refused a batch: {answer.status_code}")
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
