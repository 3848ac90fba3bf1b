"""What telemetry is told. The exporter's process gets the same."""

from dataclasses import dataclass
from typing import Literal

from telemetry.content import Mode


@dataclass(frozen=True)
class Settings:
    """mode: "collector" (OTLP to `otlp_endpoint`), "direct" (to ClickHouse and Phoenix themselves) or "off".

    `content` and `redact` ("path/to/file.py:function"): see telemetry.content.
    """

    service_name: str
    environment: str
    mode: Literal["collector", "direct", "off"]
    otlp_endpoint: str = "http://127.0.0.1:4317"
    database_url: str | None = None
    clickhouse_url: str | None = None
    phoenix_url: str | None = None
    phoenix_api_key: str | None = None
    content: Mode = "full"
    redact: str | None = None
    prices: str | None = None  # a file, see telemetry.prices
