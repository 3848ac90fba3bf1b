"""In front of AgentOS and our routes, but not of webhooks, which have limits of their own: how large a body may be,
that JSON is what Python and Postgres can take, and that no answer holds a secret of this process.
"""

import hmac
from collections import deque
from typing import Any

from anyio import to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime import payload
from runtime.context import Context
from runtime.problems import Problem
from runtime.settings import Settings
from telemetry import secrets

STRANGER_BYTES = 1_048_576  # FastAPI reads a body before AgentOS looks at the key


class Doorway:
    """Outermost. Beside that it refuses credentials that agno cannot compare."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._most = settings.request_max_bytes
        # tokens are looked at before the body is read; without either, only this machine gets here
        asks_for_key = settings.os_security_key and not settings.uses_tokens
        self._credentials = f"Bearer {settings.os_security_key}".encode() if asks_for_key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _Request(self, scope, receive, send).pass_on(self._app)
        else:
            await self._app(scope, receive, send)

    def most(self, authorization: bytes) -> int:
        """Bytes that a body may have."""
        if self._credentials is None or hmac.compare_digest(authorization, self._credentials):
            return self._most
        return min(STRANGER_BYTES, self._most)


class _Request:
    def __init__(self, doorway: Doorway, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._headers = {name: value for name, value in scope["headers"]}
        self._most = doorway.most(self._headers.get(b"authorization", b""))
        self._read = 0
        self._refused = self._began = False
        self._kept: deque[Message] = deque()  # read, and looked at, before the app reads it

    async def pass_on(self, app: ASGIApp) -> None:
        # agno 3.1.10 compares credentials with hmac.compare_digest as text, which raises on anything but ASCII: a 500
        if any(name == b"authorization" and not value.isascii() for name, value in self._scope["headers"]):
            await self._refuse(Problem(401, "the Authorization header must be ASCII"))
            return
        declared = self._headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared[:20]) > self._most:
            await self._refuse(self._too_large())
            return
        if self._headers.get(b"content-type", b"").partition(b";")[0].strip().endswith(b"json"):
            await self._check_json()
        if not self._refused:
            await app(self._scope, self._receiving, self._sending)

    async def _check_json(self) -> None:
        """AgentOS would answer half a surrogate pair, or a number without end, with an error of the server."""
        messages = [await self._receiving()]
        while messages[-1].get("more_body"):
            messages.append(await self._receiving())
        body = b"".join(message.get("body", b"") for message in messages)
        if not self._refused and messages[-1]["type"] == "http.request" and body.strip():
            try:
                await to_thread.run_sync(payload.loads, body)
            except Problem as problem:
                await self._refuse(problem)
        self._kept = deque(messages)

    async def _receiving(self) -> Message:
        if self._kept:
            return self._kept.popleft()
        message = await self._receive()
        self._read += len(message.get("body", b""))
        if self._read <= self._most:
            return message
        if not (self._refused or self._began):
            await self._refuse(self._too_large())
        return {"type": "http.disconnect"}

    async def _sending(self, message: Message) -> None:
        if self._refused:  # what the app makes of a sender that hung up
            return
        self._began = True
        if message["type"] == "http.response.body" and secrets.are_in(message.get("body", b"")):
            message = {**message, "body": secrets.masked(message["body"])}
        await self._send(message)

    def _too_large(self) -> Problem:
        context: Context | None = getattr(self._scope["app"].state, "context", None)
        if context is not None:
            context.telemetry.instruments.request_refused("body")
        return Problem(413, f"the body is larger than {self._most} bytes")

    async def _refuse(self, problem: Problem) -> None:
        self._refused = True
        response: Any = problem.response()
        await response(self._scope, self._receive, self._send)
