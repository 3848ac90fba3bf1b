"""Rules about agents: how long their runs take, how many fail, what they cost, whether one hangs."""

from dashboards.source.fragments import DAY, FRESH, ended, objective
from dashboards.source.metric import Metric, ago, text
from dashboards.source.objectives import HOUR, Objectives
from dashboards.source.rules import Rule, tidy
from telemetry import semconv

WINDOW = 600  # seconds in which what happens now is seen
FEWEST = 3  # runs that must be too slow, or fail: one is an accident, not a trend

# How many times faster than allowed the error budget burns, in a short and in a long window (seconds) at once: the long
# one says that it matters, the short one that it still goes on. After the workbook of Google's SREs, chapter 5.
FAST = (300, HOUR, 14.4)
SLOW = (1800, 6 * HOUR, 6.0)
MOST_FAILED = 0.9  # where an objective is so lax that not even failing altogether would burn that fast

GROUP = "agents"


def rules(objectives: Objectives) -> list[Rule]:
    return [
        _duration(objectives),
        _error_rate(objectives),
        _burn(objectives, "Fast", FAST),
        _burn(objectives, "Slow", SLOW),
        _stuck(objectives),
        _cost(objectives),
    ]


def _duration(objectives: Objectives) -> Rule:
    return Rule(
        "AgentDurationOverObjective",
        "An agent is slow",
        GROUP,
        "warning",
        tidy(f"""
        SELECT agent_id, quantileExact(0.95)(duration) AS value, any(target) AS objective,
            argMax(trace_id, duration) AS trace_id
        FROM (SELECT *, {objective(objectives, "duration_p95")} AS target FROM ({ended(WINDOW)}))
        GROUP BY agent_id
        HAVING value <= objective OR countIf(duration > target) >= {FEWEST}"""),
        ("agent_id",),
        0,
        "s",
        "{agent_id}: 95 of 100 runs take up to {value}, over the objective of {objective}",
        f"95th percentile of the durations of the runs that ended within the last {WINDOW // 60} minutes, of which"
        f" {FEWEST} at least were slower than the objective. The trace is the slowest run's.",
        "agent",
    )


def _error_rate(objectives: Objectives) -> Rule:
    return Rule(
        "AgentErrorRate",
        "Runs of an agent fail",
        GROUP,
        "warning",
        tidy(f"""
        SELECT agent_id, countIf(status = 'error') / count() AS value, any(target) AS objective,
            argMaxIf(trace_id, ended_at, status = 'error') AS trace_id
        FROM (SELECT *, {objective(objectives, "error_rate")} AS target FROM ({ended(WINDOW)}))
        GROUP BY agent_id
        HAVING value <= objective OR countIf(status = 'error') >= {FEWEST}"""),
        ("agent_id",),
        0,
        "percentunit",
        "{agent_id}: {value} of the runs fail, the objective is {objective}",
        f"Share of the runs that ended within the last {WINDOW // 60} minutes and failed, {FEWEST} at least. Each"
        " attempt of a run that is tried again counts. The trace is the newest failed run's.",
        "agent",
    )


def _burn(objectives: Objectives, name: str, windows: tuple[int, int, float]) -> Rule:
    short, long, fastest = windows
    over = f"{_time(short)} and over {_time(long)}"
    return Rule(
        f"AgentErrorBudgetBurn{name}",
        f"An agent's error budget burns {name.lower()}",
        GROUP,
        "critical" if windows is FAST else "warning",
        tidy(f"""
        SELECT agent_id, least(failed / runs, failed_long / runs_long) / target AS value,
            least({fastest}, {MOST_FAILED} / target) AS objective, trace_id
        FROM (
            SELECT agent_id, {objective(objectives, "error_rate")} AS target,
                countIf(ended_at >= {ago(short)}) AS runs,
                countIf(ended_at >= {ago(short)} AND status = 'error') AS failed,
                count() AS runs_long, countIf(status = 'error') AS failed_long,
                argMaxIf(trace_id, ended_at, status = 'error') AS trace_id
            FROM ({ended(long)})
            GROUP BY agent_id
        )
        WHERE runs > 0 AND (failed >= {FEWEST} OR value <= objective)"""),
        ("agent_id",),
        0,
        "short",
        "{agent_id}: errors come {value} times as often as the objective allows, over " + over,
        "Share of failed runs, divided by the share that the objective allows: the lower one of the last"
        f" {_time(short)} and the last {_time(long)}; {FEWEST} failures at least in the short one. The"
        " objective here is the speed of burning that is borne. The trace is the newest failed run's.",
        "agent",
    )


