"""Pieces of the dashboards' queries. Times of day are UTC, durations seconds, costs US dollars.

`operations` is the view of the rollups: it takes the range that is shown and answers rows of a minute or of an hour.
"""

from collections.abc import Mapping

from dashboards.source.metric import Metric

RUNS = "operation IN ('invoke_agent', 'invoke_workflow')"
CALLS = "operation = 'chat'"
TOOLS = "operation = 'execute_tool'"

OPERATIONS = "operations(from = $__fromTime, to = $__toTime)"
ROW = "if($__toTime > $__fromTime + 43200, 3600, 60)"  # seconds of a row of `operations`
STEP = f"{ROW} * toUInt32(ceil(if($interval = 0, $__interval_s, $interval) / {ROW}))"  # seconds between two points
MINUTES = f"({STEP} / 60)"  # that a point of TIME stands for


def point(moment: str) -> str:
    """The point that a DateTime belongs to, as the column `time`."""
    return f"toStartOfInterval({moment}, toIntervalSecond({STEP})) AS time"


TIME = point("time")

IN_AGENT = "$__conditionalAll(agent_id IN (${agent:singlequote}), $agent)"
IN_ENVIRONMENT = "$__conditionalAll(environment IN (${environment:singlequote}), $environment)"
IN_KIND = "$__conditionalAll(name IN (${kind:singlequote}), $kind)"
IN_MODEL = "$__conditionalAll(name IN (${model:singlequote}), $model)"
IN_TOOL = "$__conditionalAll(name IN (${tool:singlequote}), $tool)"
HERE = f"{IN_AGENT} AND {IN_ENVIRONMENT}"

COST = "if(sum(priced) > 0, sum(cost), NULL)"  # unknown is not nothing

AGENTS = f"SELECT DISTINCT agent_id FROM {OPERATIONS} WHERE {RUNS} AND agent_id != '' ORDER BY agent_id"
ENVIRONMENTS = f"SELECT DISTINCT environment FROM {OPERATIONS} WHERE {RUNS} ORDER BY environment"


def names(operation: str) -> str:
    """Of the kinds, models or tools of such operations."""
    return f"SELECT DISTINCT name FROM {OPERATIONS} WHERE {operation} ORDER BY name"


def quantiles(counts: str) -> str:
    """For WITH: `quantile(0.95)` in seconds out of an aggregate of buckets; see 0005_rollups.sql for their bounds."""
    return f"""
    {counts} AS counts,
    arrayCumSum(mapValues(counts)) AS running,
    level -> if(
        empty(running), NULL,
        pow(2, (mapKeys(counts)[arrayFirstIndex(n -> n >= level * running[-1], running)] - 0.5) / 4) / 1000
    ) AS quantile"""


PERCENTILES = "quantile(0.5) AS p50, quantile(0.95) AS p95, quantile(0.99) AS p99"


def gauge(
    name: str, labels: Mapping[str, str], *, aggregate: str = "sum", result: str = "value", where: str = "1 = 1"
) -> str:
    """The newest value by these attributes ({column: attribute}), of the processes that were heard of in the range's
    last two minutes. What every process sees alike (the queue, the database) is aggregated by `max`.
    """
    table, columns = _gauges(name, labels)
    chosen = "".join(f"{column}, " for column in labels)
    grouped = f" GROUP BY {', '.join(labels)}" if labels else ""
    return f"""SELECT {chosen}if(count() = 0, NULL, {aggregate}(newest)) AS {result}
FROM (
    SELECT argMax(Value, TimeUnix) AS newest{columns}
    FROM {table}
    WHERE MetricName = '{name}' AND {where} AND TimeUnix > $__toTime - 120 AND TimeUnix <= $__toTime
    GROUP BY SeriesHash
){grouped}"""


