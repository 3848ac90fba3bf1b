"""Tools: how often they are called, how long they take, and how they fail."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.source import boards
from dashboards.source.panels import (
    ERROR_RATE,
    OPENS,
    RUN,
    TO_AGENT,
    TO_RUN,
    TO_TRACE,
    stat,
    table,
    timeseries,
    unit,
)
from dashboards.source.sql import HERE, IN_TOOL, MINUTES, OPERATIONS, TIME, TOOLS, quantiles

OF_TOOLS = f"FROM {OPERATIONS} WHERE {TOOLS} AND {HERE} AND {IN_TOOL}"
ONE_BY_ONE = f"{HERE} AND $__conditionalAll(tool IN (${{tool:singlequote}}), $tool) AND $__timeFilter(started_at)"
NO_CALL = "No tool was called in this time."

PANELS = (
    stat("Calls", "Tool calls that ended.", f"SELECT sum(calls) AS calls {OF_TOOLS}", unit="short", width=6),
    stat(
        "Failed",
        "Share of the calls that ended in an error.",
        f"SELECT sumIf(calls, outcome = 'Error') / sum(calls) AS failed {OF_TOOLS}",
        unit="percentunit",
        decimals=1,
        steps=((None, "green"), (0.05, "orange"), (0.2, "red")),
        width=6,
    ),
    stat(
        "Duration",
        "Half of the calls were faster than p50, 95 % than p95, 99 % than p99.",
        f"""
        WITH {quantiles("sumMap(durations)")}
        SELECT quantile(0.5) AS p50, quantile(0.95) AS p95, quantile(0.99) AS p99 {OF_TOOLS}
        """,
        unit="s",
        width=12,
    ),
    timeseries(
        "Calls per minute, by tool",
        "Tool calls that ended.",
        f"SELECT {TIME}, name AS tool, sum(calls) / {MINUTES} AS calls {OF_TOOLS} GROUP BY time, tool ORDER BY time",
        unit="short",
        by="tool",
        bars=True,
        width=8,
        empty=NO_CALL,
    ),
    timeseries(
        "Failed calls per minute, by tool",
        "Tool calls that ended in an error.",
        f"""
        SELECT {TIME}, name AS tool, sumIf(calls, outcome = 'Error') / {MINUTES} AS calls
        {OF_TOOLS} GROUP BY time, tool HAVING calls > 0 ORDER BY time
        """,
        unit="short",
        by="tool",
        bars=True,
        width=8,
        empty="No tool call failed in this time.",
    ),
    timeseries(
        "Duration p95, by tool",
        "95 % of the calls were faster.",
        f"""
        WITH {quantiles("sumMap(durations)")}
        SELECT {TIME}, name AS tool, quantile(0.95) AS p95 {OF_TOOLS} GROUP BY time, tool ORDER BY time
        """,
        unit="s",
        by="tool",
        width=8,
        empty=NO_CALL,
    ),
    table(
        "Tools",
        "Those that took most time in all first.",
        f"""
        WITH {quantiles("sumMap(durations)")}
        SELECT name AS tool, sum(calls) AS used, sumIf(calls, outcome = 'Error') / used AS failed, quantile(0.5) AS p50,
            quantile(0.95) AS p95, sum(duration) AS total, uniqExact(agent_id) AS agents
        {OF_TOOLS} GROUP BY tool ORDER BY total DESC LIMIT 50
        """,
        width=12,
        empty=NO_CALL,
        columns={"failed": ERROR_RATE, "p50": unit("s"), "p95": unit("s"), "total": unit("s")},
    ),
    table(
        "Errors",
        "By tool, agent and type of error, with the newest message and its run.",
        f"""
        SELECT tool, agent_id AS agent, error_type AS error, count() AS calls,
            substring(argMax(error_message, started_at), 1, 300) AS message,
            argMax(call.run_id, started_at) AS run_id, substring(run_id, 1, 8) AS run
        FROM tool_calls AS call
        WHERE failed AND {ONE_BY_ONE}
        GROUP BY tool, agent, error ORDER BY calls DESC LIMIT 50
        """,
        width=12,
        empty="No tool call failed in this time.",
        columns={"agent": [TO_AGENT], **TO_RUN},
    ),
    table(
        "Slowest calls",
        "With their run and its trace.",
        f"""
        SELECT tool, agent_id AS agent, duration, failed ? 'failed' : 'ok' AS result, started_at AS started,
            {RUN}, {OPENS}
        FROM tool_calls
        WHERE {ONE_BY_ONE}
        ORDER BY duration DESC LIMIT 20
        """,
        width=24,
        empty=NO_CALL,
        columns={
            "agent": [TO_AGENT],
            "duration": unit("s"),
            "started": unit("dateTimeFromNow"),
            **TO_RUN,
            **TO_TRACE,
        },
    ),
)


def dashboard() -> Dashboard:
    return boards.board(
        "tools",
        "Tools",
        "Tools: how often they are called, how long they take, and how they fail.",
        PANELS,
        variables=(boards.AGENT, boards.TOOL, boards.ENVIRONMENT, boards.INTERVAL),
    )
