"""Telemetry for the dashboards to show: spans as the benchmarks generate them, every instrument's points, logs."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

from clickhouse_connect.driver.client import Client

from benchmarks.generated import COLUMNS, ROLLUPS, SENTENCE, SMALL, SPANS_PER_RUN, TURNS
from telemetry.catalogue import INSTRUMENTS, Instrument

SPANS = Path(__file__).parents[2] / "benchmarks" / "spans.sql"
LAST_RUNS = 300  # seconds that a session goes on
NAMES = {
    "agent_id": ("agent-1", "agent-2", "agent-3"),
    "queue": ("default",),
    "source": ("api", "github"),
    "table": ("agno_sessions", "agno_spans", "deliveries", "tickets"),
}
MOST = 12  # series of an instrument
POINTS = 600  # of a series, the newest a little in the future: a test may last
SECONDS = 30  # between two points
AHEAD = 600
WORDS = (
    "reservation customer flight refund policy ticket window seat return airport morning delay voucher payment card"
    " evening change fare luggage confirm offer details agent price booking gate answer request status date"
)


def seed(otel: Client, spans: int, hours: float) -> None:
    """`spans` that began within the last hours, metrics and logs beside them, and the rollups computed."""
    _phrases(otel)
    otel.command(
        f"INSERT INTO otel_traces ({COLUMNS}) {SPANS.read_text()}",
        parameters={
            "first": 0,
            "count": spans,
            "sentence": SENTENCE,
            "began": int(time.time() - hours * 3600 - LAST_RUNS),
            "session_seconds": hours * 3600 / (spans // (SPANS_PER_RUN * TURNS)),
        },
        settings=SMALL,
    )
    for instrument in INSTRUMENTS:
        _points(otel, instrument)
    _logs(otel)
    refresh(otel)


def refresh(otel: Client) -> None:
    """The rollups, now rather than within 15 seconds."""
    for view in ROLLUPS:
        otel.command(f"SYSTEM REFRESH VIEW {view}_mv")
        otel.command(f"SYSTEM WAIT VIEW {view}_mv")


def _phrases(otel: Client) -> None:
    """What benchmarks.generated makes, of fewer words and in no time."""
    otel.command("CREATE TABLE phrases (id UInt16, text String) ENGINE = Join(ANY, LEFT, id)")
    otel.command(
        "INSERT INTO phrases WITH splitByChar(' ', {words:String}) AS words"
        ", n -> words[1 + sipHash64(number, n) % length(words)] AS word"
        " SELECT number, arrayStringConcat(arrayMap(word, range(5)), ' ')"
        " FROM numbers(65536)",
        parameters={"words": WORDS},
    )


def _series(instrument: Instrument) -> Iterator[tuple[str, ...]]:
    """Values of its attributes."""
    values = [instrument.values.get(key, NAMES.get(key, ("one",))) for key in instrument.attributes]
    return itertools.islice(itertools.product(*values), MOST)


def _points(otel: Client, instrument: Instrument) -> None:
    """Gauges go up and down, counters go up; the reloads are few."""
    few = "reload" in instrument.unit
    growing = "intDiv(n, 150)" if few else "intDiv(n * (6 - least(k, 5)), 40)"
    wave = f"round(abs(sin(n / 25 + k)) * 10 / k * {1e6 if instrument.unit == 'By' else 1})"
    if instrument.kind == "histogram":
        table, columns, values = "histogram", "Count, Sum, BucketCounts, ExplicitBounds", "v, v / 2, [v, 0], [1.]"
    elif instrument.kind == "observable_gauge":
        table, columns, values = "gauge", "Value", "v"
    else:
        table, columns = "sum", "Value, IsMonotonic, AggregationTemporality"
        values = f"v, {instrument.kind == 'counter'}, 2"
    otel.command(
        f"INSERT INTO otel_metrics_{table} (ResourceAttributes, ServiceName, MetricName, MetricUnit, Attributes,"
        f" StartTimeUnix, TimeUnix, {columns})"
        f" WITH {growing if instrument.kind in ('counter', 'histogram') else wave} AS v"
        " SELECT map('service.name', 'agent-runtime', 'service.instance.id', 'one', 'service.version', '1.4.2',"
        " 'deployment.environment.name', 'production'), 'agent-runtime', {name:String}, {unit:String},"
        " mapFromArrays({keys:Array(String)}, {series:Array(Array(String))}[k]), toDateTime64({began:Float64}, 9),"
        f" toDateTime64({{began:Float64}} + n * {SECONDS}, 9), {values}"
        f" FROM (SELECT number + 1 AS n FROM numbers({POINTS})) ARRAY JOIN range(1, {{count:UInt8}} + 1) AS k",
        parameters={
            "name": instrument.name,
            "unit": instrument.unit,
            "keys": list(instrument.attributes),
            "series": (series := [list(values) for values in _series(instrument)]),
            "count": len(series),
            "began": time.time() - POINTS * SECONDS + AHEAD,
        },
    )


def _logs(otel: Client) -> None:
    """Of the newest runs, five lines each."""
    otel.command(
        "INSERT INTO otel_logs (Timestamp, TraceId, SpanId, SeverityText, SeverityNumber, ServiceName, Body,"
        " LogAttributes) SELECT started_at + toIntervalMillisecond(n * 700), trace_id, span_id,"
        " ['debug', 'info', 'info', 'warn', 'error'][n + 1], 9, service,"
        " concat('step ', toString(n), ' of ', run_id, if(n = 3, ': the upstream answered slowly, trying again', '')),"
        " map('code.function', 'execute', 'agent_id', agent_id)"
        " FROM (SELECT * FROM runs ORDER BY started_at DESC LIMIT 300) ARRAY JOIN range(5) AS n"
    )
