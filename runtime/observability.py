"""GET /api/metrics: the instruments, for scrapers and for people. GET /api/runs/{run_id}: where a run is."""

import json
from typing import Any

from agno.os.middleware.user_scope import get_scoped_user_id
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request, Response

from runtime import page, runs
from runtime.connections import UNAVAILABLE
from runtime.context import context_of
from runtime.negotiation import preferred
from runtime.problems import PROTECTED, RETRY_SECONDS, Problem, documented
from runtime.view import view

router = APIRouter(prefix="/api", tags=["observability"], responses=PROTECTED)

FORMATS = {
    "prometheus": "text/plain",
    "openmetrics": "application/openmetrics-text",
    "json": "application/json",
    "html": "text/html",
}
# Threads of their own: AgentOS' are all taken when its database hangs.
_threads = CapacityLimiter(8)


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {media_type: {} for media_type in FORMATS.values()}},
        **documented({400: "There is no such format."}),
    },
    openapi_extra={"parameters": [{"in": "query", "name": "format", "schema": {"type": "string", "enum": [*FORMATS]}}]},
)
async def metrics(request: Request) -> Response:
    """Prometheus text; OpenMetrics with exemplars, JSON or a page to read by `?format=` or the Accept header.

    Answers within a second, also while Postgres is away: what would have to be asked there is then left out.
    """
    wanted = request.query_params.get("format")
    if wanted is not None and wanted not in FORMATS:
        raise Problem(400, f"the format {wanted!r} is none of {', '.join(FORMATS)}", field="format")
    accept = request.headers.get("accept", "*/*")
    media_type = FORMATS[wanted] if wanted else preferred(accept, FORMATS.values())
    context = context_of(request)
    if media_type == "application/json":
        text = json.dumps(await to_thread.run_sync(view, context, limiter=_threads), indent=2, ensure_ascii=False)
        return Response(text + "\n", media_type="application/json", headers=_HEADERS)
    if media_type == "text/html":
        html = page.render(await to_thread.run_sync(view, context, limiter=_threads))
        return Response(html, media_type="text/html", headers=_HEADERS | page.HEADERS)
    exposition = context.telemetry.exposition
    render = exposition.openmetrics if media_type == "application/openmetrics-text" else exposition.prometheus
    body, content_type = await to_thread.run_sync(render, limiter=_threads)
    return Response(body, media_type=content_type, headers=_HEADERS)


_HEADERS = {"vary": "accept", "cache-control": "no-store"}


@router.get("/telemetry")
async def telemetry(request: Request) -> dict[str, Any]:
    """Per destination: spans queued, exported, dropped, failed, and its last error."""
    return context_of(request).telemetry.health()


@router.get(
    "/runs/{run_id}",
    responses=documented(
        {404: "Nobody knows it.", 422: "This cannot be the id of a run.", 503: "The database is away."}
    ),
)
async def run(run_id: str, request: Request) -> dict[str, Any]:
    """Where a run is: its ticket, delivery, trace, approval and links. See runtime.runs for what each field means.

    404: nobody knows it, or it is another user's; 503: the database is away.
    """
    context = context_of(request)
    user_id = get_scoped_user_id(request)
    try:
        found = await to_thread.run_sync(context.runs.find, run_id, limiter=_threads)
    except UNAVAILABLE as error:
        raise Problem(503, "the database is away", retry_after=RETRY_SECONDS) from error
    if found is None or (user_id is not None and found["user_id"] != user_id):
        raise Problem(404, "there is no such run")
    return {**found, "links": runs.links(found, context.settings)}
