"""Rules about what carries the agents: the queue, approvals, the files that are loaded, the telemetry itself."""

from dashboards.source.agent_rules import FEWEST, WINDOW
from dashboards.source.fragments import DAY, FAILED_RUNS, FRESH, newest, objective, risen
from dashboards.source.metric import Metric, ago
from dashboards.source.objectives import Objectives
from dashboards.source.rules import Rule, tidy

MISSING_SECONDS = 600  # the reconciler compares once a minute and sends what is missing: then this has failed ten times
GAP = 600  # seconds without a point after which nothing is known of what was before


def rules(objectives: Objectives) -> list[Rule]:
    return [
        _queue_age(objectives),
        _queue_wait(objectives),
        _dead_letters(),
        _approvals(objectives),
        _broken(),
        _lost(),
        _missing(),
        _silent(objectives),
    ]


def _queue_age(objectives: Objectives) -> Rule:
    age = Metric("agno.queue.oldest.age")
    return Rule(
        "QueueTooOld",
        "Tickets wait too long",
        "queue",
        "critical",
        tidy(f"""
        SELECT queue, value, toFloat64({objectives.stack.queue_age}) AS objective, '' AS trace_id
        FROM ({newest(age.name, {"queue": age.attribute("queue")})})"""),
        ("queue",),
        0,
        "s",
        "The oldest ticket of the queue {queue} could have run {value} ago (borne: {objective})",
        "Age of the oldest ticket that nothing but a free worker is missing to.",
        "pipeline",
    )


def _queue_wait(objectives: Objectives) -> Rule:
    return Rule(
        "QueueWaitOverObjective",
        "An agent's tickets wait",
        "queue",
        "warning",
        tidy(f"""
        SELECT agent_id, quantileExact(0.95)(wait) AS value, any(target) AS objective,
            argMax(trace_id, wait) AS trace_id
        FROM (
            SELECT CAST(agent_id AS String) AS agent_id, assumeNotNull(queue_wait) AS wait, trace_id,
                {objective(objectives, "queue_wait_p95")} AS target
            FROM runs
            WHERE started_at >= {ago(WINDOW)} AND queue_wait IS NOT NULL
        )
        GROUP BY agent_id
        HAVING value <= objective OR countIf(wait > target) >= {FEWEST}"""),
        ("agent_id",),
        0,
        "s",
        "{agent_id}: 95 of 100 tickets wait up to {value}, over the objective of {objective}",
        f"95th percentile of the time from acceptance to the first claim, of runs that began within the last"
        f" {WINDOW // 60} minutes; {FEWEST} at least waited longer than the objective. The trace is that of the one"
        " that waited longest.",
        "pipeline",
    )


def _dead_letters() -> Rule:
    dead = Metric("agno.queue.dead_letters")
    labels = {"agent_id": dead.attribute("agent_id")}
    return Rule(
        "DeadLetters",
        "Tickets are given up",
        "queue",
        "critical",
        tidy(f"""
        WITH given_up AS ({risen(dead.name, labels, WINDOW)}
        ), failed AS ({FAILED_RUNS}
        )
        SELECT given_up.agent_id AS agent_id, given_up.value AS value, toFloat64(0) AS objective,
            failed.trace_id AS trace_id
        FROM given_up LEFT JOIN failed ON failed.agent_id = given_up.agent_id"""),
        ("agent_id",),
        0,
        "short",
        "{agent_id}: {value} tickets were given up",
        f"Tickets that were given up within the last {WINDOW // 60} minutes: every attempt failed, or none can help."
        " What somebody sent will not be worked on. The trace is the agent's newest failed run's.",
        "pipeline",
    )


