"""ClickHouse, as the user that may only read, with a limit of time, rows and queries at once."""

import logging
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from anyio import CapacityLimiter, to_thread
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

from dashboards.viewer.problems import Problem
from telemetry import secrets
from telemetry.clickhouse.client import connect

AT_ONCE = 6  # a page asks for all its panels at once; the rest wait here, not in ClickHouse
CONNECT_SECONDS = 3
GRACE_SECONDS = 5  # beyond a query's limit, which ClickHouse checks itself; then it is taken for away
RETRY_SECONDS = 5
_TIMEOUTS = {159, 160}  # TIMEOUT_EXCEEDED, TOO_SLOW
_BUSY = {202, 241}  # TOO_MANY_SIMULTANEOUS_QUERIES, MEMORY_LIMIT_EXCEEDED
_TOO_LARGE = {396}  # TOO_MANY_ROWS_OR_BYTES
_TIME = re.compile(r"(?:LowCardinality\()?(?:Nullable\()?DateTime")
_SERVER = re.compile(r".*server response: (?:Code: \d+\. )?(?:DB::Exception: )?|\s*\(version .*", re.DOTALL)


@dataclass(frozen=True)
class Limits:
    seconds: float = 10
    rows: int = 10_000


PANEL = Limits()


class QueryError(Exception):
    """A query was not answered; `problem` is what a client is told."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class Unavailable(QueryError):
    """ClickHouse does not answer: the next query would not be answered either."""


class ClickHouse:
    """Connects with the first query, and again after ClickHouse was away. Shared by threads."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Client | None = None
        self._lock = threading.Lock()
        self._limiter = CapacityLimiter(AT_ONCE)
        # it says what it raises a second time
        for name in ("clickhouse_connect", "urllib3"):
            logging.getLogger(name).setLevel(logging.ERROR)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    async def ask(self, sql: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        """A panel's query, in a thread. Raises a Problem."""
        try:
            return await to_thread.run_sync(self.query, sql, parameters, PANEL, limiter=self._limiter)
        except QueryError as error:
            raise error.problem from error

    def query(self, sql: str, parameters: Mapping[str, str], limits: Limits) -> dict[str, Any]:
        """ClickHouse's JSONCompact: meta, data, rows, statistics. Times are Unix seconds. Raises QueryError."""
        settings = {
            "date_time_output_format": "unix_timestamp",
            "output_format_json_quote_64bit_integers": 0,
            "max_execution_time": limits.seconds,
            "max_result_rows": limits.rows,
        }
        try:
            raw = self._connected(limits).raw_query(sql, dict(parameters), settings=settings, fmt="JSONCompact")
        except ClickHouseError as error:
            raise _explained(error, limits) from error
        return _with_times(orjson.loads(raw))

    def _connected(self, limits: Limits) -> Client:
        with self._lock:
            if self._client is None:
                self._client = connect(
                    self._url,
                    connect_timeout=CONNECT_SECONDS,
                    send_receive_timeout=limits.seconds + GRACE_SECONDS,
                    query_retries=1,
                )
            return self._client


def _with_times(answer: dict[str, Any]) -> dict[str, Any]:
    """ClickHouse writes times as texts, "1795311432.805"; the page wants numbers."""
    times = [number for number, column in enumerate(answer["meta"]) if _TIME.match(column["type"])]
    for row in answer["data"] if times else ():
        for number in times:
            text = row[number]
            if text is not None:
                row[number] = float(text) if "." in text else int(text)
    return answer


def _explained(error: ClickHouseError, limits: Limits) -> QueryError:
    code = getattr(error, "code", None)
    said = secrets.without(_SERVER.sub("", str(error)).strip())[:500]
    if code in _TIMEOUTS:
        hint = "a shorter time range, or a longer interval"
        return QueryError(Problem(504, f"the query took longer than {limits.seconds:g} s", hint=hint))
    if code in _TOO_LARGE:
        hint = "a shorter time range, or a longer interval"
        return QueryError(Problem(400, f"the answer has more than {limits.rows:,} rows", hint=hint))
    if code in _BUSY:
        return QueryError(Problem(503, f"ClickHouse is busy: {said}", retry_after=RETRY_SECONDS))
    if code is None and isinstance(error, OperationalError):
        hint = "is it running? CLICKHOUSE_READONLY_URL says where it is looked for"
        return Unavailable(Problem(503, "ClickHouse does not answer", retry_after=RETRY_SECONDS, hint=hint))
    hint = "has `python -m telemetry.clickhouse migrate` run, and may the user read the tables?"
    return QueryError(Problem(502, f"ClickHouse refused the query: {said}", hint=hint))
