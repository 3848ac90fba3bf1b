"""POST /approvals/{id}/approve and /reject, beside agno's own routes, which list approvals and resolve them too."""

import asyncio
from typing import Any, TypeVar

from agno.os.middleware.user_scope import get_scoped_user_id
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime import payload
from runtime.approvals import arguments
from runtime.approvals.store import Decision, Stored
from runtime.connections import UNAVAILABLE
from runtime.context import Context, context_of
from runtime.problems import PROTECTED, RETRY_SECONDS, Problem, documented
from runtime.tickets import ENDED

MAX_BYTES = 262_144
router = APIRouter(prefix="/approvals", tags=["Approvals"], responses=PROTECTED)


class Approve(BaseModel):
    """`arguments` replace those of the same names; all others stay as the model gave them."""

    model_config = ConfigDict(extra="forbid")
    arguments: dict[str, Any] | None = None
    by: str | None = Field(None, max_length=255)
    note: str | None = Field(None, max_length=2000)


class Reject(BaseModel):
    """The model hears the reason."""

    model_config = ConfigDict(extra="forbid")
    reason: str | None = Field(None, max_length=2000)
    by: str | None = Field(None, max_length=255)


B = TypeVar("B", Approve, Reject)


_RESPONSES = documented(
    {
        400: "The body is not JSON.",
        404: "There is no such approval.",
        409: "It was decided otherwise, or the run has ended.",
        413: f"The body is larger than {MAX_BYTES} bytes.",
        422: "A field cannot be taken, or the tool does not take an argument; `field` says which.",
        503: "The database is away.",
    }
)


def _described(model: type[BaseModel]) -> dict[str, Any]:
    return {"requestBody": {"content": {"application/json": {"schema": model.model_json_schema()}}}}


@router.post("/{approval_id}/approve", responses=_RESPONSES, openapi_extra=_described(Approve))
async def approve(approval_id: str, request: Request) -> JSONResponse:
    """The tool is executed, with `arguments` in place of the model's where some are given, and the run goes on.

    200, also when it was approved like this before; 404: unknown; 409: it was decided otherwise, or the run has ended;
    422: an argument that the tool does not take, named in `field`; 503 with Retry-After: the database is away.
    """
    given = await _read(request, Approve)
    return await _decide(approval_id, request, "approved", given.by, given.note, given.arguments)


@router.post("/{approval_id}/reject", responses=_RESPONSES, openapi_extra=_described(Reject))
async def reject(approval_id: str, request: Request) -> JSONResponse:
    """The tool is not executed, the model hears the reason, and the run goes on. Answers as approve does."""
    given = await _read(request, Reject)
    return await _decide(approval_id, request, "rejected", given.by, given.reason, None)


async def _decide(
    approval_id: str,
    request: Request,
    status: str,
    by: str | None,
    reason: str | None,
    given: dict[str, Any] | None,
) -> JSONResponse:
    context = context_of(request)
    try:
        stored = await _get(context, approval_id, request)
        changed = _changed(context, stored, given) if status == "approved" else None
        if stored.record["status"] == "pending":
            await _must_wait(request, stored)
            if status == "approved" and stored.record["pause_type"] != "confirmation":
                detail = "the tool waits for more than a yes: POST /approvals/{id}/resolve takes it as resolution_data"
                raise Problem(409, detail)
            by = getattr(request.state, "user_id", None) or by  # who the token says it is
            data = {"reason": reason, "arguments": changed}
            decision = Decision(status, "ours", by, reason, changed, {k: v for k, v in data.items() if v is not None})
            await asyncio.to_thread(context.approvals.decide, approval_id, decision)
            stored = await _get(context, approval_id, request)
    except UNAVAILABLE as error:
        raise Problem(503, "the database is away; send it again", retry_after=RETRY_SECONDS) from error
    kept = stored.decision.arguments if stored.decision is not None else None
    if stored.record["status"] != status:
        raise Problem(409, f"this approval is {stored.record['status']} already", decision=stored.record["status"])
    if changed != kept:
        raise Problem(409, "it was approved with other arguments", decision=status, arguments=kept)
    return JSONResponse(_answer(stored))


async def _get(context: Context, approval_id: str, request: Request) -> Stored:
    """Raises a 404 Problem, also for users who see only what is theirs: as agno's resolve, this is for admins."""
    stored = None
    if get_scoped_user_id(request) is None and "\0" not in approval_id:
        stored = await asyncio.to_thread(context.approvals.get, approval_id)
    if stored is None:
        raise Problem(404, "there is no such approval")
    return stored


def _changed(context: Context, stored: Stored, given: dict[str, Any] | None) -> dict[str, Any] | None:
    """All arguments as they are to be; None when they stay as they were asked."""
    if not given:
        return None
    record = stored.record
    owner = record["agent_id"] or record["team_id"] or record["workflow_id"]
    served = [component.value for component in context.registry.components.values()]
    asked = record["tool_args"] or {}
    changed = arguments.changed(served, owner, record["tool_name"], asked, given)
    return changed if changed != asked else None


async def _must_wait(request: Request, stored: Stored) -> None:
    job = await request.app.state.queue_worker.store.get_job(stored.run_id or stored.record["run_id"], strict=True)
    if job is not None and job["status"] in ENDED:
        raise Problem(409, f"nothing waits for this approval: the run is {job['status']}", run_id=job["id"])


async def _read(request: Request, model: type[B]) -> B:
    """The body; none is an empty one. Raises a 400, 413 or 422 Problem."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BYTES:
            raise Problem(413, f"the body is larger than {MAX_BYTES} bytes")
    if not body.strip():
        return model()
    content = payload.loads(body)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(str(part) for part in wrong["loc"]) or "body"
        raise Problem(422, f"{where}: {wrong['msg']}", field=where) from None


def _answer(stored: Stored) -> dict[str, Any]:
    record, decision = stored.record, stored.decision
    return {
        "approval_id": record["id"],
        "status": record["status"],
        "run_id": stored.run_id or record["run_id"],
        "session_id": record["session_id"],
        "tool": record["tool_name"],
        "arguments": record["tool_args"],
        "changed_arguments": decision.arguments if decision else None,
        "reason": decision.reason if decision else None,
        "by": record["resolved_by"],
        "links": {
            "approval": f"/approvals/{record['id']}",
            "status": f"/api/runs/{stored.run_id or record['run_id']}",
        },
    }
