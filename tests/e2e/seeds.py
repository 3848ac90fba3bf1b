"""Telemetry for the dashboards to show: spans as the benchmarks generate them, every instrument's points, logs."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

from clickhouse_connect.driver.client import Client

from benchmarks.generated import COLUMNS, ROLLUPS, SENTENCE, SMALL, SPANS_PER_RUN, TURNS, make_phrases
from telemetry.catalogue import INSTRUMENTS, Instrument

SPANS = Path(__file__).parents[2] / "benchmarks" / "spans.sql"
LAST_RUNS = 300  # seconds that a session goes on
HOSTILE = "<img src=x onerror=alert(1)>&\"'${run_id} %{x} <b>bold</b>"  # an agent's name
NAMES = {
    "agent_id": ("agent-1", "agent-2", "agent-3"),
    "queue": ("default",),
    "source": ("api", "github"),
    "table": ("agno_sessions", "agno_spans", "deliveries", "tickets"),
}
MOST = 12  # series of an instrument
POINTS = 240  # of a series, the newest now
SECONDS = 30  # between two points


def seed(otel: Client, spans: int, hours: float) -> None:
    """`spans` that began within the last hours, metrics and logs beside them, and the rollups computed."""
    make_phrases(otel)
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
        for number, attributes in enumerate(itertools.islice(series(instrument), MOST)):
            _points(otel, instrument, number, attributes)
    logs(otel)
    refresh(otel)


def refresh(otel: Client) -> None:
    """The rollups, now rather than within 15 seconds."""
    for view in ROLLUPS:
        otel.command(f"SYSTEM REFRESH VIEW {view}_mv")
        otel.command(f"SYSTEM WAIT VIEW {view}_mv")


def series(instrument: Instrument) -> Iterator[dict[str, str]]:
    values = [instrument.values.get(key, NAMES.get(key, ("one",))) for key in instrument.attributes]
    for chosen in itertools.product(*values):
        yield dict(zip(instrument.attributes, chosen, strict=True))


def _points(otel: Client, instrument: Instrument, number: int, attributes: dict[str, str]) -> None:
    histogram = instrument.kind == "histogram"
    table = "histogram" if histogram else "gauge" if instrument.kind == "observable_gauge" else "sum"
    wave = f"round(abs(sin(n / 25 + {number})) * {10 / (number + 1)} * {1e6 if instrument.unit == 'By' else 1})"
    growing = "intDiv(n, 90)" if "reload" in instrument.unit else f"intDiv(n * {5 - min(number, 4)}, 40)"
    extra = ""
    if histogram:
        extra = ", Count, Sum, BucketCounts, ExplicitBounds"
        value = f"{growing}, {growing} / 2, [{growing}, 0], [1.]"
    else:
        value = growing if instrument.kind == "counter" else wave
    columns = extra.removeprefix(", ") or "Value"
    monotonic = ", IsMonotonic, AggregationTemporality" if table == "sum" else ""
    flags = f", {instrument.kind == 'counter'}, 2" if table == "sum" else ""
    otel.command(
        f"INSERT INTO otel_metrics_{table} (ResourceAttributes, ServiceName, MetricName, MetricUnit, Attributes,"
        f" StartTimeUnix, TimeUnix, {columns}{monotonic})"
        " SELECT map('service.name', 'agent-runtime', 'service.instance.id', 'one', 'service.version', '1.4.2',"
        " 'deployment.environment.name', 'production'), 'agent-runtime', {name:String}, {unit:String},"
        " mapFromArrays({keys:Array(String)}, {values:Array(String)}), toDateTime64({began:Float64}, 9),"
        f" toDateTime64({{began:Float64}} + n * {SECONDS}, 9), {value}{flags}"
        f" FROM (SELECT number + 1 AS n FROM numbers({POINTS}))",
        parameters={
            "name": instrument.name,
            "unit": instrument.unit,
            "keys": list(attributes),
            "values": list(attributes.values()),
            "began": time.time() - POINTS * SECONDS,
        },
    )


def logs(otel: Client) -> None:
    """Of the newest runs, five lines each."""
    otel.command(
        "INSERT INTO otel_logs (Timestamp, TraceId, SpanId, SeverityText, SeverityNumber, ServiceName, Body,"
        " LogAttributes) SELECT started_at + toIntervalMillisecond(n * 700), trace_id, span_id,"
        " ['debug', 'info', 'info', 'warn', 'error'][n + 1], 9, service,"
        " concat('step ', toString(n), ' of ', run_id, if(n = 3, ': the upstream answered slowly, trying again', '')),"
        " map('code.function', 'execute', 'agent_id', agent_id)"
        " FROM (SELECT * FROM runs ORDER BY started_at DESC LIMIT 300)"
        " ARRAY JOIN range(5) AS n"
    )
