"""Errors as RFC 9457 problems: a 4xx or 503 that says what and where, and never a stack trace."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 2  # when to come back after a 429 or 503 that nobody knows the end of
OURS = ("/api/", "/admin/")


class Problem(Exception):
    """Raise it anywhere in a route of ours. `fields` are extension members of the problem, such as `field`."""

    def __init__(self, status: int, detail: str, *, retry_after: int | None = None, **fields: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.retry_after = retry_after
        self.fields = fields

    def response(self, headers: Mapping[str, str] | None = None) -> JSONResponse:
        title = HTTPStatus(self.status).phrase
        body = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail, **self.fields}
        retry = {"retry-after": str(self.retry_after)} if self.retry_after is not None else {}
        return JSONResponse(body, self.status, {**retry, **(headers or {})}, media_type=MEDIA_TYPE)


SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457. There may be more members, such as `field` or `nearest`.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong, and where."},
    },
}


def documented(problems: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """`responses` of a FastAPI route: what each status means."""
    retry = {"retry-after": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return {
        status: {
            "description": description,
            "content": {MEDIA_TYPE: {"schema": SCHEMA}},
            **({"headers": retry} if status in (429, 503) else {}),
        }
        for status, description in problems.items()
    }


# `responses` of the routes whose senders do not sign. They come from AgentOS, in its shape.
PROTECTED: dict[int | str, dict[str, Any]] = {
    401: {"description": "The key or token is missing or does not hold."},
    403: {"description": "The token's scopes do not suffice."},
}


def handle(app: FastAPI) -> None:
    """On our paths every error is a problem, also an unknown path and a wrong method; AgentOS keeps its own shape."""
    app.add_exception_handler(Problem, answer)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)


async def answer(_: Request, problem: Exception) -> JSONResponse:
    """FastAPI's exception handler for Problem."""
    assert isinstance(problem, Problem)
    return problem.response()


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if not _is_ours(request):
        return await http_exception_handler(request, error)
    details = {
        404: "there is nothing at this path; GET /docs says what there is",
        405: f"{request.method} is not for this path",
    }
    return Problem(error.status_code, details.get(error.status_code, str(error.detail))).response(error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if not _is_ours(request):
        return await request_validation_exception_handler(request, error)
    wrong = [(".".join(str(part) for part in one["loc"]), one["msg"]) for one in error.errors()]
    detail = "; ".join(f"{where}: {what}" for where, what in wrong)
    return Problem(422, detail, field=wrong[0][0] if wrong else None).response()


def _is_ours(request: Request) -> bool:
    return request.url.path.startswith(OURS)
