"""From the webhook to the run: what came, what had come before, what waits, what is tried again, what was given up."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.source import boards, runs, sql
from dashboards.source.panels import RUN, TO_AGENT, TO_RUN, stat, stepped, table, timeseries, unit
from dashboards.source.sql import HERE, OPERATIONS, RUNS, TIME, point, quantiles

OF_RUNS = f"FROM {OPERATIONS} WHERE {RUNS} AND {HERE}"
NO_WEBHOOK = "No webhook came in this time."
AGENTS_METRIC = "$__conditionalAll(Attributes['agent_id'] IN (${agent:singlequote}), $agent)"

PANELS = (
    stat(
        "Webhooks",
        "Requests that were answered, and those of them that became a run.",
        f"""
        SELECT sum(increase) AS requests, sumIf(increase, outcome = 'accepted') AS accepted
        FROM {sql.increases("agno.webhook.requests", {"outcome": "outcome"}, where=AGENTS_METRIC)}
        """,
        unit="short",
        decimals=0,
        width=4,
    ),
    stat(
        "Duplicates",
        "Deliveries that had come before: they name the first one's run.",
        f"""
        SELECT sumIf(increase, decision = 'hit') AS duplicates
        FROM {sql.increases("agno.dedup.decisions", {"decision": "decision"})}
        """,
        unit="short",
        decimals=0,
        width=2,
    ),
    runs.waiting("Tickets that no worker has taken yet.", width=3),
    stat(
        "Oldest",
        "How long the ticket that waits longest has waited.",
        sql.gauge("agno.queue.oldest.age", {}, aggregate="max", result="oldest"),
        unit="s",
        steps=((None, "text"), (60, "orange"), (300, "red")),
        width=3,
    ),
    stat(
        "Wait",
        "From acceptance to the first claim.",
        f"WITH {quantiles('sumMap(waits)')}\nSELECT quantile(0.5) AS p50, quantile(0.95) AS p95 {OF_RUNS}",
        unit="s",
        width=4,
    ),
    stat(
        "Given up",
        "Tickets that no attempt is left for: the dead letters.",
        f"SELECT sum(increase) AS tickets FROM {sql.increases('agno.queue.dead_letters', {}, where=AGENTS_METRIC)}",
        unit="short",
        decimals=0,
        steps=((None, "text"), (1, "red")),
        width=3,
    ),
    stat(
        "Approvals",
        "Calls that wait for a person.",
        sql.gauge("agno.approvals.pending", {}, aggregate="max", result="pending", where=AGENTS_METRIC),
        unit="short",
        steps=((None, "text"), (1, "yellow")),
        width=2,
    ),
    stat(
        "Agents",
        "Agents, teams and workflows that are served, and files that cannot be loaded as they are now.",
        f"""
        SELECT
            ({sql.gauge("agno.agents.loaded", {}, aggregate="sum", result="served")}) AS served,
            ({sql.gauge("agno.agents.broken", {}, aggregate="max", result="broken")}) AS broken
        """,
        unit="short",
        units={"broken": [stepped((None, "text"), (1, "red"))]},
        width=3,
    ),
    timeseries(
        "Webhooks per minute, by outcome",
        "Requests that were answered.",
        sql.rate("agno.webhook.requests", "outcome", "outcome", where=AGENTS_METRIC),
        unit="short",
        by="outcome",
        bars=True,
        width=8,
        empty=NO_WEBHOOK,
    ),
    timeseries(
        "Answered within",
        "From a webhook's first byte to its answer: upper bounds of the buckets in which p50 and p95 are.",
        sql.histogram("agno.webhook.duration", where=AGENTS_METRIC),
        unit="s",
        width=8,
        empty=NO_WEBHOOK,
    ),
    timeseries(
        "Deduplication per minute",
        "miss: new, hit: came before, conflict: the same id with another content.",
        sql.rate("agno.dedup.decisions", "decision", "decision"),
        unit="short",
        by="decision",
        bars=True,
        width=8,
        empty=NO_WEBHOOK,
    ),
    runs.tickets("Tickets by state", "The queue, as its processes last saw it.", width=8),
    timeseries(
        "Oldest ticket",
        "How long the ticket that waited longest had waited.",
        sql.gauge_over_time("agno.queue.oldest.age", {}, aggregate="max"),
        unit="s",
        width=8,
        empty="No process has exported its queue in this time.",
    ),
    timeseries(
        "Wait in the queue",
        "From acceptance to the first claim.",
        f"""
        WITH {quantiles("sumMap(waits)")}
        SELECT {TIME}, quantile(0.5) AS p50, quantile(0.95) AS p95
        {OF_RUNS} GROUP BY time HAVING notEmpty(running) ORDER BY time
        """,
        unit="s",
        width=8,
        empty="No run came out of the queue in this time.",
    ),
    timeseries(
        "Runs in progress, by agent",
        "As their processes last said.",
        sql.gauge_over_time("agno.agent.in_progress", {"agent": "agent_id"}),
        unit="short",
        by="agent",
        width=8,
        empty="No process has exported its runs in this time.",
    ),
    timeseries(
        "Retries",
        "Attempts at a run after its first.",
        f"""
        SELECT {point("toDateTime(started_at)")},
            agent_id AS agent, count() AS retries
        FROM runs
        WHERE attempt > 1 AND $__timeFilter(started_at) AND {HERE}
        GROUP BY time, agent ORDER BY time
        """,
        unit="short",
        by="agent",
        bars=True,
        width=8,
        empty="No run was tried again in this time.",
    ),
    timeseries(
        "Approvals that wait, by agent",
        "Calls that wait for a person.",
        sql.gauge_over_time("agno.approvals.pending", {"agent": "agent_id"}, aggregate="max"),
        unit="short",
        by="agent",
        width=8,
        empty="No approval has waited in this time.",
    ),
    table(
        "Given up",
        "Runs from webhooks whose last attempt failed. One that waits for its next attempt is here until it begins.",
        f"""
        SELECT {RUN}, any(agent_id) AS agent, any(source) AS via, max(attempt) AS attempts,
            max(started_at) AS newest, argMax(error_type, attempt) AS error,
            substring(argMax(error_message, attempt), 1, 300) AS message
        FROM runs
        WHERE source != '' AND $__timeFilter(started_at) AND {HERE} AND run_id IN (
            SELECT run_id FROM runs WHERE status = 'error' AND source != '' AND $__timeFilter(started_at) AND {HERE}
        )
        GROUP BY run_id HAVING argMax(status, attempt) = 'error'
        ORDER BY newest DESC LIMIT 20
        """,
        width=14,
        empty="No run was given up in this time.",
        columns={**TO_RUN, "agent": [TO_AGENT], "newest": unit("dateTimeFromNow")},
    ),
    table(
        "Sources",
        "What came from where.",
        f"""
        SELECT source, round(sum(increase)) AS requests, round(sumIf(increase, outcome = 'accepted')) AS accepted,
            round(sumIf(increase, outcome = 'duplicate')) AS duplicates,
            round(sumIf(increase, outcome IN ('rejected', 'invalid', 'conflict', 'throttled', 'failed'))) AS refused
        FROM {sql.increases("agno.webhook.requests", {"source": "source", "outcome": "outcome"}, where=AGENTS_METRIC)}
        GROUP BY source HAVING requests > 0 ORDER BY requests DESC
        """,
        width=10,
        empty=NO_WEBHOOK,
        columns={},
    ),
    timeseries(
        "Decisions per minute",
        "Approvals that were decided, or that nobody decided in time.",
        sql.rate("agno.approval.wait", "decision", "decision"),
        unit="short",
        by="decision",
        bars=True,
        width=12,
        empty="No approval was decided in this time.",
    ),
    timeseries(
        "Time to a decision",
        "From a pause to its decision: upper bounds of the buckets in which p50 and p95 are.",
        sql.histogram("agno.approval.wait"),
        unit="s",
        width=12,
        empty="No approval was decided in this time.",
    ),
    timeseries(
        "Refused before a route saw them, per minute",
        "Requests, webhooks among them, whose head or body is too large, that came too slowly, or that were no HTTP; "
        "and connections beyond MAX_CONNECTIONS.",
        sql.rate("agno.http.refused", "reason", "reason"),
        unit="short",
        by="reason",
        bars=True,
        width=24,
        empty="None was in this time.",
    ),
)


def dashboard() -> Dashboard:
    return boards.board(
        "pipeline",
        "Pipeline",
        "From the webhook to the run: what came, what waits, what is tried again, what was given up.",
        PANELS,
        variables=(boards.AGENT, boards.ENVIRONMENT, boards.INTERVAL),
    )
