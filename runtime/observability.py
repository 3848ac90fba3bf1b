"""GET /api/metrics: the instruments of this process. GET /api/runs/{run_id}: where a run is."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from runtime import queue
from runtime.context import context_of
from runtime.problems import Problem
from runtime.webhooks import RETRY_SECONDS, UNAVAILABLE, soon

router = APIRouter(prefix="/api", tags=["observability"])


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Prometheus text, or OpenMetrics with exemplars when the Accept header asks for it."""
    context = context_of(request)
    body, content_type = await run_in_threadpool(context.telemetry.exposition, request.headers.get("accept"))
    return Response(body, media_type=content_type)


@router.get("/telemetry")
async def telemetry(request: Request) -> dict[str, Any]:
    """Per destination: spans queued, exported, dropped, failed, and its last error."""
    context = context_of(request)
    return context.telemetry.health()


@router.get("/runs/{run_id}")
async def run(run_id: str, request: Request) -> dict[str, Any]:
    """The ticket of a run: status, attempts, trace id and links. 404 for a run without a ticket."""
    context = context_of(request)
    if "\0" in run_id:  # which Postgres does not take
        raise Problem(404, "there is no such run")
    try:
        ticket = await soon(request.app.state.queue_worker.store.get_job(run_id, strict=True))
    except UNAVAILABLE as error:
        raise Problem(503, "the database is away", retry_after=RETRY_SECONDS) from error
    if ticket is None:
        raise Problem(404, f"there is no ticket of run {run_id!r}")
    trace_id = queue.trace_id_of(queue.context_of(ticket))
    links = {
        "run": f"/{ticket['component_type']}s/{ticket['component_id']}/runs/{run_id}?session_id={ticket['session_id']}"
    }
    if trace_id:
        links["trace"] = f"/traces/{trace_id}"
        if context.settings.phoenix_url:
            links["phoenix"] = f"{context.settings.phoenix_url}/redirects/traces/{trace_id}"
    return {
        "run_id": run_id,
        "agent_id": ticket["component_id"],
        "session_id": ticket["session_id"],
        "status": ticket["status"],
        "attempt": ticket["attempt"],
        "max_attempts": ticket["max_attempts"],
        "error": ticket["error"],
        "trace_id": trace_id,
        "links": links,
    }
