"""Tools with which agents look at the telemetry: `Agent(tools=[*analytics.TOOLS])`. They read, and nothing else.

Each runs one or a few fixed queries (runtime/sql/analytics.sql) on ClickHouse as the user of CLICKHOUSE_READONLY_URL:
what a model chooses is checked, bounded, and bound as a parameter. They answer as runtime.answers writes. A tool that
cannot answer raises, which a model is told and a run survives.
"""

from collections.abc import Callable
from functools import cache, wraps
from typing import Annotated, Any, Literal, ParamSpec

from agno.run.authorization import current_authorization
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from pydantic import Field, StringConstraints, ValidationError, validate_call

from runtime import links
from runtime.answers import LONGEST_TEXT, written
from runtime.settings import settings
from runtime.sql import load
from telemetry import secrets
from telemetry.clickhouse.client import connect

P = ParamSpec("P")
Answer = dict[str, Any]
Row = dict[str, Any]
Minutes = Annotated[int, Field(ge=1, le=44_640)]  # 31 days
Hours = Annotated[int, Field(ge=1, le=744)]
Limit = Annotated[int, Field(ge=1, le=50)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]
Id = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
TraceId = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, pattern="^[0-9a-fA-F]{32}$")]

MOST_SPANS = 30
SECONDS = 10  # of a query
GAUGES = [
    "agno.queue.depth",
    "agno.queue.oldest.age",
    "agno.agent.in_progress",
    "agno.agents.broken",
    "agno.approvals.pending",
    "agno.telemetry.queue.size",
    "agno.telemetry.missing",
]
TROUBLES = ["agno.queue.dead_letters", "agno.telemetry.spans", "agno.telemetry.logs", "agno.agents.reloads"]
_SQL = {name: query.decode() for name, query in load("analytics").items()}


class Unavailable(RuntimeError):
    """The telemetry cannot be asked; the text says why, and what to do."""


def _tool(function: Callable[P, Answer]) -> Callable[P, str]:
    """Checks caller and arguments, and writes the answer. It raises Unavailable, ValueError or PermissionError."""
    checked = validate_call(function)

    @wraps(function)
    def answer(*args: P.args, **kwargs: P.kwargs) -> str:
        _check_caller()
        try:
            return written(checked(*args, **kwargs))
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ValueError(f"{function.__name__} cannot be asked so: {wrong}") from None
        except ClickHouseError as error:
            raise Unavailable(
                f"ClickHouse did not answer {function.__name__}: {secrets.without(str(error))[:LONGEST_TEXT]}"
            ) from None

    return answer


@_tool
def agents_overview(
    minutes: Minutes = 60, order: Literal["busiest", "slowest", "failing", "dearest"] = "busiest"
) -> Answer:
    """The agents, teams and workflows that ran: runs, errors, durations (p50, p95, slowest). Begin here.

    Tokens and cost are of an agent's own model calls: a team's members have theirs.

    Args:
        minutes: How far back to look, 1 to 44640 (31 days).
        order: Which of them come first; at most 20 do.
    """
    rows = _ask("overview", minutes=minutes, order=order)
    in_all = [row.pop("agents") for row in rows]
    return {"minutes": minutes, "links": _links(), "agents_in_all": max(in_all, default=0), "agents": rows}


@_tool
def runs(
    agent_id: Name = "",
    status: Literal["any", "completed", "error", "cancelled", "paused"] = "any",
    minutes: Minutes = 60,
    order: Literal["newest", "slowest", "dearest"] = "newest",
    limit: Limit = 10,
) -> Answer:
    """Single runs, with their duration, cost, error and trace id.

    Args:
        agent_id: Only runs of this agent, team or workflow; empty: of all.
        status: Only runs that ended so.
        minutes: How far back to look, 1 to 44640 (31 days).
        order: What comes first.
        limit: How many, 1 to 50.
    """
    rows = _ask("runs", agent=agent_id, status=status, minutes=minutes, order=order, limit=limit)
    return {"minutes": minutes, "links": _links(), "runs": rows}


@_tool
def run_details(run_id: Id) -> Answer:
    """One run: status, times, tokens, cost, error, its prompt and answer (cut), and the spans of its trace in order.

    Args:
        run_id: The run's id.
    """
    found = _ask("run", run=run_id)
    if not found:
        return {"found": False, "why": "no run of this id has ended; one in progress is not here yet"}
    return {"run": found[0], **_trace(found[0]["trace_id"])}


@_tool
def trace(trace_id: TraceId) -> Answer:
    """The spans of one trace in order, from the webhook to the last tool call, and the calls that took longest.

    Args:
        trace_id: 32 hexadecimal digits.
    """
    return _trace(trace_id)


@_tool
def errors(agent_id: Name = "", minutes: Minutes = 60) -> Answer:
    """Failed runs, model calls and tool calls, counted by type, each with an example and its trace id.

    Args:
        agent_id: Only those of this agent, team or workflow; empty: of all.
        minutes: How far back to look, 1 to 44640 (31 days).
    """
    return {"minutes": minutes, "links": _links(), "errors": _ask("errors", agent=agent_id, minutes=minutes)}


