"""The ways out of logs and metrics, which the process sends itself: there are few of them, and they are added up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
)

from telemetry import environment
from telemetry.clickhouse.direct import DirectWriter
from telemetry.settings import Settings

SendLogs = Callable[[Sequence[ReadableLogRecord]], None]
Close = Callable[[], None]


@dataclass(frozen=True)
class Signals:
    logs: tuple[SendLogs, Close] | None
    metrics: MetricExporter | None


def choose(settings: Settings) -> Signals:
    """Raises ValueError when direct mode has no ClickHouse to write to."""
    if settings.mode == "direct" and not settings.clickhouse_url:
        raise ValueError("direct mode needs CLICKHOUSE_URL")
    return Signals(
        _logs(settings) if environment.is_exported("logs") else None,
        _metrics(settings) if environment.is_exported("metrics") else None,
    )


def _metrics(settings: Settings) -> MetricExporter:
    if settings.mode == "direct":
        return _DirectMetrics(DirectWriter(settings.clickhouse_url or ""))
    environment.tls("metrics")
    endpoint = environment.endpoint("metrics", settings.otlp_endpoint)
    return HttpMetrics(endpoint) if environment.uses_http("metrics") else OTLPMetricExporter(endpoint)


def _logs(settings: Settings) -> tuple[SendLogs, Close]:
    if settings.mode == "direct":
        writer = DirectWriter(settings.clickhouse_url or "")  # not that of metrics: clients are not shared by threads
        return writer.write_logs, writer.close
    environment.tls("logs")
    endpoint = environment.endpoint("logs", settings.otlp_endpoint)
    exporter = HttpLogs(endpoint) if environment.uses_http("logs") else OTLPLogExporter(endpoint)

    def send(records: Sequence[ReadableLogRecord]) -> None:
        if exporter.export(records) is not LogRecordExportResult.SUCCESS:
            raise ConnectionError("the collector did not take the logs")

    return send, exporter.shutdown


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
