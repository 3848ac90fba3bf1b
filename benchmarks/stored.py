"""Which spans each store has, by id, and how often."""

from collections import Counter
from datetime import UTC, datetime

import clickhouse_connect
import httpx
import psycopg

from stack.evidence import SEEN
from stack.home import Home

ALL = datetime.fromtimestamp(0, UTC)


def in_postgres(home: Home, since: datetime = ALL) -> Counter[str]:
    """Of the spans that began at `since` or later."""
    query = "SELECT span_id FROM agno.agno_spans WHERE start_time::timestamptz >= %s"
    with psycopg.connect(home.database_url) as connection:
        return Counter(row[0] for row in connection.execute(query, [since]))


def in_clickhouse(home: Home, since: datetime = ALL) -> Counter[str]:
    """The same, as every reader sees them, and so every dashboard."""
    client = clickhouse_connect.get_client(dsn=home.clickhouse_url)
    try:
        query = "SELECT SpanId, count() FROM otel_traces WHERE Timestamp >= {since:DateTime64(6)} GROUP BY SpanId"
        rows = client.query(f"{query} SETTINGS {SEEN}", parameters={"since": since}).result_rows
    finally:
        client.close()
    return Counter(dict(rows))


def in_phoenix(home: Home, project: str) -> Counter[str]:
    """Through its public API."""
    found: Counter[str] = Counter()
    headers = {"authorization": f"Bearer {home.phoenix_api_key}"}
    parameters = {"limit": "1000"}
    with httpx.Client(base_url=home.phoenix_url, headers=headers, timeout=60) as client:
        while True:
            answer = client.get(f"/v1/projects/{project}/spans", params=parameters)
            if answer.status_code == 404:  # none of the project has come yet
                return found
            page = answer.raise_for_status().json()
            found.update(span["context"]["span_id"] for span in page["data"])
            if not page["next_cursor"]:
                return found
            parameters["cursor"] = page["next_cursor"]
