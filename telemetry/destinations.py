"""What can be sent where: the collector over OTLP, or ClickHouse and Phoenix themselves when there is no collector."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.trace import ReadableSpan

from telemetry import otlp
from telemetry.buffer import Rejected
from telemetry.clickhouse.direct import DirectWriter

SendSpans = Callable[[Sequence[ReadableSpan]], None]
SendLogs = Callable[[Sequence[ReadableLogRecord]], None]
Close = Callable[[], None]

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


@dataclass(frozen=True)
class Signals:
    """Each signal's way out; spans may have several."""

    logs: tuple[SendLogs, Close]
    metrics: MetricExporter | None
    spans: dict[str, tuple[SendSpans, Close]] = field(default_factory=dict)


def choose(settings: Any) -> Signals:
    """The signals' ways out for telemetry.pipeline.Settings."""
    if settings.mode == "collector":
        spans = CollectorSpans(endpoint=settings.otlp_endpoint)
        records = OTLPLogExporter(endpoint=settings.otlp_endpoint)
        metrics_endpoint = os.environ.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", settings.otlp_endpoint)
        metrics = None if os.environ.get("OTEL_METRICS_EXPORTER") == "none" else OTLPMetricExporter(metrics_endpoint)
        return Signals((_logs(records), records.shutdown), metrics, {"collector": (spans.send, spans.shutdown)})
    if not settings.clickhouse_url:
        raise ValueError("direct mode needs CLICKHOUSE_URL")
    writer = DirectWriter(settings.clickhouse_url)
    span_writer = DirectWriter(
        settings.clickhouse_url
    )  # a connection per thread: clickhouse-connect clients are not shared
    log_writer = DirectWriter(settings.clickhouse_url)
    ways: dict[str, tuple[SendSpans, Close]] = {"clickhouse": (span_writer.write_spans, span_writer.close)}
    if settings.phoenix_url:
        phoenix = PhoenixSpans(settings.phoenix_url, settings.phoenix_api_key)
        ways["phoenix"] = (phoenix.send, phoenix.close)
    return Signals((log_writer.write_logs, log_writer.close), _DirectMetrics(writer), ways)


class CollectorSpans(OTLPSpanExporter):
    """The SDK's gRPC exporter (its variables, channel and TLS), with errors that say whether to send again."""

    def send(self, spans: Sequence[ReadableSpan]) -> None:
        """Raises grpc.RpcError when the batch should be sent again, Rejected when it never will be taken."""
        client: Any = self._client
        try:
            client.Export(request=otlp.encode(spans), metadata=self._headers, timeout=self._timeout)
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
        answer = self._session.post(self._url, content=otlp.encode(spans).SerializeToString())
        if answer.status_code in (400, 413, 415, 422):
            raise Rejected(f"Phoenix refused a batch: {answer.status_code}")
        answer.raise_for_status()

    def close(self) -> None:
        self._session.close()


class _DirectMetrics(MetricExporter):
    def __init__(self, writer: DirectWriter) -> None:
        super().__init__()
        self._writer = writer

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        self._writer.write_metrics(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self._writer.close()


def _logs(exporter: OTLPLogExporter) -> SendLogs:
    def send(records: Sequence[ReadableLogRecord]) -> None:
        if exporter.export(records) is not LogRecordExportResult.SUCCESS:
            raise ConnectionError("the collector did not take the logs")

    return send


def _code(error: Any) -> grpc.StatusCode:
    """Of an RpcError, which in grpcio is also a Call (the stubs do not know)."""
    code: grpc.StatusCode = error.code()
    return code


def _is_retryable(error: Any) -> bool:
    if _code(error) is grpc.StatusCode.RESOURCE_EXHAUSTED:
        # a full collector says when to come back; a batch over its size limit gets no such hint
        return any("retryinfo" in key or "pushback" in key for key, _ in error.trailing_metadata() or ())
    return _code(error) in _RETRYABLE
