"""`python -m telemetry.clickhouse migrate`: brings the database of CLICKHOUSE_URL to our schema, and its retention to
CLICKHOUSE_RETENTION_DAYS and CLICKHOUSE_ROLLUP_DAYS; on all servers of CLICKHOUSE_CLUSTER, if that is set."""

import argparse
import os
import sys

from clickhouse_connect.driver.exceptions import ClickHouseError
from pydantic import ValidationError

from telemetry import secrets
from telemetry.clickhouse.migrate import MigrationError, migrate
from telemetry.clickhouse.settings import Settings
from telemetry.configuration import complaints


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m telemetry.clickhouse", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("migrate", help="create the database and its tables, or bring them up to date")
    parser.parse_args()
    try:
        settings = Settings()
    except ValidationError as error:
        parser.error("; ".join(complaints(error)))
    secrets.remember(secrets.of(os.environ) | secrets.of(settings.model_dump()))
    if settings.clickhouse_url is None:
        parser.error("CLICKHOUSE_URL is not set (http://user:password@host:8123/database)")
    try:
        applied = migrate(
            settings.clickhouse_url,
            retention_days=settings.clickhouse_retention_days,
            rollup_days=settings.clickhouse_rollup_days,
            cluster=settings.clickhouse_cluster,
        )
    except (MigrationError, ValueError, ClickHouseError) as error:
        sys.exit(secrets.without(f"ClickHouse migration failed: {error}"))
    print(f"applied {', '.join(applied)}" if applied else "the schema is up to date")


if __name__ == "__main__":
    main()
