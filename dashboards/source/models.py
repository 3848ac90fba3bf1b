"""Models: how often they are called, how fast they answer, what they cost, and for whom."""

from grafana_foundation_sdk.models.dashboard import Dashboard, DynamicConfigValue

from dashboards.source import boards, runs
from dashboards.source.panels import ERROR_RATE, TO_AGENT, Panel, bars, stat, table, timeseries, unit
from dashboards.source.sql import CALLS, COST, HERE, IN_MODEL, MINUTES, OPERATIONS, TIME, quantiles

OF_CALLS = f"FROM {OPERATIONS} WHERE {CALLS} AND {HERE} AND {IN_MODEL}"
ONE_BY_ONE = f"{HERE} AND $__conditionalAll(model IN (${{model:singlequote}}), $model) AND $__timeFilter(started_at)"
USD = [*unit("currencyUSD"), DynamicConfigValue("displayName", "cost")]  # `cost` is the column that it is a sum of
NO_CALL = "No model was called in this time."


def _p95(title: str, description: str, counts: str, *, width: int, empty: str = NO_CALL) -> Panel:
    return timeseries(
        title,
        description,
        f"""
        WITH {quantiles(f"sumMap({counts})")}
        SELECT {TIME}, name AS model, quantile(0.95) AS p95
        {OF_CALLS} GROUP BY time, model HAVING notEmpty(running) ORDER BY time
        """,
        unit="s",
        by="model",
        width=width,
        empty=empty,
    )


PANELS = (
    stat("Calls", "Model calls that ended.", f"SELECT sum(calls) AS calls {OF_CALLS}", unit="short", width=3),
    stat(
        "Failed",
        "Share of the calls that ended in an error.",
        f"SELECT sumIf(calls, outcome = 'Error') / sum(calls) AS failed {OF_CALLS}",
        unit="percentunit",
        decimals=1,
        steps=((None, "green"), (0.01, "orange"), (0.05, "red")),
        width=3,
    ),
    stat(
        "Latency",
        "From the call to the whole answer: half of the calls were faster than p50, 95 % than p95.",
        f"WITH {quantiles('sumMap(durations)')}\nSELECT quantile(0.5) AS p50, quantile(0.95) AS p95 {OF_CALLS}",
        unit="s",
        width=5,
    ),
    stat(
        "First token",
        "Time to it in streamed calls, p95.",
        f"WITH {quantiles('sumMap(first_chunks)')}\nSELECT quantile(0.95) AS p95 {OF_CALLS}",
        unit="s",
        width=3,
    ),
    stat(
        "Tokens",
        "Input, cached or not, and output, reasoning included.",
        f"SELECT sum(input_tokens) AS input, sum(output_tokens) AS output {OF_CALLS}",
        unit="short",
        width=4,
    ),
    stat(
        "Cost",
        "Of the calls whose price is known.",
        f"SELECT {COST} AS cost {OF_CALLS}",
        unit="currencyUSD",
        width=3,
    ),
    stat(
        "Cached",
        "Share of the input tokens that came out of the provider's cache.",
        f"SELECT sum(cache_read_tokens) / sum(input_tokens) AS cached {OF_CALLS}",
        unit="percentunit",
        decimals=0,
        width=3,
    ),
    timeseries(
        "Calls per minute, by model",
        "Model calls that ended.",
        f"SELECT {TIME}, name AS model, sum(calls) / {MINUTES} AS calls {OF_CALLS} GROUP BY time, model ORDER BY time",
        unit="short",
        by="model",
        bars=True,
        width=8,
        empty=NO_CALL,
    ),
    _p95("Latency p95, by model", "From the call to the whole answer.", "durations", width=8),
    _p95(
        "Time to first token p95, by model",
        "From the call to the first chunk of the answer.",
        "first_chunks",
        width=8,
        empty="No streamed model call in this time.",
    ),
    timeseries(
        "Tokens per minute, by kind",
        "Input that was and that was not read from the provider's cache, output, and reasoning.",
        f"""
        SELECT {TIME}, (sum(input_tokens) - sum(cache_read_tokens)) / {MINUTES} AS input,
            sum(cache_read_tokens) / {MINUTES} AS cached,
            (sum(output_tokens) - sum(reasoning_tokens)) / {MINUTES} AS output,
            sum(reasoning_tokens) / {MINUTES} AS reasoning
        {OF_CALLS} GROUP BY time ORDER BY time
        """,
        unit="short",
        bars=True,
        width=12,
        empty=NO_CALL,
    ),
    runs.cost_per_hour("name", "model", OF_CALLS, width=12),
    table(
        "Models",
        "Those that cost most first. Calls without a price are in no cost: prices are set with TELEMETRY_PRICES.",
        f"""
        WITH {quantiles("sumMap(durations)")}
        SELECT name AS model, sum(calls) AS used, sumIf(calls, outcome = 'Error') / used AS failed,
            quantile(0.5) AS p50, quantile(0.95) AS p95, sum(input_tokens) AS input, sum(output_tokens) AS output,
            sum(cache_read_tokens) / input AS cached, {COST} AS usd, used - sum(priced) AS unpriced
        {OF_CALLS} GROUP BY model ORDER BY usd DESC NULLS LAST, used DESC
        """,
        width=14,
        empty=NO_CALL,
        columns={
            "failed": ERROR_RATE,
            "p50": unit("s"),
            "p95": unit("s"),
            "input": unit("short"),
            "output": unit("short"),
            "cached": unit("percentunit", 0),
            "usd": USD,
        },
    ),
    bars(
        "Cost by agent",
        "US dollars, of the calls whose price is known.",
        f"""
        SELECT agent_id AS agent, sum(cost) AS usd
        {OF_CALLS} GROUP BY agent HAVING usd > 0 ORDER BY usd DESC LIMIT 12
        """,
        unit="currencyUSD",
        width=10,
        height=9,
        empty=runs.NO_PRICE,
    ),
    table(
        "Users",
        "Those that cost most first.",
        f"""
        SELECT user_id AS user, count() AS calls, sum(input_tokens + output_tokens) AS tokens, sum(cost) AS usd
        FROM model_calls
        WHERE {ONE_BY_ONE} AND user_id != ''
        GROUP BY user ORDER BY usd DESC NULLS LAST, tokens DESC LIMIT 20
        """,
        width=10,
        empty="No call for a known user in this time: user_id comes with the webhook or the request.",
        columns={"tokens": unit("short"), "usd": USD},
    ),
    table(
        "Failed calls",
        "By model, agent and type of error, with the newest message.",
        f"""
        SELECT model, agent_id AS agent, error_type AS error, count() AS calls,
            substring(argMax(error_message, started_at), 1, 300) AS message, max(started_at) AS newest
        FROM model_calls
        WHERE failed AND {ONE_BY_ONE}
        GROUP BY model, agent, error ORDER BY calls DESC LIMIT 20
        """,
        width=14,
        empty="No model call failed in this time.",
        columns={"agent": [TO_AGENT], "newest": unit("dateTimeFromNow")},
    ),
)


def dashboard() -> Dashboard:
    return boards.board(
        "models",
        "Models and cost",
        "Models: how often they are called, how fast they answer, what they cost, and for whom.",
        PANELS,
        variables=(boards.AGENT, boards.MODEL, boards.ENVIRONMENT, boards.INTERVAL),
        since="now-6h",
        refresh="1m",
    )
