"""POST /api/webhooks/{agent_id}: a signed delivery becomes one ticket, and the sender learns its run and trace."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar
from uuid import uuid4

from agno.db.schemas.jobs import QueuedJob
from agno.os.job_queue import QueueWorker, wake_queue_worker
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from opentelemetry import trace
from opentelemetry.context import Context as OtelContext
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.requests import ClientDisconnect

from runtime import deliveries, payload, queue, signatures
from runtime.components import Component
from runtime.context import Context, context_of
from runtime.deliveries import Delivery
from runtime.problems import Problem
from telemetry import semconv

T = TypeVar("T")
log = logging.getLogger(__name__)
router = APIRouter(prefix="/api", tags=["webhooks"])

SOURCE = "webhook"
UNKNOWN = "unknown"  # what the metrics call an agent that does not exist: ids from outside are never attributes
RETRY_SECONDS = 2
DATABASE_SECONDS = 4.0  # a database that hangs is as good as none
UNAVAILABLE = (*queue.UNAVAILABLE, TimeoutError)
_OUTCOMES = {401: "rejected", 404: "invalid", 409: "conflict", 429: "throttled", 503: "failed"}
_propagator = TraceContextTextMapPropagator()


@router.post("/webhooks/{agent_id}", status_code=202)
async def receive(agent_id: str, request: Request) -> Response:
    """Accepts a delivery for an agent, a team or a workflow.

    202: a new run, committed; 200: this delivery was accepted before, its run is named; 409: the id was used for
    something else; 400, 401, 404, 413, 415, 422, 429 and 503: problems (RFC 9457), the last two with Retry-After.
    """
    context = context_of(request)
    began = time.perf_counter()
    known = agent_id if agent_id in context.registry.components else UNKNOWN
    parent = _parent(request)
    name = f"webhook {known}"
    with context.telemetry.tracer.start_as_current_span(
        name, parent, SpanKind.SERVER, {semconv.SPAN_KIND: "CHAIN", semconv.DELIVERY_SOURCE: SOURCE}
    ) as span:
        try:
            response, outcome = await _accept(agent_id, request, context, span)
            span.set_status(Status(StatusCode.OK))
        except Problem as problem:
            response, outcome = problem.response(), _OUTCOMES.get(problem.status, "invalid")
            if problem.status >= 500:
                span.set_status(Status(StatusCode.ERROR, problem.detail))
        except Exception as error:
            log.exception("a webhook for %s could not be handled", known)
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            response, outcome = Problem(500, "the webhook could not be handled; the log says why").response(), "failed"
        span.set_attribute("http.response.status_code", response.status_code)
        context.telemetry.instruments.webhook_answered(known, SOURCE, outcome, time.perf_counter() - began)
    return response


async def _accept(agent_id: str, request: Request, context: Context, span: Span) -> tuple[Response, str]:
    body = await _body(request, context.settings.webhook_max_bytes)
    delivery_id = signatures.verify(context.settings.webhook_secret, request.headers, body)
    span.set_attribute(semconv.DELIVERY_ID, delivery_id)
    component = _component(agent_id, context.registry.components)
    given = payload.default(payload.parse(body))
    span.set_attribute(semconv.INPUT_VALUE, given.input)
    body_hash = deliveries.hash_of(body)
    worker: QueueWorker = request.app.state.queue_worker
    run_id, session_id = str(uuid4()), given.session_id or str(uuid4())
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, trace.set_span_in_context(span))
    trace_id = queue.trace_id_of(carrier)
    delivery = Delivery(SOURCE, delivery_id, body_hash, component.id, run_id, session_id, trace_id)
    about = {
        **carrier,
        "source": SOURCE,
        "delivery_id": delivery_id,
        "body_hash": body_hash,
        "accepted_at": time.time(),
    }
    job = QueuedJob(
        id=run_id,
        component_type=component.kind,
        component_id=component.id,
        session_id=session_id,
        user_id=given.user_id,
        payload={
            "input": given.input,
            "kwargs": {"metadata": {**given.metadata, semconv.TICKET_CONTEXT: about}},
            "serialize_session": True,
        },
        max_attempts=worker.config.max_attempts,
    ).to_dict()
    try:
        accepted = await context.deliveries.accept(delivery, job)
    except queue.QueueFull:
        raise Problem(429, "the queue is full", retry_after=RETRY_SECONDS) from None
    except UNAVAILABLE as error:
        log.warning("delivery %s was not accepted: %s", delivery_id, error or type(error).__name__)
        raise Problem(503, "the database is away; send it again", retry_after=RETRY_SECONDS) from error
    if not accepted.new:
        return _again(accepted.delivery, component, body_hash, context, span)
    wake_queue_worker(worker)
    context.telemetry.instruments.dedup_decided(SOURCE, "miss")
    _describe(span, delivery, "miss")
    return JSONResponse(_answer(delivery, component, "new"), 202), "accepted"


async def soon(query: Awaitable[T]) -> T:
    """Raises TimeoutError when the database hangs. Shielded: psycopg waits for the server, too, to cancel a query."""
    return await asyncio.wait_for(asyncio.shield(query), DATABASE_SECONDS)


def _parent(request: Request) -> OtelContext:
    """The sender's trace, always sampled: a sender that does not trace must not hide the run from us."""
    found = _propagator.extract(request.headers)
    parent = trace.get_current_span(found).get_span_context()
    if not parent.is_valid:
        return found
    sampled = SpanContext(parent.trace_id, parent.span_id, True, TraceFlags(1), parent.trace_state)
    return trace.set_span_in_context(NonRecordingSpan(sampled), found)


