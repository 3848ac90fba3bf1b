"""/admin: what is loaded, loading it again, and runs that failed. With tokens it takes the scope agent_os:admin.

AgentOS' own /queue/jobs shows all tickets with their payloads, /queue/stats counts them.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from agno.os.job_queue import wake_queue_worker
from agno.run.cancel import acleanup_run
from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool

from runtime.context import context_of
from runtime.loader import Failure, File
from runtime.problems import PROTECTED, Problem, documented
from runtime.queue import UNAVAILABLE, trace_id_of
from runtime.queue import context_of as context_of_ticket

router = APIRouter(prefix="/admin", tags=["admin"], responses=PROTECTED)

RETRY_SECONDS = 5
_AGAIN = ("failed", "cancelled")
_ERRORS = documented({422: "A parameter cannot be taken; `field` says which.", 503: "The database is away."})


@router.post("/reload", responses=documented({503: "Another reload is under way."}))
async def reload(request: Request) -> dict[str, Any]:
    """Loads what changed, now; files with an error are tried again. Answers the ids added, changed and removed.

    503: another reload is under way, and has been for a while.
    """
    registry = context_of(request).registry
    try:
        done = await run_in_threadpool(registry.reload)
    except TimeoutError as error:
        raise Problem(503, f"not reloaded yet: {error}", retry_after=RETRY_SECONDS) from error
    errors = {_relative(path, registry.directory): _failure(failure) for path, failure in done.errors.items()}
    return {
        "added": done.added,
        "changed": done.changed,
        "removed": done.removed,
        "errors": errors,
        "seconds": done.seconds,
    }


@router.get("/agents")
async def agents(request: Request) -> dict[str, Any]:
    """Each file: what it defines, the hash of its content, the version that serves, when that was loaded, its error."""
    registry = context_of(request).registry
    return {"directory": str(registry.directory), "files": [_file(file, registry.directory) for file in registry.files]}


@router.post(
    "/deliveries/{source}/{delivery_id}/retry",
    status_code=202,
    responses={
        **documented(
            {
                404: "No such delivery is remembered.",
                409: "Its run goes on, waits, or is done.",
                410: "Its ticket is no longer kept.",
            }
        ),
        **_ERRORS,
    },
)
async def retry(source: str, delivery_id: str, request: Request) -> dict[str, Any]:
    """Runs a delivery again whose run failed or was cancelled: the same run, one more attempt.

    404: no such delivery is remembered; 409: its run goes on, waits, or is done; 410: its ticket is no longer kept.
    """
    can_be = "\0" not in source + delivery_id  # Postgres takes none
    try:
        delivery = await context_of(request).deliveries.find(source, delivery_id) if can_be else None
    except UNAVAILABLE as error:
        raise _away() from error
    if delivery is None:
        raise Problem(404, f"no delivery {delivery_id!r} of {source!r} is remembered")
    gone = Problem(410, "the ticket of this delivery is no longer kept", run_id=delivery.run_id)
    return await _requeue(request, delivery.run_id, gone)


@router.get("/dead-letters", responses=_ERRORS)
async def dead_letters(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> dict[str, Any]:
    """Tickets that failed for good, the latest first."""
    store = request.app.state.queue_worker.store
    try:
        tickets, total = await store.list_jobs(
            status=["failed"], limit=limit, page=page, sort_by="completed_at", sort_order="desc", raise_on_error=True
        )
    except UNAVAILABLE as error:
        raise _away() from error
    meta = {"page": page, "limit": limit, "total_count": total, "total_pages": -(-total // limit)}
    return {"data": [_dead_letter(ticket) for ticket in tickets], "meta": meta}


@router.post(
    "/dead-letters/{run_id}/requeue",
    status_code=202,
    responses={**documented({404: "There is no ticket of this run.", 409: "The run has not failed."}), **_ERRORS},
)
async def requeue(run_id: str, request: Request) -> dict[str, Any]:
    """One more attempt of a run that failed or was cancelled. 404: there is no ticket; 409: it has not failed."""
    return await _requeue(request, run_id, Problem(404, f"there is no ticket of run {run_id!r}"))


async def _requeue(request: Request, run_id: str, missing: Problem) -> dict[str, Any]:
    worker = request.app.state.queue_worker
    try:
        ticket = await worker.store.get_job(run_id, strict=True)
        if ticket is None:
            raise missing
        if ticket["status"] in _AGAIN:
            await acleanup_run(run_id)  # that it was to be cancelled must not cancel it again
            if await worker.store.requeue_job(run_id):
                wake_queue_worker(worker)
                return {
                    "run_id": run_id,
                    "attempt": ticket["attempt"] + 1,
                    "links": {"status": f"/api/runs/{run_id}"},
                }
            ticket = await worker.store.get_job(run_id, strict=True) or ticket
    except UNAVAILABLE as error:
        raise _away() from error
    status = ticket["status"]
    raise Problem(409, f"only a run that failed or was cancelled is run again; this one is {status}", run_id=run_id)


def _away() -> Problem:
    return Problem(503, "the database is away", retry_after=RETRY_SECONDS)


def _dead_letter(ticket: dict[str, Any]) -> dict[str, Any]:
    context = context_of_ticket(ticket)
    delivery = {"source": context.get("source"), "delivery_id": context.get("delivery_id")}
    trace_id, run_id = trace_id_of(context), ticket["id"]
    path = f"/{ticket['component_type']}s/{ticket['component_id']}/runs/{run_id}?session_id={ticket['session_id']}"
    return {
        "run_id": run_id,
        "agent_id": ticket["component_id"],
        "kind": ticket["component_type"],
        "session_id": ticket["session_id"],
        "error": ticket["error"],
        "attempt": ticket["attempt"],
        "max_attempts": ticket["max_attempts"],
        "failed_at": _time(datetime.fromtimestamp(ticket["completed_at"], UTC)) if ticket["completed_at"] else None,
        "delivery": delivery if delivery["delivery_id"] else None,
        "trace_id": trace_id,
        "links": {"run": path, "status": f"/api/runs/{run_id}"},
    }


def _file(file: File, directory: Path) -> dict[str, Any]:
    serving = file.serving
    return {
        "file": _relative(file.path, directory),
        "components": [{"id": c.id, "kind": c.kind} for c in serving.components] if serving else [],
        "triggers": [{"source": t.source, "to": t.component_id} for t in serving.triggers] if serving else [],
        "version": file.hash or None,
        "serving_version": serving.hash if serving else None,
        "older_version_serves": serving is not None and serving is not file.candidate,
        "loaded_at": _time(serving.loaded_at) if serving else None,
        "error": _failure(file.failure) if file.failure else None,
    }


def _failure(failure: Failure) -> dict[str, Any]:
    return {"message": failure.message, "where": failure.where, "at": _time(failure.at)}


def _relative(path: Path, directory: Path) -> str:
    return path.relative_to(directory).as_posix()


def _time(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
