"""The ways out of logs and metrics, which the process sends itself: there are few of them, and they are added up."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
)

from telemetry.clickhouse.direct import DirectWriter
from telemetry.settings import Settings

SendLogs = Callable[[Sequence[ReadableLogRecord]], None]
Close = Callable[[], None]


@dataclass(frozen=True)
class Signals:
    logs: tuple[SendLogs, Close]
    metrics: MetricExporter | None


def choose(settings: Settings) -> Signals:
    if settings.mode == "collector":
        records = OTLPLogExporter(endpoint=settings.otlp_endpoint)
        metrics_endpoint = os.environ.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", settings.otlp_endpoint)
        metrics = None if os.environ.get("OTEL_METRICS_EXPORTER") == "none" else OTLPMetricExporter(metrics_endpoint)
        return Signals((_logs(records), records.shutdown), metrics)
    if not settings.clickhouse_url:
        raise ValueError("direct mode needs CLICKHOUSE_URL")
    # a connection per thread: clickhouse-connect clients are not shared
    writer, log_writer = DirectWriter(settings.clickhouse_url), DirectWriter(settings.clickhouse_url)
    return Signals((log_writer.write_logs, log_writer.close), _DirectMetrics(writer))


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
