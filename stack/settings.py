"""The settings of `stack`: variables STACK_*, from the environment or from `.env` in the working directory."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseSettings):
    """A port left unset means "the default, or a free one when that is taken"; 0 means "any free one"."""

    model_config = SettingsConfigDict(env_prefix="STACK_", env_file=".env", extra="ignore")

    home: Path = Path(".stack")
    """The directory that holds all data, secrets and logs."""
    mode: Literal["auto", "collector", "direct"] = "auto"
    """auto: collector when one can be had, otherwise direct (the runtime writes to ClickHouse itself)."""
    collector: Path | None = None
    """An otelcol-contrib binary to use."""
    phoenix: bool = True
    """Start Phoenix."""

    runtime_port: Port | None = None
    dashboards_port: Port | None = None
    phoenix_port: Port | None = None
    phoenix_grpc_port: Port | None = None
    otlp_grpc_port: Port | None = None
    otlp_http_port: Port | None = None
    collector_health_port: Port | None = None
    collector_metrics_port: Port | None = None
    clickhouse_http_port: Port | None = None
    clickhouse_tcp_port: Port | None = None
    postgres_port: Port | None = None

    def port(self, name: str) -> int | None:
        value: int | None = getattr(self, f"{name}_port")
        return value
