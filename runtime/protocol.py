"""HTTP/1.1 as strangers may send it: what a request's head may be, how slowly it may come, how many may be connected.

uvicorn 0.54 with httptools has none of these limits. What is refused here is answered with a problem, as everywhere,
and counted (agno.http.refused). The size of bodies is for those who read them: runtime.webhooks, runtime.doorway.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from runtime.problems import RETRY_SECONDS, Problem

HEAD_BYTES = 32_768  # of method, address and headers
GRACE_SECONDS = 10.0  # until the first byte, or for a head and a body together, and then:
BYTES_PER_SECOND = 4096
STUCK_SECONDS = 60.0  # in which nothing of an answer is read


class _TooLarge(Exception):
    """Out of a callback of the parser, which stops it."""


class Bounded(HttpToolsProtocol):
    """One connection. `expire` is to be called now and then, as time alone costs nothing on the way of a request."""

    most_connections = 1000
    refused: Callable[[str], None] = staticmethod(lambda reason: None)

    _in_head = True
    _too_large = False
    _since = 0.0  # when what is being received began; 0: nothing is
    _received = 0  # bytes since then
    _stuck_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._since = self.loop.time()
        if len(self.connections) > self.most_connections:
            detail = f"more than {self.most_connections} connections are open"
            self._refuse("connections", Problem(503, detail, retry_after=RETRY_SECONDS))

    def data_received(self, data: bytes) -> None:
        if not self._since:
            self._since = self.loop.time()
        self._received += len(data)
        super().data_received(data)
        if self._in_head and self._received > HEAD_BYTES and not self.transport.is_closing():
            self._refuse("head", _head_too_large())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > HEAD_BYTES:
            self._too_large = True
            raise _TooLarge
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._since, self._received, self._in_head = 0.0, 0, True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What the parser does not understand, or stopped at because of us."""
        if self._too_large:
            self._refuse("head", _head_too_large())
        else:
            self._refuse("malformed", Problem(400, "this is not HTTP/1.1"))

    @property
    def cycle_is_over(self) -> bool:
        """Whether there is no request that somebody answers."""
        return self.cycle is None or self.cycle.response_complete

    def expire(self, now: float) -> None:
        """Ends the connection when its other end has had time enough. `now`: of the loop."""
        if self.transport.is_closing():
            return
        if not self.flow.write_paused:
            self._stuck_since = 0.0
        elif not self._stuck_since:
            self._stuck_since = now
        elif now - self._stuck_since > STUCK_SECONDS:
            self.refused("slow")
            self.transport.abort()
            return
        if not self._since:
            return
        if self.flow.read_paused or (self._in_head and not self.cycle_is_over):  # it is us who it waits for
            self._since, self._received = now, 0
            return
        # Who was answered before the end of the body, with 413 say, may go on for a moment: to hang up at once would
        # take the answer away. What it sends is dropped.
        credit = 0.0 if self.cycle_is_over and not self._in_head else self._received / BYTES_PER_SECOND
        if now - self._since > GRACE_SECONDS + credit:
            if self._received:
                self._refuse("slow", Problem(408, f"it came with less than {BYTES_PER_SECOND} bytes a second"))
            else:
                self.transport.close()

    def _refuse(self, reason: str, problem: Problem) -> None:
        self.refused(reason)
        if self.cycle_is_over if self._in_head else not self.cycle.response_started:  # else there is an answer already
            self.transport.write(_answer(problem))
        self.transport.close()


def bounded(most_connections: int, refused: Callable[[str], None]) -> type[Bounded]:
    """For uvicorn's `http`. `refused` is called with the reason, of the catalogue's."""
    return type("Bounded", (Bounded,), {"most_connections": most_connections, "refused": staticmethod(refused)})


def _head_too_large() -> Problem:
    return Problem(431, f"address and headers are larger than {HEAD_BYTES} bytes")


def _answer(problem: Problem) -> bytes:
    answer = problem.response({"connection": "close"})
    head: list[Any] = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}".encode()]
    head += [name + b": " + value for name, value in answer.raw_headers]
    return b"\r\n".join([*head, b"", bytes(answer.body)])
