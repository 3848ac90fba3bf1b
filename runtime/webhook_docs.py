"""What /docs says of the webhooks. The routes are to be read only: webhooks.Application answers before them."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from runtime import payload
from runtime.problems import documented
from runtime.triggers import SOURCE

router = APIRouter(prefix="/api", tags=["webhooks"])


class Answer(BaseModel):
    """What became of a delivery."""

    run_id: str | None = Field(description="The run; null when the delivery was ignored.")
    session_id: str | None = Field(description="The conversation that the run belongs to.")
    trace_id: str | None = Field(description="The trace of the run and of the webhook that caused it.")
    decision: Literal["new", "duplicate", "ignored"]
    links: dict[str, str] = Field(description="`run`: the run itself; `status`: its ticket.")


_NEW = {
    "run_id": "7c0a2bd5-6a3a-4d0b-8a3e-0f4a4f9f8f3e",
    "session_id": "order-A-1001",
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
    "decision": "new",
    "links": {
        "status": "/api/runs/7c0a2bd5-6a3a-4d0b-8a3e-0f4a4f9f8f3e",
        "run": "/agents/support/runs/7c0a2bd5-6a3a-4d0b-8a3e-0f4a4f9f8f3e?session_id=order-A-1001",
    },
}
_IGNORED: dict[str, Any] = {"run_id": None, "session_id": None, "trace_id": None, "decision": "ignored", "links": {}}
_NAME = f"^{SOURCE.pattern}$"
_FORM = {"type": "object", "additionalProperties": {"type": "string"}}


def _responses(ok: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    examples = {name: {"value": value} for name, value in ok.items()}
    return {
        200: {
            "description": "Nothing new: " + " or ".join(ok),
            "model": Answer,
            "content": {"application/json": {"examples": examples}},
        },
        202: {"content": {"application/json": {"example": _NEW}}},
        **documented(
            {
                400: "The body is incomplete, not JSON, or not UTF-8.",
                401: "The signature does not hold, or there is no secret to check it with.",
                404: "There is nothing of this name; `nearest` is what may have been meant.",
                409: "The delivery's id was used for another body, or for another agent; `run_id` is its run.",
                413: "The body is larger than WEBHOOK_MAX_BYTES.",
                415: "The body is neither JSON nor a form, or it is compressed.",
                422: "The body, or a field of it, cannot be taken; `field` says which.",
                429: "The queue is full, or the source sends more than WEBHOOK_RATE.",
                503: "Postgres is away: nothing was accepted.",
            }
        ),
    }


def _body(example: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "additionalProperties": True}
    types = {"application/json": {"schema": schema, "example": example}, payload.FORM: {"schema": _FORM}}
    return {"required": True, "content": types}


def _header(name: str, description: str, example: str) -> dict[str, Any]:
    schema = {"type": "string"}
    return {
        "in": "header",
        "name": name,
        "description": description,
        "schema": schema,
        "example": example,
    }


_TRACEPARENT = _header(
    "traceparent", "W3C trace context: the run goes on in this trace.", f"00-{_NEW['trace_id']}-b7ad6b7169203331-01"
)
_STANDARD = [
    _header("webhook-id", "The same id is the same run, however often it is sent.", "msg_2b1c"),
    _header("webhook-timestamp", "Seconds since 1970; five minutes off at most.", "1795272000"),
    _header("webhook-signature", "`v1,` and Base64 of HMAC-SHA256 over id.timestamp.body.", "v1,K5oZfzN95Z9U..."),
]


@router.post(
    "/webhooks/{id}",
    status_code=202,
    responses=_responses({"duplicate": {**_NEW, "decision": "duplicate"}}),
    openapi_extra={
        "security": [],
        "parameters": [*_STANDARD, _TRACEPARENT],
        "requestBody": _body(
            {
                "input": "Where is order A-1001?",
                "session_id": "order-A-1001",
                "user_id": "C-1",
                "metadata": {"shop": 7},
            },
            {
                "input": {"type": "string", "description": "The prompt; `message` and `prompt` mean the same."},
                "session_id": {"type": "string", "minLength": 1, "maxLength": payload.MAX_NAME},
                "user_id": {"type": "string", "minLength": 1, "maxLength": payload.MAX_NAME},
                "metadata": {"type": "object", "description": "Given to the run."},
            },
        ),
    },
)
async def webhook(id: Annotated[str, Path(description="An agent, team or workflow.")]) -> Answer:
    """Gives a delivery to an agent, team or workflow, signed as [Standard Webhooks](https://www.standardwebhooks.com).

    Answered once the run is stored and will happen, before it has begun. A body without `input` is the input itself,
    unless a trigger in the agent's file says otherwise.
    """
    raise NotImplementedError


@router.post(
    "/sources/{source}",
    status_code=202,
    responses=_responses({"duplicate": {**_NEW, "decision": "duplicate"}, "ignored": _IGNORED}),
    openapi_extra={
        "security": [],
        "parameters": [
            _header("x-hub-signature-256", "GitHub: `sha256=` and HMAC-SHA256 of the body.", "sha256=757107ea0eb2509f"),
            _header("x-github-delivery", "GitHub: the delivery's id.", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
            _header("x-github-event", "GitHub: the event, `event` to triggers.", "issues"),
            _header("x-hub-signature", "Jira: `sha256=` and HMAC-SHA256 of the body.", "sha256=757107ea0eb2509f"),
            _header("x-atlassian-webhook-identifier", "Jira: the delivery's id.", "5f9b1c8e"),
            *_STANDARD,
            _TRACEPARENT,
        ],
        "requestBody": _body({"action": "opened", "issue": {"number": 7, "title": "The lamp flickers"}}, {}),
    },
)
async def source(source: Annotated[str, Path(description="github, grafana, jira, ...", pattern=_NAME)]) -> Answer:
    """Gives a delivery to whatever a trigger beside an agent says. One that no trigger wants is `ignored`.

    GitHub and Jira sign the body, Grafana and Alertmanager send an `Authorization` header (Bearer or Basic), all others
    sign as Standard Webhooks do.
    """
    raise NotImplementedError
