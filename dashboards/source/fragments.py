"""Parts of the rules' queries. Names of metrics and attributes are looked up, so that one that is gone ends generation.

Times end now. Runs are taken by the time of their end: what arrives an hour late is an hour old, and fires nothing.
"""

from dashboards.source.metric import Metric, ago, text
from dashboards.source.objectives import Objectives

FRESH = 120  # seconds in which a process that lives has sent its metrics: four exports, or two at the SDK's minute
LONGEST = 2 * 3600  # seconds: a run that took longer is not seen when it ends; RunStuckInProgress has told of it
EARLIER = 3 * 3600  # seconds: how far back the last point of a counter before now is looked for
DAY = 24 * 3600


def objective(objectives: Objectives, key: str, agent: str = "agent_id") -> str:
    """The objective `key` of the agent that the column names."""
    default, differing = float(getattr(objectives.defaults, key)), objectives.differing(key)
    if not differing:
        return f"toFloat64({default})"
    names = ", ".join(map(text, differing))
    return f"transform({agent}, [{names}], {list(differing.values())}, {default})"


def ended(seconds: float, statuses: tuple[str, ...] = ("completed", "error")) -> str:
    """Attempts of runs that ended within the last `seconds`: agent_id, trace_id, status, duration, ended_at.

    What a person cancelled, and what pauses for one, says nothing of the agent.
    """
    runs = Metric("agno.agent.runs")
    chosen = ", ".join(runs.value("status", status) for status in statuses)
    return f"""
    SELECT CAST(agent_id AS String) AS agent_id, trace_id, status, duration,
        started_at + toIntervalMillisecond(toInt64(duration * 1000)) AS ended_at
    FROM runs
    WHERE status IN ({chosen}) AND started_at >= {ago(seconds + LONGEST)} AND ended_at >= {ago(seconds)}"""


def risen(name: str, labels: dict[str, str], seconds: float, where: str = "") -> str:
    """By how much a counter rose within the last `seconds`: the labels (name: SQL), value.

    A process that starts counts from nothing: its series are new, or fall (with a stable service.instance.id). Both are
    a rise by what they then have. What came before is looked for in hours, so that a series is not taken for new
    because its points of the last minutes had not arrived; labels are read of few points, for they are maps.
    """
    columns = ", ".join(f"{sql} AS {label}" for label, sql in labels.items())
    names = ", ".join(labels)
    return f"""
    SELECT {names}, sum(arraySum((here, before) -> here - if(here < before, 0, before),
        points.2, arrayPushFront(arrayPopBack(points.2), earlier.last))) AS value
    FROM (
        SELECT {columns}, SeriesHash, arraySort(groupArray((TimeUnix, Value))) AS points
        {Metric(name).points(seconds, where)}
        GROUP BY {names}, SeriesHash
    ) AS recent
    LEFT JOIN (
        SELECT SeriesHash, argMax(Value, TimeUnix) AS last
        {Metric(name).points(EARLIER)} AND TimeUnix < {ago(seconds)}
        GROUP BY SeriesHash
    ) AS earlier ON earlier.SeriesHash = recent.SeriesHash
    GROUP BY {names}"""


def newest(name: str, labels: dict[str, str], where: str = "") -> str:
    """The value that each process sent last, the largest of them: the labels (name: SQL), value.

    Of processes that live: what a dead one sent last is not true any more.
    """
    columns = ", ".join(f"{sql} AS {label}" for label, sql in labels.items())
    names = ", ".join(labels)
    return f"""
    SELECT {names}, max(last) AS value
    FROM (
        SELECT {columns}, argMax(Value, TimeUnix) AS last
        {Metric(name).points(FRESH, where)}
        GROUP BY {names}, SeriesHash
    )
    GROUP BY {names}"""


# Of each agent the newest run that failed: agent_id, trace_id.
FAILED_RUNS = f"""
    SELECT agent_id, argMax(trace_id, ended_at) AS trace_id
    FROM ({ended(LONGEST, ("error",))}
    )
    GROUP BY agent_id"""
