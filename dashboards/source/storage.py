"""Storage and the health of telemetry itself: what the stores hold, what is on its way, what is lost or missing."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.source import boards, sql
from dashboards.source.panels import bars, stat, table, timeseries, unit
from dashboards.source.sql import MINUTES, TIME, point

NOT_EXPORTED = "No process has exported it in this time."
UNDELIVERED = "match(MetricName, '^otelcol_exporter_(send|enqueue)_failed_')"
NO_COLLECTOR = "No collector has exported its own metrics in this time. In direct mode there is none."


def _collector(names: str) -> str:
    """Of the collector's own gauges: they have no place in our catalogue."""
    return f"""
    SELECT {point("toDateTime(TimeUnix)")},
        Attributes['exporter'] AS exporter, max(Value) AS value
    FROM otel_metrics_gauge
    WHERE MetricName IN ({names}) AND $__timeFilter(TimeUnix)
    GROUP BY time, exporter ORDER BY time
    """


PANELS = (
    stat(
        "Newest span",
        "How long ago the newest span that is in ClickHouse began.",
        """
        SELECT if(count() = 0, NULL, toUnixTimestamp(now()) - toUnixTimestamp(max(Timestamp))) AS age
        FROM otel_traces WHERE $__timeFilter(Timestamp)
        """,
        unit="s",
        decimals=0,
        width=4,
    ),
    stat(
        "Missing",
        "Spans that Postgres has and ClickHouse lacks, when the two were last compared. They are sent again.",
        sql.gauge("agno.telemetry.missing", {}, aggregate="max", result="missing"),
        unit="short",
        steps=((None, "green"), (1, "orange"), (1000, "red")),
        width=4,
    ),
    stat(
        "Lost",
        "Spans that were dropped, or that a destination refused for good.",
        f"""
        SELECT sumIf(increase, outcome IN ('dropped', 'failed')) AS lost
        FROM {sql.increases("agno.telemetry.spans", {"outcome": "outcome"})}
        """,
        unit="short",
        decimals=0,
        steps=((None, "green"), (1, "red")),
        width=4,
    ),
    stat(
        "On their way",
        "Spans that wait in the runtime for a destination.",
        sql.gauge("agno.telemetry.queue.size", {}, result="queued"),
        unit="short",
        width=4,
    ),
    stat(
        "ClickHouse",
        "Bytes on disk, of all telemetry.",
        "SELECT sum(bytes_on_disk) AS bytes FROM system.parts WHERE active AND database = currentDatabase()",
        unit="bytes",
        width=4,
    ),
    stat(
        "Postgres",
        "Bytes of the runtime's tables, with their indexes.",
        f"SELECT sum(value) AS bytes FROM ({sql.gauge('agno.db.table.size', {'name': 'table'}, aggregate='max')})",
        unit="bytes",
        width=4,
    ),
    timeseries(
        "Spans per minute, by destination",
        "What the runtime handed over, and what it did not.",
        f"""
        SELECT {TIME}, concat(destination, ' ', outcome) AS series, sum(increase) / {MINUTES} AS spans
        FROM {sql.increases("agno.telemetry.spans", {"destination": "destination", "outcome": "outcome"})}
        GROUP BY time, series HAVING spans > 0 ORDER BY time
        """,
        unit="short",
        by="series",
        bars=True,
        width=12,
        empty=NOT_EXPORTED,
    ),
    timeseries(
        "Spans that wait, by destination",
        "In the runtime's own queues.",
        sql.gauge_over_time("agno.telemetry.queue.size", {"destination": "destination"}),
        unit="short",
        by="destination",
        width=12,
        empty=NOT_EXPORTED,
    ),
    timeseries(
        "Missing, by destination",
        "Spans that Postgres has and the destination lacks.",
        sql.gauge_over_time("agno.telemetry.missing", {"destination": "destination"}, aggregate="max"),
        unit="short",
        by="destination",
        width=8,
        empty="Nothing was compared in this time (RECONCILE_SECONDS).",
    ),
    timeseries(
        "Log records per minute",
        "What the runtime handed over, and what it did not.",
        sql.rate("agno.telemetry.logs", "outcome", "outcome"),
        unit="short",
        by="outcome",
        bars=True,
        width=8,
        empty="Nothing was logged in this time.",
    ),
    timeseries(
        "Reloads of the agents",
        "error: a file could not be read, and its last good version goes on.",
        f"""
        SELECT {TIME}, outcome, sum(increase) AS reloads
        FROM {sql.increases("agno.agents.reloads", {"outcome": "outcome"})}
        GROUP BY time, outcome HAVING reloads > 0 ORDER BY time
        """,
        unit="short",
        by="outcome",
        bars=True,
        width=8,
        empty="No file of an agent has changed in this time.",
    ),
    timeseries(
        "Collector: batches that wait, by exporter",
        "Its queues: ClickHouse's is on disk and holds senders back when it is full, Phoenix's drops.",
        _collector("'otelcol_exporter_queue_size'"),
        unit="short",
        by="exporter",
        width=12,
        empty=NO_COLLECTOR,
    ),
    timeseries(
        "Collector: not delivered per minute, by exporter",
        "What an exporter tried in vain, and what did not get into its queue.",
        f"""
        SELECT {TIME}, exporter, sum(increase) / {MINUTES} AS lost
        FROM {sql.counter_increases(UNDELIVERED, {"exporter": "Attributes['exporter']"})}
        GROUP BY time, exporter HAVING lost > 0 ORDER BY time
        """,
        unit="short",
        by="exporter",
        bars=True,
        width=12,
        empty="The collector delivered everything in this time.",
    ),
    table(
        "Tables of ClickHouse",
        "What lies on disk, and how far it is compressed.",
        """
        SELECT table, sum(rows) AS rows, sum(bytes_on_disk) AS bytes,
            sum(data_uncompressed_bytes) / sum(data_compressed_bytes) AS compressed, count() AS parts,
            nullIf(min(min_time), toDateTime(0)) AS since
        FROM system.parts
        WHERE active AND database = currentDatabase()
        GROUP BY table ORDER BY bytes DESC
        """,
        width=12,
        empty="Nothing is stored yet.",
        columns={
            "rows": unit("short"),
            "bytes": unit("bytes"),
            "compressed": unit("short", 1),
            "parts": unit("short"),
            "since": unit("dateTimeFromNow"),
        },
    ),
    table(
        "Processes",
        "Those that have sent metrics within the last hour.",
        """
        SELECT ServiceName AS service, ResourceAttributes['service.instance.id'] AS instance,
            ResourceAttributes['service.version'] AS version,
            ResourceAttributes['deployment.environment.name'] AS environment,
            max(TimeUnix) AS heard
        FROM otel_metrics_sum
        WHERE TimeUnix > $__toTime - 3600 AND TimeUnix <= $__toTime
        GROUP BY service, instance, version, environment ORDER BY heard DESC LIMIT 50
        """,
        width=12,
        empty="No process has sent metrics within the last hour.",
        columns={"heard": unit("dateTimeFromNow")},
    ),
    bars(
        "Tables of Postgres: size",
        "With their indexes.",
        sql.gauge("agno.db.table.size", {"name": "table"}, aggregate="max") + "\nORDER BY value DESC LIMIT 15",
        unit="bytes",
        width=8,
        height=9,
        empty=NOT_EXPORTED,
    ),
    bars(
        "Tables of Postgres: rows",
        "As Postgres estimates them.",
        sql.gauge("agno.db.table.rows", {"name": "table"}, aggregate="max") + "\nORDER BY value DESC LIMIT 15",
        unit="short",
        width=8,
        height=9,
        empty=NOT_EXPORTED,
    ),
    timeseries(
        "Tables of Postgres over time",
        "The size of each, with its indexes.",
        sql.gauge_over_time("agno.db.table.size", {"name": "table"}, aggregate="max"),
        unit="bytes",
        by="name",
        width=8,
        height=9,
        empty=NOT_EXPORTED,
    ),
)


def dashboard() -> Dashboard:
    return boards.board(
        "storage",
        "Storage and telemetry",
        "What the stores hold, what is on its way, what was lost or is missing.",
        PANELS,
        variables=(boards.INTERVAL,),
    )
