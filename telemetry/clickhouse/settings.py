"""The settings of `python -m telemetry.clickhouse migrate`. `.env.example` lists them."""

from typing import ClassVar

from pydantic import Field

from telemetry.clickhouse.migrate import RETENTION_DAYS, ROLLUP_DAYS
from telemetry.configuration import Configuration


class Settings(Configuration):
    PASSWORDS: ClassVar = {"clickhouse_url": "clickhouse_password"}

    clickhouse_url: str | None = None
    clickhouse_password: str | None = None
    clickhouse_retention_days: int = Field(
        RETENTION_DAYS, ge=1, le=3650, description="How long ClickHouse keeps spans, logs, metrics and sums by minute."
    )
    clickhouse_rollup_days: int = Field(
        ROLLUP_DAYS,
        ge=1,
        le=3650,
        description="How long it keeps sums by hour: a year can be compared with the one before.",
    )
    clickhouse_cluster: str | None = Field(
        None,
        pattern=r"^[\w.-]+$",
        description="A cluster of the servers' configuration, on all of which the tables are. None: one server.",
    )
