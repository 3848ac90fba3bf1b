"""Writes spans, metrics and logs into ClickHouse without a collector, the same rows that the collector would write."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from clickhouse_connect.driver.client import Client
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.trace import ReadableSpan

from telemetry.clickhouse import logs, metrics, spans
from telemetry.clickhouse.client import connect
from telemetry.clickhouse.values import sendable

TIMEOUT = 30.0  # seconds for one insert; the caller batches, so one takes well under a second


class DirectWriter:
    """Inserts into the database that `clickhouse_url` names (http://user:password@host:port/database).

    `settings` are the server's, for each insert. Connects at the first write. Each write raises when the server did
    not acknowledge it; repeating a write, whole or in other batches, changes nothing that readers see. Batching and
    retries are the caller's. Thread-safe.
    """

    def __init__(self, clickhouse_url: str, **settings: Any) -> None:
        self._url = clickhouse_url
        # An answer means stored, whatever the server's defaults are, and on the shard where it belongs.
        self._settings = {"async_insert": 0, "distributed_foreground_insert": 1, **settings}
        self._lock = threading.Lock()
        self._client: Client | None = None

    def write_spans(self, batch: Sequence[ReadableSpan]) -> None:
        self._insert(spans.TABLE, spans.COLUMNS, spans.columns(batch))

    def write_logs(self, batch: Sequence[ReadableLogRecord]) -> None:
        self._insert(logs.TABLE, logs.COLUMNS, logs.columns(batch))

    def write_metrics(self, data: MetricsData) -> None:
        """One insert for each kind of metric; when a later one fails, the earlier ones are stored."""
        for table, columns in metrics.columns(data).items():
            self._insert(table, metrics.COLUMNS[table], columns)

    def close(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _insert(self, table: str, types: Mapping[str, str], columns: list[list[Any]]) -> None:
        if not columns[0]:
            return
        try:
            self._send(table, types, columns)
        except UnicodeEncodeError:
            # Looking for it in every string of every batch would cost more than the rest of the encoding.
            self._send(table, types, sendable(columns))

    def _send(self, table: str, types: Mapping[str, str], columns: list[list[Any]]) -> None:
        self._connected().insert(
            table,
            columns,
            column_names=list(types),
            column_type_names=list(types.values()),  # spares a DESCRIBE TABLE for each insert
            column_oriented=True,
        )

    def _connected(self) -> Client:
        with self._lock:
            if self._client is None:
                self._client = connect(
                    self._url, send_receive_timeout=TIMEOUT, connect_timeout=5, compress=False, settings=self._settings
                )
            return self._client