def _again(
    stored: Delivery, component: Component, body_hash: str, context: Context, span: Span
) -> tuple[Response, str]:
    same = stored.is_same(body_hash, component.id)
    decision = "hit" if same else "conflict"
    context.telemetry.instruments.dedup_decided(SOURCE, decision)
    _describe(span, stored, decision)
    if not same:
        raise Problem(
            409,
            f"webhook-id {stored.delivery_id!r} was used for another delivery: an id is used again only to send the "
            "same body to the same agent again",
            run_id=stored.run_id,
        )
    return JSONResponse(_answer(stored, component, "duplicate"), 200), "duplicate"


async def _body(request: Request, limit: int) -> bytes:
    """The body, read no further than `limit` bytes. Raises a 413 or 415 Problem."""
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise Problem(413, f"the body is larger than {limit} bytes")
            parts.append(part)
    except ClientDisconnect as error:
        raise Problem(400, "the body is incomplete") from error
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise Problem(415, f"the content type must be application/json, not {media_type or 'absent'}")
    return b"".join(parts)


def _component(agent_id: str, components: Mapping[str, Component]) -> Component:
    component = components.get(agent_id)
    if component is None:
        near = get_close_matches(agent_id, components, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise Problem(404, f"there is no agent, team or workflow {agent_id!r}{hint}", nearest=near[0] if near else None)
    return component


def _describe(span: Span, delivery: Delivery, decision: str) -> None:
    span.set_attribute(semconv.DEDUP_DECISION, decision)
    span.set_attribute(semconv.AGENT_ID, delivery.component_id)
    span.set_attribute(semconv.SESSION_ID, delivery.session_id)
    span.set_attribute(semconv.RUN_ID, delivery.run_id)
    if decision != "miss" and delivery.trace_id:
        span.set_attribute(semconv.RUN_TRACE_ID, delivery.trace_id)


def _answer(delivery: Delivery, component: Component, decision: str) -> dict[str, Any]:
    path = f"/{component.kind}s/{component.id}/runs/{delivery.run_id}?session_id={delivery.session_id}"
    return {
        "run_id": delivery.run_id,
        "session_id": delivery.session_id,
        "trace_id": delivery.trace_id,
        "decision": decision,
        "links": {"run": path, "status": f"/api/runs/{delivery.run_id}"},
    }