@_tool
def duration_compared(agent_id: Id, minutes: Minutes = 60) -> Answer:
    """How long an agent's runs take now and took before, and in which model or tool the time went.

    Compares the last minutes with as many before. parts: seconds per run in each model and tool, most changed first.

    Args:
        agent_id: The agent, team or workflow.
        minutes: Length of each of the two windows, 1 to 44640 (31 days).
    """
    windows = {row.pop("window"): row for row in _ask("durations", agent=agent_id, minutes=minutes)}
    now, before = (windows.get(name, {"runs": 0}) for name in ("now", "before"))
    query = "parts" if "agent" in (now.get("kind"), before.get("kind")) else "parts_of_members"
    found = _ask(query, agent=agent_id, minutes=minutes)
    parts = [_part(row, now["runs"], before["runs"]) for row in found]
    parts.sort(key=lambda part: -abs(part["change_s_per_run"] or part["now_s_per_run"]))
    return {"agent_id": agent_id, "minutes": minutes, "links": _links(), "now": now, "before": before, "parts": parts}


@_tool
def cost(by: Literal["agent", "model", "user"] = "agent", agent_id: Name = "", hours: Hours = 24) -> Answer:
    """What model calls cost, in US dollars, and their tokens; beside it the same for as many hours before.

    Args:
        by: One row for each agent, model or user.
        agent_id: Only what this agent, team or workflow called itself; empty: all.
        hours: How far back to look, 1 to 744 (31 days).
    """
    rows = _ask(f"cost_by_{by}", agent=agent_id, hours=hours)
    of_each = [{key: row.pop(key) for key in ("total_usd", "total_before_usd", "total_calls")} for row in rows]
    return {"by": by, "hours": hours, **(of_each[0] if of_each else {}), "rows": rows}


@_tool
def queue_and_telemetry_health() -> Answer:
    """For what waits, is stuck or lost: queue, runs in progress, approvals, telemetry, agents' reloads, error logs.

    now: gauges as of the last minutes. hour: what went wrong within the last hour, counted.
    """
    now, hour = _ask("gauges", metrics=GAUGES), _ask("counters", metrics=TROUBLES, minutes=60)
    return {"now": now, "hour": hour, "error_logs_of_the_hour": _ask("logs", minutes=60)}


TOOLS = (agents_overview, runs, run_details, trace, errors, duration_compared, cost, queue_and_telemetry_health)


def _ask(query: str, **values: Any) -> list[Row]:
    url = settings().clickhouse_readonly_url
    if not url:
        raise Unavailable("there is no telemetry to ask: set CLICKHOUSE_READONLY_URL (http://user:password@host/otel)")
    result = _client(url).query(_SQL[query], parameters=values, settings={"max_execution_time": SECONDS})
    return list(result.named_results())


@cache
def _client(url: str) -> Client:
    return connect(url, connect_timeout=3, send_receive_timeout=SECONDS + 5)


def _check_caller() -> None:
    """With JWTs and USER_ISOLATION, users see only what is theirs; this is everybody's. Webhooks have no caller."""
    caller = current_authorization()
    if caller is not None and settings().uses_tokens and settings().user_isolation:
        caller.require("agent_os", "admin")


def _part(row: Row, now: int, before: int) -> Row:
    """`change_s_per_run` is None when one of the windows has no runs."""
    per_run, earlier = row["now_s"] / max(now, 1), row["before_s"] / max(before, 1)
    kept = {key: row[key] for key in ("what", "name", "by_agent", "calls_now", "calls_before", "errors_now")}
    change = per_run - earlier if now and before else None
    return {**kept, "now_s_per_run": per_run, "before_s_per_run": earlier, "change_s_per_run": change}


def _trace(trace_id: str) -> Answer:
    spans = _ask("spans", trace=trace_id)
    if not spans:
        return {"found": False, "why": "no span of this trace has arrived"}
    parents = {span["span_id"]: span["parent_span_id"] for span in spans}
    for span in spans:
        span["depth"] = _depth(span["span_id"], parents)
        span["after_s"] = (span["started_at"] - spans[0]["started_at"]).total_seconds()
    spans.sort(key=lambda span: (span["after_s"], span["depth"]))
    by_weight = sorted(spans, key=lambda span: (span["status"] != "error", -span["duration_s"]))
    heavy = {span["span_id"] for span in by_weight[:MOST_SPANS]}
    calls = [span for span in spans if span["operation"] in ("chat", "execute_tool", "retrieval")]
    longest = sorted(calls, key=lambda span: -span["duration_s"])[:3]
    keys = ("depth", "after_s", "duration_s", "name", "agent_id", "status", "error_type", "error_text", "tokens")
    return {
        "trace_id": trace_id,
        "links": _links(trace_id),
        "started_at": spans[0]["started_at"],
        "spans_in_trace": spans[0]["spans"],
        "longest_calls": [{key: span[key] for key in ("name", "agent_id", "duration_s", "status")} for span in longest],
        "spans": [{key: span[key] for key in keys} for span in spans if span["span_id"] in heavy],
    }


def _depth(span_id: str, parents: dict[str, str]) -> int:
    """Of spans that are here; one that is its own ancestor has the depth at which that is noticed."""
    above = {span_id}
    while (span_id := parents[span_id]) in parents and span_id not in above:
        above.add(span_id)
    return len(above) - 1


def _links(trace_id: str = "{trace_id}") -> dict[str, str]:
    """Where a person sees a trace, a run; what is in braces is to be replaced."""
    found = {"trace": links.phoenix(settings(), trace_id), "run": links.dashboard(settings(), "{run_id}")}
    return {name: url for name, url in found.items() if url}
