"""The wait for a person as a metric, and as a span in the trace of the run that waited."""

from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from runtime.approvals.store import Decided, Store
from telemetry import encode, semconv
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
    parent = TraceContextTextMapPropagator().extract({"traceparent": decided.traceparent})
    attributes: encode.Attributes = {
        semconv.SPAN_KIND: "CHAIN",
        semconv.RUN_ID: decided.run_id,
        semconv.SESSION_ID: record["session_id"],
        semconv.AGENT_ID: agent_id,
        semconv.TOOL_NAME: str(record["tool_name"]),
        semconv.APPROVAL_ID: record["id"],
        semconv.APPROVAL_DECISION: decision.status,
        **encode.content("input", record["tool_args"]),
        **encode.content("output", decision.arguments if decision.arguments is not None else decision.reason),
    }
    name = f"approval {record['tool_name']}"
    span = telemetry.tracer.start_span(
        name, parent, SpanKind.INTERNAL, attributes, start_time=int(decided.asked_at * 1e9)
    )
    span.set_status(Status(StatusCode.OK))
    span.end(int(decided.decided_at * 1e9))
