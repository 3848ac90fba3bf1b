"""`python -m telemetry.clickhouse migrate`: brings the database of CLICKHOUSE_URL to our schema."""

import argparse
import os
import sys

from clickhouse_connect.driver.exceptions import ClickHouseError

from telemetry import secrets
from telemetry.clickhouse.migrate import RETENTION_DAYS, ROLLUP_DAYS, MigrationError, migrate


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m telemetry.clickhouse", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("migrate", help="create the database and its tables, or bring them up to date")
    command.add_argument(
        "--retention-days",
        type=int,
        default=os.environ.get("CLICKHOUSE_RETENTION_DAYS", str(RETENTION_DAYS)),
        help="days that spans, metrics and logs are kept (CLICKHOUSE_RETENTION_DAYS, default %(default)s)",
    )
    command.add_argument(
        "--rollup-days",
        type=int,
        default=os.environ.get("CLICKHOUSE_ROLLUP_DAYS", str(ROLLUP_DAYS)),
        help="days that sums by hour are kept (CLICKHOUSE_ROLLUP_DAYS, default %(default)s)",
    )
    command.add_argument(
        "--cluster",
        default=os.environ.get("CLICKHOUSE_CLUSTER") or None,
        help="a cluster of the server's configuration, on all of which the tables are made (CLICKHOUSE_CLUSTER)",
    )
    arguments = parser.parse_args()
    url = os.environ.get("CLICKHOUSE_URL")
    secrets.remember(secrets.of(os.environ))
    if not url:
        parser.error("CLICKHOUSE_URL is not set (http://user:password@host:8123/database)")
    try:
        applied = migrate(
            url,
            retention_days=arguments.retention_days,
            rollup_days=arguments.rollup_days,
            cluster=arguments.cluster,
        )
    except (MigrationError, ValueError, ClickHouseError) as error:
        sys.exit(secrets.without(f"ClickHouse migration failed: {error}"))
    print(f"applied {', '.join(applied)}" if applied else "the schema is up to date")


if __name__ == "__main__":
    main()
