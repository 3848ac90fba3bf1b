"""Errors as RFC 9457 problems: a 4xx or 503 that says what and where, and never a stack trace."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

MEDIA_TYPE = "application/problem+json"


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


async def answer(_: Request, problem: Exception) -> JSONResponse:
    """FastAPI's exception handler for Problem."""
    assert isinstance(problem, Problem)
    return problem.response()
