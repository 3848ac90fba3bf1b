"""What each store holds about the runtime's work, read for `stack verify`: only ids, statuses and times."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import psycopg

from stack.errors import StackError
from stack.home import Home
from telemetry import semconv

MARGIN = timedelta(minutes=1)  # rounding at the edge of the window must not look like a loss
PAGE = 1000


class StoreDown(StackError):
    """A store cannot be asked."""


@dataclass(frozen=True)
class Ticket:
    """`status` as the queue has it, times in UTC."""

    status: str
    attempt: int
    created: datetime
    ended: datetime | None


@dataclass(frozen=True)
class Run:
    """agno's row of a run: how it ended, and which attempt of its ticket began it (None: the row does not say)."""

    status: str
    attempt: int | None


@dataclass(frozen=True)
class Span:
    """`status` is that of a run's own span; empty for its calls and for the runs of members and steps."""

    run_id: str
    attempt: int
    status: str
    started: datetime
    ended: datetime


@dataclass
class Evidence:
    """`phoenix` and `spans_*` count per span id; `phoenix` is None where Phoenix does not belong to the stack."""

    since: datetime
    deliveries: Counter[str] = field(default_factory=Counter)  # run id -> deliveries that name it
    tickets: dict[str, Ticket] = field(default_factory=dict)  # by run id
    runs: dict[str, Run] = field(default_factory=dict)  # by run id
    postgres: dict[str, Span] = field(default_factory=dict)  # by span id
    clickhouse: dict[str, Span] = field(default_factory=dict)
    clickhouse_doubled: Counter[str] = field(default_factory=Counter)  # span id -> rows that a reader sees, if > 1
    clickhouse_raw_extra: int = 0  # rows that the engine has yet to merge away; no reader sees them
    phoenix: Counter[str] | None = None
    kills: list[datetime] = field(default_factory=list)  # when the runtime ended without being asked to, or was saved


@dataclass(frozen=True)
class Stores:
    """Where to read. `logs`: the supervisor's directory of logs."""

    database_url: str
    clickhouse_url: str
    phoenix_url: str | None = None
    phoenix_api_key: str = ""
    service: str = "agent-runtime"
    logs: Path | None = None
    restored: str = ""  # what was on its way at that moment is not in the backup that was restored

    @classmethod
    def of(cls, home: Home) -> "Stores":
        return cls(
            database_url=home.database_url,
            clickhouse_url=home.clickhouse_url,
            phoenix_url=home.phoenix_url if home.state.phoenix else None,
            phoenix_api_key=home.phoenix_api_key,
            logs=home.logs,
            restored=home.state.restored,
        )

    def read(self, since: datetime) -> Evidence:
        """Everything that began at `since` or later. Raises StoreDown."""
        evidence = Evidence(since, kills=list(kills(self.logs)) if self.logs else [])
        if self.restored:
            evidence.kills.append(datetime.fromisoformat(self.restored))
        # Postgres first: it is asked for what must be elsewhere, and what comes later is only more
        self._read_postgres(evidence)
        self._read_clickhouse(evidence)
        if self.phoenix_url is not None:
            evidence.phoenix = self._read_phoenix(since)
        return evidence

    def _read_postgres(self, evidence: Evidence) -> None:
        try:
            with psycopg.connect(self.database_url, connect_timeout=5) as connection:
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                for (run_id,) in connection.execute(_DELIVERIES, [evidence.since]):
                    evidence.deliveries[run_id] += 1
                for run_id, status, attempt, created, ended in connection.execute(_TICKETS, [evidence.since]):
                    evidence.tickets[run_id] = Ticket(status, attempt, created, ended)
                for run_id, *values in connection.execute(_RUNS, [list(evidence.tickets)]):
                    evidence.runs[run_id] = Run(*values)
                for span_id, *values in connection.execute(_SPANS, [evidence.since - MARGIN]):
                    evidence.postgres[span_id] = Span(*values)
        except psycopg.Error as error:
            raise StoreDown(f"Postgres cannot be read: {str(error).splitlines()[0]}") from error

    def _read_clickhouse(self, evidence: Evidence) -> None:
        parameters = {"param_since": str((evidence.since - MARGIN).timestamp()), "param_service": self.service}
        for row in _clickhouse(self.clickhouse_url, _CLICKHOUSE_SPANS, parameters):
            span_id, run_id, attempt, status, started, ended, rows = row
            times = (datetime.fromtimestamp(started, UTC), datetime.fromtimestamp(ended, UTC))
            evidence.clickhouse[span_id] = Span(run_id, attempt, status, *times)
            if rows > 1:
                evidence.clickhouse_doubled[span_id] = rows
        for (extra,) in _clickhouse(self.clickhouse_url, _CLICKHOUSE_RAW, parameters):
            evidence.clickhouse_raw_extra = extra

    def _read_phoenix(self, since: datetime) -> Counter[str]:
        found: Counter[str] = Counter()
        parameters: dict[str, str | int] = {"limit": PAGE, "start_time": since.isoformat()}
        client = httpx.Client(
            base_url=self.phoenix_url or "",
            headers={"authorization": f"Bearer {self.phoenix_api_key}"},
            timeout=30.0,
            trust_env=False,
        )
        try:
            with client:
                while True:
                    answer = client.get(f"/v1/projects/{self.service}/spans", params=parameters)
                    if answer.status_code == 404:  # no span has come yet, so there is no project
                        return found
                    page = answer.raise_for_status().json()
                    found.update(span["context"]["span_id"] for span in page["data"])
                    if not page["next_cursor"]:
                        return found
                    parameters["cursor"] = page["next_cursor"]
        except (httpx.HTTPError, ValueError) as error:
            raise StoreDown(f"Phoenix cannot be read: {error or type(error).__name__}") from error


