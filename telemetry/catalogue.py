"""Every instrument: name, kind, unit, attributes, buckets, help. Dashboards, alerts and docs take them from here."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "up_down_counter", "histogram", "observable_gauge"]

# Bucket advice of the GenAI conventions: agents 0.1 s doubling to 409.6 s, client calls 0.01 s doubling to 81.92 s.
AGENT_SECONDS = tuple(0.1 * 2**n for n in range(13))
CALL_SECONDS = tuple(0.01 * 2**n for n in range(14))
REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
WAIT_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
APPROVAL_SECONDS = (1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
TOKENS = tuple(float(4**n) for n in range(14))


@dataclass(frozen=True)
class Instrument:
    """One instrument. `attributes` is closed: a recording with any other key is a mistake, and a test finds it."""

    name: str
    kind: Kind
    unit: str
    help: str
    attributes: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


INSTRUMENTS: tuple[Instrument, ...] = (
    Instrument(
        "agno.webhook.requests",
        "counter",
        "{request}",
        "Webhook requests answered.",
        ("agent_id", "source", "outcome"),
    ),
    Instrument(
        "agno.webhook.duration",
        "histogram",
        "s",
        "Time from a webhook's first byte to its answer.",
        ("agent_id", "outcome"),
        REQUEST_SECONDS,
    ),
    Instrument(
        "agno.dedup.decisions",
        "counter",
        "{decision}",
        "Deliveries checked for duplicates.",
        ("source", "decision"),
    ),
    Instrument("agno.queue.depth", "observable_gauge", "{ticket}", "Tickets in the queue.", ("queue", "state")),
    Instrument(
        "agno.queue.wait",
        "histogram",
        "s",
        "Time from acceptance to the first claim.",
        ("agent_id",),
        WAIT_SECONDS,
    ),
    Instrument("agno.queue.oldest.age", "observable_gauge", "s", "Age of the oldest ticket that waits.", ("queue",)),
    Instrument("agno.agent.runs", "counter", "{run}", "Runs finished.", ("agent_id", "kind", "status")),
    Instrument(
        "agno.agent.duration",
        "histogram",
        "s",
        "Duration of a run.",
        ("agent_id", "kind", "status"),
        AGENT_SECONDS,
    ),
    Instrument("agno.agent.in_progress", "up_down_counter", "{run}", "Runs in progress.", ("agent_id", "kind")),
    Instrument("agno.agents.loaded", "observable_gauge", "{agent}", "Agents, teams and workflows served.", ("kind",)),
    Instrument("agno.agents.reloads", "counter", "{reload}", "Reloads of the agents.", ("outcome",)),
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
    ),
    Instrument(
        "agno.telemetry.spans",
        "counter",
        "{span}",
        "Spans by destination and outcome.",
        ("destination", "outcome"),
    ),
    Instrument(
        "agno.telemetry.queue.size",
        "observable_gauge",
        "{span}",
        "Spans that wait for a destination.",
        ("destination",),
    ),
    Instrument(
        "agno.telemetry.missing",
        "observable_gauge",
        "{span}",
        "Spans that a destination lacks.",
        ("destination",),
    ),
    Instrument(
        "gen_ai.invoke_agent.duration",
        "histogram",
        "s",
        "GenAI agent invocation duration.",
        ("gen_ai.operation.name", "gen_ai.agent.name", "error.type"),
        AGENT_SECONDS,
    ),
    Instrument(
        "gen_ai.workflow.duration",
        "histogram",
        "s",
        "GenAI workflow duration.",
        ("gen_ai.operation.name", "gen_ai.agent.name", "error.type"),
        AGENT_SECONDS,
    ),
    Instrument(
        "gen_ai.execute_tool.duration",
        "histogram",
        "s",
        "GenAI tool execution duration.",
        ("gen_ai.operation.name", "gen_ai.tool.name", "error.type"),
        CALL_SECONDS,
    ),
    Instrument(
        "gen_ai.client.operation.duration",
        "histogram",
        "s",
        "GenAI model call duration.",
        ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "error.type"),
        CALL_SECONDS,
    ),
    Instrument(
        "gen_ai.client.token.usage",
        "histogram",
        "{token}",
        "Tokens used by a model call.",
        ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.token.type"),
        TOKENS,
    ),
    Instrument(
        "gen_ai.client.operation.time_to_first_chunk",
        "histogram",
        "s",
        "Time to the first chunk of a streamed model call.",
        ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model"),
        CALL_SECONDS,
    ),
)

BY_NAME = {instrument.name: instrument for instrument in INSTRUMENTS}