def _approvals(objectives: Objectives) -> Rule:
    """Decisions are spans named `approval ...` (runtime/approvals/measures.py)."""
    pending = Metric("agno.approvals.pending")
    seconds = 2 * max(agent.approval_wait for agent in objectives.all_agents())
    return Rule(
        "ApprovalsWaiting",
        "Approvals wait for a person",
        "approvals",
        "warning",
        tidy(f"""
        WITH pending AS (
            SELECT {pending.attribute("agent_id")} AS agent_id
            {pending.points(FRESH)}
            GROUP BY agent_id
            HAVING argMax(Value, TimeUnix) > 0
        ), waiting AS (
            SELECT agent_id, maxIf(TimeUnix, Value <= 0 OR TimeUnix > before + INTERVAL {GAP} SECOND) AS began
            FROM (
                SELECT {pending.attribute("agent_id")} AS agent_id, TimeUnix, Value, lagInFrame(TimeUnix) OVER (
                    PARTITION BY agent_id ORDER BY TimeUnix ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
                ) AS before
                {pending.points(seconds)}
            )
            GROUP BY agent_id
            HAVING max(TimeUnix) >= {ago(FRESH)} AND argMax(Value, TimeUnix) > 0
        ), runs_of AS (
            SELECT agent_id, max(decided) AS last, argMinIf(trace, began, paused AND NOT went_on) AS trace_id
            FROM (
                SELECT CAST(AgentId AS String) AS agent_id, any(TraceId) AS trace, min(Timestamp) AS began,
                    maxIf(Timestamp + toIntervalNanosecond(Duration), startsWith(SpanName, 'approval ')) AS decided,
                    countIf(RunStatus = 'paused') > 0 AS paused,
                    decided > 0 OR countIf(RunStatus NOT IN ('', 'paused')) > 0 AS went_on
                FROM otel_traces
                WHERE Timestamp >= {ago(seconds)} AND AgentId IN (SELECT agent_id FROM pending)
                    AND (RunStatus != '' OR startsWith(SpanName, 'approval '))
                GROUP BY agent_id, RunId
            )
            GROUP BY agent_id
        )
        SELECT waiting.agent_id AS agent_id,
            toFloat64(dateDiff('second', greatest(waiting.began, runs_of.last), now())) AS value,
            {objective(objectives, "approval_wait", "waiting.agent_id")} AS objective, runs_of.trace_id AS trace_id
        FROM waiting LEFT JOIN runs_of ON runs_of.agent_id = waiting.agent_id"""),
        ("agent_id",),
        0,
        "s",
        "{agent_id}: approvals wait, and nobody has decided any for {value} (borne: {objective})",
        "Time for which approvals of the agent have been pending while none was decided. The trace is that of the"
        " oldest run that waits.",
        "agent",
    )


def _broken() -> Rule:
    return Rule(
        "AgentFailedToLoad",
        "A file of agents cannot be loaded",
        "agents",
        "warning",
        tidy(f"""
        SELECT service, value, toFloat64(0) AS objective, '' AS trace_id
        FROM ({newest("agno.agents.broken", {"service": "CAST(ServiceName AS String)"})})"""),
        ("service",),
        0,
        "short",
        "{service}: {value} files in agents/ cannot be loaded",
        "Files that cannot be loaded as they are now. The last good version of each serves on, if there was one since"
        " the process began.",
        "pipeline",
    )


def _lost() -> Rule:
    spans, logs = Metric("agno.telemetry.spans"), Metric("agno.telemetry.logs")

    def outcomes(metric: Metric) -> str:
        lost = ", ".join(metric.value("outcome", outcome) for outcome in ("dropped", "failed"))
        return f" AND {metric.attribute('outcome')} IN ({lost})"

    return Rule(
        "TelemetryLost",
        "Telemetry is lost",
        "telemetry",
        "warning",
        tidy(f"""
        SELECT destination, value, toFloat64(0) AS objective, '' AS trace_id
        FROM ({risen(spans.name, {"destination": spans.attribute("destination")}, WINDOW, outcomes(spans))}
            UNION ALL {risen(logs.name, {"destination": "'logs'"}, WINDOW, outcomes(logs))}
        )"""),
        ("destination",),
        0,
        "short",
        "{value} spans or log records were lost on their way to {destination}",
        f"Spans (by destination) and log records that were dropped or refused within the last {WINDOW // 60} minutes."
        " No run is hurt. What ClickHouse lacks comes out of Postgres within two minutes of its return.",
        "storage",
    )


def _missing() -> Rule:
    """What Postgres lacks is left so, since somebody may have deleted it there: no reason to wake anybody."""
    missing = Metric("agno.telemetry.missing")
    where = f" AND {missing.attribute('destination')} = {missing.value('destination', 'clickhouse')}"
    return Rule(
        "TelemetryMissing",
        "ClickHouse lacks spans",
        "telemetry",
        "warning",
        tidy(f"""
        SELECT destination, value, toFloat64(0) AS objective, '' AS trace_id
        FROM ({newest(missing.name, {"destination": missing.attribute("destination")}, where)})"""),
        ("destination",),
        MISSING_SECONDS,
        "short",
        "{destination} lacks {value} spans that Postgres has, and they do not come",
        "Spans that the comparison with Postgres found missing and that could not be sent again.",
        "storage",
    )


def _silent(objectives: Objectives) -> Rule:
    """After a start of everything nothing can have been heard yet: what counts is how long ClickHouse has listened."""
    return Rule(
        "TelemetrySilent",
        "A service says nothing any more",
        "telemetry",
        "critical",
        tidy(f"""
        SELECT CAST(ServiceName AS String) AS service,
            toFloat64(least(dateDiff('second', max(TimeUnix), now()), uptime())) AS value,
            toFloat64({objectives.stack.silence}) AS objective, '' AS trace_id
        {Metric("agno.telemetry.queue.size").points(DAY)}
        GROUP BY service"""),
        ("service",),
        0,
        "s",
        "{service} has sent no metrics for {value} (borne: {objective})",
        "Time since the newest metrics of a service that has sent some within the last day. Its processes are gone, or"
        " what they send does not arrive.",
        "storage",
    )
