"""One agent: how long it takes and why, what fails, its sessions and its tools."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.source import boards, runs, sql
from dashboards.source.panels import ERROR_RATE, heatmap, table, timeseries, unit
from dashboards.source.sql import CALLS, IN_ENVIRONMENT, OPERATIONS, RUNS, TIME, TOOLS

HERE = f"agent_id = ${{agent:singlequote}} AND {IN_ENVIRONMENT}"
OF_RUNS = f"FROM {OPERATIONS} WHERE {RUNS} AND {HERE}"
OF_CALLS = f"FROM {OPERATIONS} WHERE {CALLS} AND {HERE}"

# A row of the heatmap is a doubling, four buckets of the rollup: from 1 ms to 17 minutes, and what is beyond.
BOUNDS = tuple(range(0, 21))


def _bound(power: int) -> str:
    milliseconds = 2**power
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds / 1024:g} s"


def _buckets() -> str:
    columns = [
        f"arraySum(mapValues(mapFilter((b, n) -> b > {4 * (power - 1) if power else -1} AND b <= {4 * power}, counts)))"
        f' AS "{_bound(power)}"'
        for power in BOUNDS
    ]
    columns.append(f'arraySum(mapValues(mapFilter((b, n) -> b > {4 * BOUNDS[-1]}, counts))) AS "longer"')
    return ",\n    ".join(columns)


PANELS = (
    *runs.totals(OF_RUNS, OF_CALLS, width=4),
    heatmap(
        "Spread of durations",
        "How many runs took how long: a row is a doubling of the duration, named by its upper bound.",
        f"""
WITH sumMap(durations) AS counts
SELECT {TIME},
    {_buckets()}
{OF_RUNS}
GROUP BY time ORDER BY time""",
        width=12,
        empty="This agent did not run in this time.",
    ),
    runs.percentiles(OF_RUNS, width=12),
    runs.by_status(OF_RUNS, width=8),
    timeseries(
        "Errors by type",
        "Failed runs, by the conventions' error.type.",
        f"""
        SELECT {sql.point("toDateTime(started_at)")},
            error_type, count() AS errors
        FROM runs
        WHERE status = 'error' AND $__timeFilter(started_at) AND {HERE}
        GROUP BY time, error_type ORDER BY time
        """,
        unit="short",
        by="error_type",
        bars=True,
        width=8,
        empty="No run of this agent failed in this time.",
    ),
    timeseries(
        "Where the time goes",
        "Seconds spent in model calls, tools and retrievals, per run. Calls that go on side by side count each.",
        f"""
        SELECT {TIME},
            sumIf(duration, {CALLS}) / sumIf(calls, {RUNS}) AS models,
            sumIf(duration, {TOOLS}) / sumIf(calls, {RUNS}) AS tools,
            sumIf(duration, operation = 'retrieval') / sumIf(calls, {RUNS}) AS retrievals
        FROM {OPERATIONS} WHERE {HERE}
        GROUP BY time HAVING sumIf(calls, {RUNS}) > 0 ORDER BY time
        """,
        unit="s",
        bars=True,
        width=8,
        empty="This agent did not run in this time.",
    ),
    runs.slowest(width=12, here=HERE),
    runs.failed(width=12, here=HERE),
    runs.sessions(width=14, here=HERE),
    table(
        "Tools",
        "What it calls, those that took most time first.",
        f"""
        WITH {sql.quantiles("sumMap(durations)")}
        SELECT name AS tool, sum(calls) AS used, sumIf(calls, outcome = 'Error') / used AS failed,
            quantile(0.95) AS p95, sum(duration) AS total
        FROM {OPERATIONS} WHERE {TOOLS} AND {HERE}
        GROUP BY tool ORDER BY total DESC LIMIT 20
        """,
        width=10,
        empty="This agent called no tool in this time.",
        columns={"failed": ERROR_RATE, "p95": unit("s"), "total": unit("s")},
    ),
)


def dashboard() -> Dashboard:
    return boards.board(
        "agent",
        "Agent",
        "One agent: how long it takes and why, what fails, its sessions and its tools.",
        PANELS,
        variables=(boards.ONE_AGENT, boards.ENVIRONMENT, boards.INTERVAL),
    )
