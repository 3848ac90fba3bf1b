"""Every instrument: name, kind, unit, attributes and their values, buckets, help. Dashboards, alerts and docs take them
from here (`make generate`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["counter", "up_down_counter", "histogram", "observable_gauge"]
Values = tuple[str | None, ...]  # of an instrument's attributes, in their order; None: it has none now

# Bucket advice of the GenAI conventions: agents 0.1 s doubling to 409.6 s, client calls 0.01 s doubling to 81.92 s.
AGENT_SECONDS = tuple(0.1 * 2**n for n in range(13))
CALL_SECONDS = tuple(0.01 * 2**n for n in range(14))
REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
WAIT_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
APPROVAL_SECONDS = (1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
TOKENS = tuple(float(4**n) for n in range(14))


# Of attributes whose values are not names of what is deployed, all values that there are.
OUTCOMES = ("accepted", "duplicate", "conflict", "rejected", "invalid", "throttled", "failed", "ignored")
STATUSES = ("completed", "error", "cancelled", "paused")
KINDS = ("agent", "team", "workflow")
DESTINATIONS = ("collector", "clickhouse", "phoenix", "postgres")

OPTIONAL = frozenset({"error.type"})  # left out when there is nothing to say

MOST_SERIES = 2000  # of one instrument, as the SDK has it; what comes beyond is one series, with this attribute only
OVERFLOW: Values = ("otel.metric.overflow",)


@dataclass(frozen=True)
class Instrument:
    """One instrument. `attributes` is closed, and so are those that `values` lists: tests find what does not fit."""

    name: str
    kind: Kind
    unit: str
    help: str
    attributes: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    def labelled(self, values: Values) -> dict[str, str | bool]:
        """The attributes with these values; what is None is left out. Raises ValueError when there are too few."""
        if values is OVERFLOW:
            return {"otel.metric.overflow": True}  # as the SDK says it of its own
        return {key: value for key, value in zip(self.attributes, values, strict=True) if value is not None}

    def problems(self, attributes: Mapping[str, object]) -> Iterator[str]:
        """What is not as declared here."""
        if set(attributes) | OPTIONAL != set(self.attributes) | OPTIONAL:
            yield f"{self.name}: has {sorted(attributes)}, not {sorted(self.attributes)}"
        for key, value in attributes.items():
            if value not in self.values.get(key, (value,)):
                yield f"{self.name}: {key} is {value!r}, none of {', '.join(self.values[key])}"


INSTRUMENTS: tuple[Instrument, ...] = (
    Instrument(
        "agno.webhook.requests",
        "counter",
        "{request}",
        "Webhook requests answered.",
        ("agent_id", "source", "outcome"),
        values={"outcome": OUTCOMES},
    ),
    Instrument(
        "agno.webhook.duration",
        "histogram",
        "s",
        "Time from a webhook's first byte to its answer.",
        ("agent_id", "outcome"),
        REQUEST_SECONDS,
        values={"outcome": OUTCOMES},
    ),
    Instrument(
        "agno.http.refused",
        "counter",
        "{request}",
        "Requests refused before a route saw them: too large, too slow, too many, or no HTTP.",
        ("reason",),
        values={"reason": ("head", "body", "slow", "connections", "malformed")},
    ),
    Instrument(
        "agno.dedup.decisions",
        "counter",
        "{decision}",
        "Deliveries checked for duplicates.",
        ("source", "decision"),
        values={"decision": ("miss", "hit", "conflict")},
    ),
    Instrument(
        "agno.queue.depth",
        "observable_gauge",
        "{ticket}",
        "Tickets in the queue.",
        ("queue", "state"),
        values={"state": ("queued", "running", "paused")},
    ),
    Instrument(
        "agno.queue.wait",
        "histogram",
        "s",
        "Time from acceptance to the first claim.",
        ("agent_id",),
        WAIT_SECONDS,
    ),
    Instrument("agno.queue.oldest.age", "observable_gauge", "s", "Age of the oldest ticket that waits.", ("queue",)),
    Instrument(
        "agno.queue.dead_letters",
        "counter",
        "{ticket}",
        "Tickets given up: no attempt is left, or none can help.",
        ("agent_id",),
    ),
    Instrument(
        "agno.agent.runs",
        "counter",
        "{run}",
        "Runs finished.",
        ("agent_id", "kind", "status"),
        values={"kind": KINDS, "status": STATUSES},
    ),
    Instrument(
        "agno.agent.duration",
        "histogram",
        "s",
        "Duration of a run.",
        ("agent_id", "kind", "status"),
        AGENT_SECONDS,
        values={"kind": KINDS, "status": STATUSES},
    ),
    Instrument(
        "agno.agent.in_progress",
        "up_down_counter",
        "{run}",
        "Runs in progress.",
        ("agent_id", "kind"),
        values={"kind": KINDS},
    ),
    Instrument(
        "agno.agents.loaded",
        "observable_gauge",
        "{agent}",
        "Agents, teams and workflows served.",
        ("kind",),
        values={"kind": KINDS},
    ),
    Instrument(
        "agno.agents.broken",
        "observable_gauge",
        "{file}",
        "Files of agents that cannot be loaded as they are now.",
    ),
    Instrument(
        "agno.agents.reloads",
        "counter",
        "{reload}",
        "Reloads of the agents.",
        ("outcome",),
        values={"outcome": ("ok", "error")},
    ),
    Instrument(
        "agno.db.table.size", "observable_gauge", "By", "Size of a Postgres table with its indexes.", ("table",)
    ),
    Instrument("agno.db.table.rows", "observable_gauge", "{row}", "Approximate rows of a Postgres table.", ("table",)),
    Instrument("agno.approvals.pending", "observable_gauge", "{approval}", "Approvals that wait.", ("agent_id",)),
    Instrument(
        "agno.approval.wait",
        "histogram",
        "s",
        "Time from a pause to its decision.",
        ("agent_id", "decision"),
        APPROVAL_SECONDS,
        values={"decision": ("approved", "rejected", "expired")},
    ),
    Instrument(
        "agno.model.cost",
        "counter",
        "{USD}",
        "US dollars that model calls cost, of those whose price is known.",
        ("gen_ai.provider.name", "gen_ai.request.model", "agent_id"),
    ),
    Instrument(
        "agno.telemetry.spans",
        "counter",
        "{span}",
        "Spans by destination and outcome.",
        ("destination", "outcome"),
        values={"destination": DESTINATIONS, "outcome": ("exported", "dropped", "failed", "replayed")},
    ),
    Instrument(
        "agno.telemetry.logs",
        "counter",
        "{record}",
        "Log records by outcome.",
        ("outcome",),
        values={"outcome": ("exported", "dropped", "failed")},
    ),
    Instrument(
        "agno.telemetry.queue.size",
        "observable_gauge",
        "{span}",
        "Spans that wait for a destination.",
        ("destination",),
        values={"destination": DESTINATIONS},
    ),
    Instrument(
        "agno.telemetry.missing",
        "observable_gauge",
        "{span}",
        "Spans that a destination lacks.",
        ("destination",),
        values={"destination": DESTINATIONS},
    ),
    Instrument(
        "gen_ai.invoke_agent.duration",
        "histogram",
        "s",
        "GenAI agent invocation duration.",
        ("gen_ai.operation.name", "gen_ai.agent.name", "error.type"),
        AGENT_SECONDS,
        values={"gen_ai.operation.name": ("invoke_agent",)},
    ),
    Instrument(
        "gen_ai.workflow.duration",
        "histogram",
        "s",
        "GenAI workflow duration.",
        ("gen_ai.operation.name", "gen_ai.agent.name", "error.type"),
        AGENT_SECONDS,
        values={"gen_ai.operation.name": ("invoke_workflow",)},
    ),
    Instrument(
        "gen_ai.execute_tool.duration",
        "histogram",
        "s",
        "GenAI tool execution duration.",
        ("gen_ai.operation.name", "gen_ai.tool.name", "error.type"),
        CALL_SECONDS,
        values={"gen_ai.operation.name": ("execute_tool",)},
    ),
    Instrument(
        "gen_ai.client.operation.duration",
        "histogram",
        "s",
        "GenAI model call duration.",
        ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "error.type"),
        CALL_SECONDS,
        values={"gen_ai.operation.name": ("chat",)},
    ),
    Instrument(
        "gen_ai.client.token.usage",
        "histogram",
        "{token}",
        "Tokens used by a model call: cached ones are input, reasoning is output.",
        ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.token.type"),
        TOKENS,
        values={"gen_ai.operation.name": ("chat",), "gen_ai.token.type": ("input", "output")},
    ),
    Instrument(
        "gen_ai.client.operation.time_to_first_chunk",
        "histogram",
        "s",
        "Time to the first chunk of a streamed model call.",
        ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model"),
        CALL_SECONDS,
        values={"gen_ai.operation.name": ("chat",)},
    ),
)

BY_NAME = {instrument.name: instrument for instrument in INSTRUMENTS}
