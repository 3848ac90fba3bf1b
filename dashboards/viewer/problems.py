"""Errors as RFC 9457 problems: a 4xx or 5xx that says what and where, and never a stack trace."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

log = logging.getLogger(__name__)


class Problem(Exception):
    """Raise it anywhere in a route. `fields` are extension members, such as `parameter` or `hint`."""

    def __init__(self, status: int, detail: str, *, retry_after: int | None = None, **fields: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.retry_after = retry_after
        self.fields = fields

    def response(self) -> JSONResponse:
        title = HTTPStatus(self.status).phrase
        body = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail, **self.fields}
        headers = {"retry-after": str(self.retry_after)} if self.retry_after is not None else {}
        return JSONResponse(body, self.status, headers, media_type="application/problem+json")


def handle(app: FastAPI) -> None:
    """Every error of the app is a problem, also an unknown path and a wrong method."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unexpected)


async def _problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return error.response()


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    details = {404: "there is nothing at this path", 405: f"{request.method} is not for this path"}
    return Problem(error.status_code, details.get(error.status_code, str(error.detail))).response()


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    wrong = [(".".join(str(part) for part in one["loc"]), one["msg"]) for one in error.errors()]
    return Problem(400, "; ".join(f"{where}: {what}" for where, what in wrong)).response()


async def _unexpected(_: Request, error: Exception) -> JSONResponse:
    """Starlette raises the error again once this is answered, so that the server logs it."""
    return Problem(500, f"this is a mistake of the page ({type(error).__name__}); its log says more").response()
