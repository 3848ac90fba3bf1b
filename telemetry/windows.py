"""What both stores hold of one minute: how many spans, a checksum that both compute alike, and their ids.

A window is a minute since 1970, by the start of its spans. The checksum is the exclusive or of 64 bits of the ids' MD5:
in any order the same, and for an id of any form. (The bits of the id itself would cost a fifth less, and fail for an
id that somebody else wrote and that is not hexadecimal.)
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from clickhouse_connect.driver.client import Client

from telemetry import replay

SECONDS: Final = 60
Sums = dict[int, tuple[int, int]]  # window -> count, checksum (0 when only counted)

_LIMITS = {  # of one query; it may take its time, and one thread
    "max_execution_time": 60,
    "max_threads": 1,
    "do_not_merge_across_partitions_select_final": 1,
}
_RANGE = (
    "Timestamp >= fromUnixTimestamp64Nano(toInt64({start:UInt64})) AND "
    "Timestamp < fromUnixTimestamp64Nano(toInt64({end:UInt64}))"
)


class Postgres:
    """Reads agno's table of spans by the indexes that it has; those of start_time and created_at are over ISO 8601."""

    def __init__(self, connection: psycopg.Connection[Any], schema: str = "agno") -> None:
        self._connection = connection
        self._spans = f"{schema}.agno_spans"

    def first(self) -> int | None:
        """The window of the oldest span."""
        found = self._rows(f"SELECT min(start_time) FROM {self._spans}")[0][0]
        return None if found is None else _window(found)

    def sums(self, start: int, end: int, hashed: bool) -> Sums:
        """Without the hash it reads nothing but an index."""
        checksum = "bit_xor(('x' || substr(md5(span_id), 1, 16))::bit(64)::bigint)" if hashed else "0"
        query = f"""
            SELECT left(start_time, 16), count(*), {checksum} FROM {self._spans}
            WHERE start_time >= %s AND start_time < %s GROUP BY 1
        """
        rows = self._rows(query, _text(start), _text(end))
        return {_window(minute): (count, checksum % 2**64) for minute, count, checksum in rows}

    def written(self, since: int, until: int, before: int) -> set[int]:
        """The windows before `before` in which spans are that were written between `since` and `until`."""
        query = f"""
            SELECT DISTINCT left(start_time, 16) FROM {self._spans}
            WHERE created_at >= %s AND created_at < %s AND start_time < %s
        """
        return {_window(minute) for (minute,) in self._rows(query, *map(_text, (since, until, before)))}

    def spans(self, window: int) -> dict[str, str]:
        """When each was written (ISO 8601), by id."""
        query = f"SELECT span_id, created_at FROM {self._spans} WHERE start_time >= %s AND start_time < %s"
        return dict(self._rows(query, _text(window), _text(window + 1)))

    def rows(self, ids: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """replay.COLUMNS of each, few at a time: one may have megabytes."""
        query = f"SELECT {replay.COLUMNS} FROM {self._spans} WHERE span_id = ANY(%s) AND attributes ? 'otel'"
        with self._connection.transaction(), self._connection.cursor("spans") as cursor:
            cursor.itersize = 50
            yield from cursor.execute(query.encode(), [list(ids)])

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(query.encode(), values).fetchall()


class ClickHouse:
    """Reads otel_traces, where others may write too: `service` is the service.name whose spans are in Postgres."""

    def __init__(self, client: Client, service: str) -> None:
        self._client = client
        self._service = service

    def retention(self) -> int | None:
        """Days that spans are kept for; None: for ever."""
        query = (
            "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name LIKE 'otel\\_traces%'"
        )
        days = [found for (engine,) in self._rows(query) for found in re.findall(r"toIntervalDay\((\d+)\)", engine)]
        return min(map(int, days), default=None)

    def sums(self, start: int, end: int, hashed: bool) -> Sums:
        checksum = "groupBitXor(reinterpretAsUInt64(reverse(substring(MD5(SpanId), 1, 8))))" if hashed else "0"
        query = f"""
            SELECT intDiv(toUnixTimestamp(Timestamp), {SECONDS}) AS window, count(), {checksum}
            FROM otel_traces FINAL WHERE ServiceName = {{service:String}} AND {_RANGE} GROUP BY window
        """
        rows = self._rows(query, service=self._service, **_range(start, end))
        return {window: (count, checksum) for window, count, checksum in rows}

    def spans(self, window: int) -> dict[str, float]:
        """When each ended, in Unix seconds, by id; 0: it is of another service."""
        query = f"""
            SELECT SpanId, max(if(ServiceName = {{service:String}},
                                  toUnixTimestamp64Nano(Timestamp) / 1e9 + Duration / 1e9, 0))
            FROM otel_traces WHERE {_RANGE} GROUP BY SpanId
        """
        return dict(self._rows(query, service=self._service, **_range(window, window + 1)))  # type: ignore[arg-type]

    def _rows(self, query: str, **parameters: Any) -> Sequence[Sequence[Any]]:
        return self._client.query(query, parameters=parameters, settings=_LIMITS).result_rows


def of(moment: datetime) -> int:
    return int(moment.timestamp()) // SECONDS


def start_of(window: int) -> datetime:
    return datetime.fromtimestamp(window * SECONDS, UTC)


def _text(window: int) -> str:
    """No longer than the minute, so that it sorts before all times within it, by the rules of whatever language."""
    return start_of(window).strftime("%Y-%m-%dT%H:%M")


def _window(text: str) -> int:
    """1970 for what is no time: whoever wrote that, it must not keep the others from being compared."""
    try:
        return of(datetime.fromisoformat(text[:16] + "+00:00"))
    except ValueError:
        return 0


def _range(start: int, end: int) -> dict[str, int]:
    return {"start": start * SECONDS * 10**9, "end": end * SECONDS * 10**9}