_DELIVERIES = "SELECT run_id::text FROM public.deliveries WHERE received_at >= %s"

_TICKETS = """
SELECT id, status, attempt, created_at, completed_at FROM public.tickets WHERE created_at >= %s
"""

_RUNS = f"""
SELECT run_id, lower(status), (run_data #>> '{{metadata, {semconv.TICKET_CONTEXT}, attempt}}')::int
FROM agno.agno_runs WHERE run_id = ANY(%s)
""".encode()

_SPANS = f"""
SELECT span_id, coalesce(attributes ->> '{semconv.RUN_ID}', ''),
       coalesce((attributes ->> '{semconv.RUN_ATTEMPT}')::int, 1),
       CASE WHEN attributes ->> '{semconv.PARENT_RUN_ID}' IS NULL
            THEN coalesce(attributes ->> '{semconv.RUN_STATUS}', '') ELSE '' END,
       start_time::timestamptz, end_time::timestamptz
FROM agno.agno_spans
WHERE start_time::timestamptz >= %s
""".encode()

# What readers see (deploy/clickhouse/users.xml), for a user whose answers may have more than a million rows.
SEEN = "final = 1, do_not_merge_across_partitions_select_final = 1"

_CLICKHOUSE_SPANS = f"""
SELECT SpanId, any(SpanAttributes['{semconv.RUN_ID}']),
       any(toUInt32OrZero(SpanAttributes['{semconv.RUN_ATTEMPT}'])),
       any(if(SpanAttributes['{semconv.PARENT_RUN_ID}'] = '', SpanAttributes['{semconv.RUN_STATUS}'], '')),
       min(toUnixTimestamp64Micro(Timestamp)) / 1e6,
       max(toUnixTimestamp64Micro(Timestamp) + intDiv(Duration, 1000)) / 1e6, toUInt32(count())
FROM otel_traces
WHERE ServiceName = {{service:String}} AND Timestamp >= toDateTime64({{since:Float64}}, 6)
GROUP BY SpanId
SETTINGS {SEEN}
"""

_CLICKHOUSE_RAW = """
SELECT toUInt32(count() - uniqExact(SpanId)) FROM otel_traces
WHERE ServiceName = {service:String} AND Timestamp >= toDateTime64({since:Float64}, 6) SETTINGS final = 0
"""


def _clickhouse(url: str, query: str, parameters: dict[str, str]) -> Iterator[list[Any]]:
    """Rows of the query over HTTP. Raises StoreDown."""
    parts = urlsplit(url)
    try:
        answer = httpx.post(
            f"{parts.scheme}://{parts.hostname}:{parts.port}/",
            params={"database": parts.path.strip("/"), "default_format": "JSONCompactEachRow", **parameters},
            auth=(unquote(parts.username or ""), unquote(parts.password or "")),
            content=query,
            timeout=60.0,
            trust_env=False,
        )
    except httpx.HTTPError as error:
        raise StoreDown(f"ClickHouse cannot be read: {error or type(error).__name__}") from error
    if not answer.is_success:
        raise StoreDown(f"ClickHouse cannot be read: {answer.text.splitlines()[0][:300]}")
    for line in answer.text.splitlines():
        yield json.loads(line)


def kills(logs: Path) -> Iterator[datetime]:
    """The moments, out of the supervisor's log, at which the runtime ended without being asked to."""
    pattern = re.compile(r"^(\S+ \S+),(\d{3}) \w+ exited: runtime \(.*not expected\)", re.MULTILINE)
    for path in sorted(logs.glob("supervisord.log*")):
        for moment, milliseconds in pattern.findall(path.read_text(errors="replace")):
            local = datetime.strptime(moment, "%Y-%m-%d %H:%M:%S") + timedelta(milliseconds=int(milliseconds))
            yield local.astimezone(UTC)
