"""Panels that more than one dashboard shows. `here` is what chooses the runs, as a condition in SQL."""

from collections.abc import Sequence

from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from dashboards.source.panels import (
    OPENS,
    RUN,
    STATUS,
    TO_AGENT,
    TO_RUN,
    TO_TRACE,
    Panel,
    stat,
    table,
    timeseries,
    unit,
    wide,
)
from dashboards.source.sql import COST, MINUTES, PERCENTILES, TIME, gauge, gauge_over_time, quantiles

NO_PRICE = "No model call with a known price in this time. The offline model has none."

_COLUMNS = {
    **TO_RUN,
    **TO_TRACE,
    "agent": [TO_AGENT],
    "started": [*unit("dateTimeFromNow"), wide(130)],
    "duration": [*unit("s"), wide(90)],
    "status": [*STATUS, wide(100)],
    "tokens": [*unit("short"), wide(80)],
}


def _columns(names: str) -> dict[str, Sequence[DynamicConfigValue]]:
    return {name: _COLUMNS[name] for name in names.split()}


def totals(of_runs: str, of_calls: str, *, width: int) -> tuple[Panel, ...]:
    """Runs, failed, duration (twice as wide), tokens, cost."""
    return (
        stat(
            "Runs",
            "Runs that ended in the time shown.",
            f"SELECT sum(calls) AS runs {of_runs}",
            unit="short",
            width=width,
        ),
        stat(
            "Failed",
            "Share of them that ended in an error.",
            f"SELECT sumIf(calls, outcome = 'error') / sum(calls) AS failed {of_runs}",
            unit="percentunit",
            decimals=1,
            steps=((None, "green"), (0.02, "orange"), (0.1, "red")),
            width=width,
        ),
        stat(
            "Duration",
            "Half of the runs were faster than p50, 95 % than p95, 99 % than p99.",
            f"WITH {quantiles('sumMap(durations)')}\nSELECT {PERCENTILES}\n{of_runs}",
            unit="s",
            width=2 * width,
        ),
        stat(
            "Tokens",
            "Of all model calls: input, cached or not, and output, reasoning included.",
            f"SELECT sum(input_tokens + output_tokens) AS tokens {of_calls}",
            unit="short",
            width=width,
        ),
        stat(
            "Cost",
            "Of the model calls whose price is known.",
            f"SELECT {COST} AS cost {of_calls}",
            unit="currencyUSD",
            width=width,
        ),
    )


def by_status(of_runs: str, *, width: int) -> Panel:
    return timeseries(
        "Runs per minute, by status",
        "Runs that ended, per minute. An attempt that failed and was tried again counts as a run of its own.",
        f"SELECT {TIME}, outcome AS status, sum(calls) / {MINUTES} AS runs\n{of_runs}\n"
        "GROUP BY time, status ORDER BY time",
        unit="short",
        by="status",
        bars=True,
        width=width,
        empty="No run ended in this time.",
    )


def percentiles(of_runs: str, *, width: int) -> Panel:
    return timeseries(
        "Duration percentiles",
        "Half of the runs were faster than p50, 95 % than p95, 99 % than p99. Within 9 % of the exact figures.",
        f"WITH {quantiles('sumMap(durations)')}\nSELECT {TIME}, {PERCENTILES}\n{of_runs}\nGROUP BY time ORDER BY time",
        unit="s",
        width=width,
        empty="No run ended in this time.",
    )


def slowest(*, width: int, here: str) -> Panel:
    return table(
        "Slowest runs",
        "With their trace in Phoenix and their run in AgentOS.",
        f"""
        SELECT {RUN}, agent_id AS agent, status, duration, input_tokens + output_tokens AS tokens,
            started_at AS started, {OPENS}
        FROM runs
        WHERE $__timeFilter(started_at) AND {here}
        ORDER BY duration DESC LIMIT 20
        """,
        width=width,
        empty="No run in this time.",
        columns=_columns("run run_id agent status duration tokens started phoenix agentos trace_id"),
    )


def failed(*, width: int, here: str) -> Panel:
    return table(
        "Failed runs",
        "The newest first, with their trace in Phoenix and their run in AgentOS.",
        f"""
        SELECT {RUN}, agent_id AS agent, error_type AS error, substring(error_message, 1, 300) AS message,
            duration, started_at AS started, {OPENS}
        FROM runs
        WHERE status = 'error' AND $__timeFilter(started_at) AND {here}
        ORDER BY started_at DESC LIMIT 20
        """,
        width=width,
        empty="No run failed in this time.",
        columns=_columns("run run_id agent duration started phoenix agentos trace_id"),
    )


def sessions(*, width: int, here: str) -> Panel:
    return table(
        "Sessions",
        "Those that used most tokens.",
        f"""
        SELECT session_id AS session, any(user_id) AS user, count() AS runs, countIf(status = 'error') / runs AS failed,
            sum(duration) AS duration, sum(input_tokens + output_tokens) AS tokens, max(started_at) AS started,
            argMax(one.run_id, one.started_at) AS run_id, substring(run_id, 1, 8) AS run
        FROM runs AS one
        WHERE session_id != '' AND $__timeFilter(started_at) AND {here}
        GROUP BY session ORDER BY tokens DESC LIMIT 20
        """,
        width=width,
        empty="No session in this time.",
        columns={**_columns("duration tokens started run run_id"), "failed": unit("percentunit", 0)},
    )


def waiting(description: str, *, width: int) -> Panel:
    return stat(
        "Waiting",
        description,
        gauge("agno.queue.depth", {}, aggregate="max", result="waiting", where="Attributes['state'] = 'queued'"),
        unit="short",
        steps=((None, "text"), (100, "orange"), (1000, "red")),
        width=width,
    )


def tickets(title: str, description: str, *, width: int) -> Panel:
    return timeseries(
        title,
        description,
        gauge_over_time("agno.queue.depth", {"state": "state"}, aggregate="max"),
        unit="short",
        by="state",
        width=width,
        empty="No process has exported its queue in this time.",
    )


def cost_per_hour(column: str, by: str, of_calls: str, *, width: int) -> Panel:
    """`by`: what the column's values are called."""
    return timeseries(
        f"Cost per hour, by {by}",
        "US dollars per hour, of the model calls whose price is known.",
        f"""
        SELECT {TIME}, {column} AS {by}, sum(cost) * 60 / {MINUTES} AS cost
        {of_calls} GROUP BY time, {by} HAVING cost > 0 ORDER BY time
        """,
        unit="currencyUSD",
        by=by,
        bars=True,
        width=width,
        empty=NO_PRICE,
    )