def _stuck(objectives: Objectives) -> Rule:
    """Spans of a run arrive when it ends, but those of its calls before: so its trace is known."""
    running = Metric("agno.agent.in_progress")
    seconds = HOUR + max(agent.stuck_after for agent in objectives.all_agents())
    return Rule(
        "RunStuckInProgress",
        "A run does not end",
        GROUP,
        "warning",
        tidy(f"""
        WITH running AS (
            SELECT {running.attribute("agent_id")} AS agent_id, SeriesHash
            {running.points(FRESH)}
            GROUP BY agent_id, SeriesHash
            HAVING argMax(Value, TimeUnix) > 0
        ), stuck AS (
            SELECT running.agent_id AS agent_id, min(since) AS began
            FROM running INNER JOIN (
                SELECT SeriesHash, greatest(min(TimeUnix), maxIf(TimeUnix, Value <= 0), max(StartTimeUnix)) AS since
                {running.points(seconds)}
                GROUP BY SeriesHash
            ) AS history ON history.SeriesHash = running.SeriesHash
            GROUP BY running.agent_id
        ), runs_of AS (
            SELECT agent_id, max(ended) AS last, argMinIf(trace, began, ended = 0) AS trace_id
            FROM (
                SELECT CAST(AgentId AS String) AS agent_id, any(TraceId) AS trace, min(Timestamp) AS began,
                    maxIf(Timestamp + toIntervalNanosecond(Duration), RunStatus != '') AS ended
                FROM otel_traces
                WHERE Timestamp >= {ago(seconds)} AND RunId != ''
                GROUP BY agent_id, RunId
            )
            GROUP BY agent_id
        )
        SELECT stuck.agent_id AS agent_id,
            toFloat64(dateDiff('second', greatest(stuck.began, runs_of.last), now())) AS value,
            {objective(objectives, "stuck_after", "stuck.agent_id")} AS objective, runs_of.trace_id AS trace_id
        FROM stuck LEFT JOIN runs_of ON runs_of.agent_id = stuck.agent_id"""),
        ("agent_id",),
        0,
        "s",
        "{agent_id}: a run is in progress and none has ended for {value} (borne: {objective})",
        "Time for which runs of the agent have been in progress in a process that lives, while none ended;"
        f" {_time(int(seconds))} are looked at. The trace is that of the oldest run of which no end is known.",
        "agent",
    )


def _cost(objectives: Objectives) -> Rule:
    return Rule(
        "CostOverBudget",
        "An agent costs more than its budget",
        GROUP,
        "warning",
        tidy(f"""
        WITH spent AS (
            SELECT agent_id, value, {objective(objectives, "cost_per_day")} AS objective
            FROM (
                SELECT CAST(agent_id AS String) AS agent_id, sum(cost) AS value
                FROM operations_by_minute FINAL
                WHERE operation = {text(semconv.CHAT)} AND minute >= {ago(DAY)}
                GROUP BY agent_id
            )
        ), dearest AS (
            SELECT agent_id, argMax(trace, dollars) AS trace_id
            FROM (
                SELECT CAST(AgentId AS String) AS agent_id, TraceId AS trace, ifNull(sum(Cost), 0) AS dollars
                FROM otel_traces FINAL
                WHERE Operation = {text(semconv.CHAT)} AND Timestamp >= {ago(DAY)}
                    AND AgentId IN (SELECT agent_id FROM spent WHERE value > objective)
                GROUP BY agent_id, trace
            )
            GROUP BY agent_id
        )
        SELECT spent.agent_id AS agent_id, spent.value AS value, spent.objective AS objective,
            dearest.trace_id AS trace_id
        FROM spent LEFT JOIN dearest ON dearest.agent_id = spent.agent_id"""),
        ("agent_id",),
        0,
        "currencyUSD",
        "{agent_id}: {value} within 24 hours, over its budget of {objective}",
        "US dollars that the agent's model calls of the last 24 hours cost, as far as their price is known. The trace"
        " is the dearest one.",
        "models",
    )


def _time(seconds: int) -> str:
    return f"{seconds // HOUR} h" if seconds % HOUR == 0 else f"{seconds // 60} min"
