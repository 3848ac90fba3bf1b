"""Every setting of the page, out of the environment or `.env`. docs/dashboards.md lists them."""

from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator

from telemetry import secrets
from telemetry.clickhouse.client import options_of
from telemetry.configuration import Configuration


class Settings(Configuration):
    """What is secret may also be a file: telemetry.configuration."""

    PASSWORDS: ClassVar = {"clickhouse_readonly_url": "clickhouse_readonly_password"}

    clickhouse_readonly_url: str = Field(
        description="ClickHouse with a user that may only read: http://user:password@host:8123/otel."
    )
    clickhouse_readonly_password: str | None = Field(
        None, description="The password, when CLICKHOUSE_READONLY_URL has a user and none."
    )
    phoenix_url: str | None = Field(None, description="Phoenix, for links to traces.")
    runtime_url: str | None = Field(None, description="The runtime, for links to runs.")
    grafana_url: str | None = Field(None, description="Grafana with the same dashboards, for links.")
    dashboards_port: int = Field(3000, ge=1, le=65535, description="Port on loopback to listen on.")
    dashboards_url: str | None = Field(
        None, description="What the links of alerts begin with. None: http://127.0.0.1:DASHBOARDS_PORT."
    )
    dashboards_state: Path = Field(Path("dashboards.sqlite"), description="File of the alerts' states and history.")
    alert_seconds: int = Field(30, ge=1, description="How often the rules are evaluated.")
    alert_webhook_url: str | None = Field(None, description="Where alerts are posted. None: nowhere.")
    alert_webhook_secret: str | None = Field(None, description="Sent along as Authorization: Bearer.")
    deployment_environment: str = Field("local", description="Shown on the page.")

    @field_validator(
        "clickhouse_readonly_url", "phoenix_url", "runtime_url", "grafana_url", "dashboards_url", "alert_webhook_url"
    )
    @classmethod
    def _is_url(cls, url: str | None, info: ValidationInfo) -> str | None:
        """Links are shown on the page: nothing but http and https is one, and no password."""
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or any(c.isspace() for c in url):
            raise ValueError("write it as https://host/path")
        asked = info.field_name in ("clickhouse_readonly_url", "alert_webhook_url")
        return (url if asked else secrets.address(url)).rstrip("/")

    @field_validator("clickhouse_readonly_url")
    @classmethod
    def _leads_to_clickhouse(cls, url: str) -> str:
        options_of(url)
        return url

    @property
    def base(self) -> str:
        """What the page's own links begin with."""
        return self.dashboards_url or f"http://127.0.0.1:{self.dashboards_port}"
