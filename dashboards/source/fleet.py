"""All agents at a glance: what ran, what failed, how long it took, what it cost, what waits."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.source import boards, runs, sql
from dashboards.source.panels import (
    ERROR_RATE,
    TO_AGENT,
    bars,
    stat,
    table,
    timeseries,
    unit,
)
from dashboards.source.sql import CALLS, HERE, IN_KIND, MINUTES, OPERATIONS, PERCENTILES, RUNS, TIME

OF_RUNS = f"FROM {OPERATIONS} WHERE {RUNS} AND {HERE} AND {IN_KIND}"
OF_CALLS = f"FROM {OPERATIONS} WHERE {CALLS} AND {HERE}"

WORST_AGENTS = table(
    "Agents, the worst first",
    "Those that fail most, then those that are slowest. A click on its name opens the agent's own dashboard.",
    f"""
    WITH {sql.quantiles(f"sumMapIf(durations, {RUNS})")}
    SELECT agent_id AS agent, anyIf(name, {RUNS}) AS kind, sumIf(calls, {RUNS}) AS runs,
        sumIf(calls, outcome = 'error' AND {RUNS}) / runs AS failed, {PERCENTILES},
        sumIf(input_tokens + output_tokens, {CALLS}) AS tokens,
        if(sumIf(priced, {CALLS}) > 0, sumIf(cost, {CALLS}), NULL) AS cost
    FROM {OPERATIONS}
    WHERE ({RUNS} AND {IN_KIND} OR {CALLS}) AND {HERE}
    GROUP BY agent
    HAVING runs > 0
    ORDER BY failed DESC, p95 DESC
    LIMIT 50
    """,
    width=14,
    empty="No agent ran in this time.",
    columns={
        "agent": [TO_AGENT],
        "failed": ERROR_RATE,
        "p50": unit("s"),
        "p95": unit("s"),
        "p99": unit("s"),
        "tokens": unit("short"),
        "cost": unit("currencyUSD"),
    },
)

RUNS_SHOWN, FAILED, DURATION, TOKENS, SPENT = runs.totals(OF_RUNS, OF_CALLS, width=3)

PANELS = (
    RUNS_SHOWN,
    FAILED,
    DURATION,
    stat(
        "In progress",
        "Runs that were going on when their processes were last heard of.",
        sql.gauge("agno.agent.in_progress", {}, result="running"),
        unit="short",
        width=3,
    ),
    runs.waiting("Tickets in the queue that no worker has taken yet.", width=3),
    TOKENS,
    SPENT,
    runs.by_status(OF_RUNS, width=12),
    runs.percentiles(OF_RUNS, width=12),
    WORST_AGENTS,
    bars(
        "Errors by type",
        "What the failed runs say of their error: the conventions' error.type.",
        f"""
        SELECT error_type, count() AS errors
        FROM runs
        WHERE status = 'error' AND $__timeFilter(started_at) AND {HERE}
        GROUP BY error_type ORDER BY errors DESC LIMIT 12
        """,
        unit="short",
        colour="red",
        width=10,
        height=9,
        empty="No run failed in this time.",
    ),
    timeseries(
        "Tokens per minute",
        "Input, cached or not, and output, reasoning included.",
        f"""
        SELECT {TIME}, sum(input_tokens) / {MINUTES} AS input, sum(output_tokens) / {MINUTES} AS output
        {OF_CALLS} GROUP BY time ORDER BY time
        """,
        unit="short",
        bars=True,
        width=8,
        empty="No model was called in this time.",
    ),
    runs.cost_per_hour("agent_id", "agent", OF_CALLS, width=8),
    runs.tickets("Queue", "Tickets by state. What waits long shows on the Pipeline dashboard.", width=8),
    runs.failed(width=12, here=HERE),
    runs.slowest(width=12, here=HERE),
)


def dashboard() -> Dashboard:
    return boards.board(
        "fleet",
        "Fleet",
        "All agents at a glance.",
        PANELS,
        variables=(boards.AGENT, boards.KIND, boards.ENVIRONMENT, boards.INTERVAL),
    )
