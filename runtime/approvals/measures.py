"""The wait for a person as a metric, and as a span in the trace of the run that waited."""

from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from runtime.approvals.store import Decided, Store
from telemetry import plain
from telemetry.pipeline import Telemetry


def measure(store: Store, telemetry: Telemetry) -> None:
    """From now on the store's decisions and what is pending are measured."""
    pending = telemetry.instruments.sampled("the approvals", store.pending)
    telemetry.instruments.observe("agno.approvals.pending", lambda: pending() or [])
    store.on_decided = lambda decided: _record(decided, telemetry)


def _record(decided: Decided, telemetry: Telemetry) -> None:
    record, decision = decided.record, decided.decision
    agent_id = record["agent_id"] or record["team_id"] or record["workflow_id"] or "unknown"
    waited = max(0.0, decided.decided_at - decided.asked_at)
    telemetry.instruments.approval_decided(agent_id, decision.status, waited)
    if decided.traceparent is None:
        return
    around = TraceContextTextMapPropagator().extract({"traceparent": decided.traceparent})
    name = f"approval {record['tool_name']}"
    span = telemetry.spans.start(name, SpanKind.INTERNAL, around)
    span.started = int(decided.asked_at * 1e9)
    recorded = (
        "approval",
        decided.run_id,
        record["session_id"],
        agent_id,
        str(record["tool_name"]),
        record["id"],
        decision.status,
        plain.value(record["tool_args"]),
        plain.value(decision.arguments if decision.arguments is not None else decision.reason),
    )
    telemetry.spans.keep(span, recorded)