def gauge_over_time(name: str, labels: Mapping[str, str], *, aggregate: str = "sum") -> str:
    """`gauge`, at each point: of each process the highest value in it."""
    table, columns = _gauges(name, labels)
    chosen = "".join(f", {column}" for column in labels)
    return f"""SELECT time{chosen}, {aggregate}(highest) AS value
FROM (
    SELECT {point("toDateTime(TimeUnix)")},
        max(Value) AS highest{columns}
    FROM {table}
    WHERE MetricName = '{name}' AND $__timeFilter(TimeUnix)
    GROUP BY SeriesHash, time
)
GROUP BY time{chosen}
ORDER BY time"""


def _gauges(name: str, labels: Mapping[str, str]) -> tuple[str, str]:
    metric = Metric(name)
    return metric.table, "".join(f", any({metric.attribute(key)}) AS {column}" for column, key in labels.items())


def increases(name: str, labels: Mapping[str, str], *, where: str = "1 = 1") -> str:
    """A subquery: `time` and `increase` of a counter, or of a histogram's count, point by point."""
    metric = Metric(name)
    values = {column: metric.attribute(key) for column, key in labels.items()}
    return counter_increases(f"MetricName = '{name}' AND {where}", values, metric.table)


def counter_increases(where: str, labels: Mapping[str, str], table: str = "otel_metrics_sum") -> str:
    """`increases` of whatever counters `where` chooses ({column: SQL}); also over restarts of their processes.

    A series begins with its process (StartTimeUnix): its first value is an increase only if it began in the range.
    """
    columns = "".join(f", {value} AS {column}" for column, value in labels.items())
    value = "toFloat64(Count)" if table == "otel_metrics_histogram" else "Value"
    return f"""(
    SELECT toDateTime(TimeUnix) AS time{columns},
        {value} - lagInFrame({value}, 1, if(StartTimeUnix >= $__fromTime, 0, {value})) OVER (
            PARTITION BY MetricName, SeriesHash, StartTimeUnix ORDER BY TimeUnix
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS increase
    FROM {table}
    WHERE ({where}) AND $__timeFilter(TimeUnix)
)"""


def histogram(name: str, *, where: str = "1 = 1") -> str:
    """p50 and p95 at each point, as the upper bound of the bucket that they are in."""
    metric, counts = Metric(name), "arrayMap(count -> toInt64(count), BucketCounts)"
    return f"""WITH
    sumForEach(increase) AS counts,
    arrayCumSum(counts) AS running,
    any(bounds) AS uppers,
    level -> uppers[least(arrayFirstIndex(n -> n >= level * running[-1], running), length(uppers))] AS quantile
SELECT {TIME}, quantile(0.5) AS p50, quantile(0.95) AS p95
FROM (
    SELECT toDateTime(TimeUnix) AS time, ExplicitBounds AS bounds,
        arrayMap((now, before) -> now - before, {counts}, lagInFrame(
            {counts}, 1, if(StartTimeUnix >= $__fromTime, arrayMap(count -> toInt64(0), BucketCounts), {counts})
        ) OVER (
            PARTITION BY SeriesHash, StartTimeUnix ORDER BY TimeUnix
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        )) AS increase
    FROM {metric.table}
    WHERE MetricName = '{metric.name}' AND {where} AND $__timeFilter(TimeUnix)
)
GROUP BY time
HAVING running[-1] > 0
ORDER BY time"""


def rate(name: str, label: str, attribute: str, *, where: str = "1 = 1") -> str:
    """A counter's increase by minute."""
    return f"""SELECT {TIME}, {label},
    sum(increase) / {MINUTES} AS rate
FROM {increases(name, {label: attribute}, where=where)}
GROUP BY time, {label}
HAVING rate > 0
ORDER BY time"""


RELOADS = f"""
SELECT time, 'Agents reloaded' AS title, if(outcome = 'ok', 'every file was read', 'a file could not be read') AS text
FROM {increases("agno.agents.reloads", {"outcome": "outcome"})}
WHERE increase > 0
ORDER BY time
"""
