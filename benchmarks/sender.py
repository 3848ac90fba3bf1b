"""A sender of HTTP requests that costs little: bytes made before, kept connections, in a process of its own."""

import asyncio
import multiprocessing
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvloop

_END = b"\r\n\r\n"
_LENGTH = b"content-length: "
_LAST = b"0\r\n\r\n"  # of an answer in pieces


@dataclass
class Result:
    """`seconds`: latencies of the requests that were answered, in no order; `statuses`: how often each was given."""

    elapsed: float = 0.0
    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def per_second(self, status: int) -> float:
        return self.statuses[status] / self.elapsed

    def percentile(self, part: float) -> float:
        return sorted(self.seconds)[int(part * (len(self.seconds) - 1))]


class _Connection(asyncio.Protocol):
    """One connection: one request at a time, the next as soon as there is one."""

    def __init__(self, sending: "_Sending") -> None:
        self.sending = sending
        self.transport: Any = None
        self.received = b""
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.sending.ready(self)

    def write(self, request: bytes, due: float) -> None:
        self.due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(_END)
        if not end:
            return
        _, found, rest = head.lower().partition(_LENGTH)
        if body.endswith(_LAST) if not found else len(body) >= int(rest.split(b"\r\n", 1)[0]):
            self.received = b""
            self.sending.answered(self, int(head[9:12]))

    def connection_lost(self, error: Exception | None) -> None:
        self.sending.lost(error)


class _Sending:
    """With a rate (requests a second) each request is due at its time, whether or not others have been answered."""

    def __init__(self, requests: Sequence[bytes], rate: float | None) -> None:
        self.requests = iter(requests)
        self.rate = rate
        self.result = Result()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.idle: deque[_Connection] = deque()
        self.waiting: deque[tuple[bytes, float]] = deque()
        self.began = 0.0
        self.until = 0.0

    def ready(self, connection: _Connection) -> None:
        self.idle.append(connection)

    def start(self, seconds: float) -> None:
        self.began = time.perf_counter()
        self.until = self.began + seconds
        if self.rate is None:
            while self.idle:
                self._next(self.idle.popleft())
        else:
            self._due(0)

    def _due(self, number: int) -> None:
        assert self.rate is not None
        now = time.perf_counter()
        while (due := self.began + number / self.rate) <= now:
            if due >= self.until or (request := next(self.requests, None)) is None:
                self._end()
                return
            number += 1
            if self.idle:
                self.idle.popleft().write(request, due)
            else:
                self.waiting.append((request, due))
        asyncio.get_running_loop().call_later(due - now, self._due, number)

    def answered(self, connection: _Connection, status: int) -> None:
        now = time.perf_counter()
        self.result.seconds.append(now - connection.due)
        self.result.statuses[status] += 1
        if self.rate is None:
            self._next(connection)
        elif self.waiting:
            connection.write(*self.waiting.popleft())
        else:
            self.idle.append(connection)

    def _next(self, connection: _Connection) -> None:
        now = time.perf_counter()
        request = next(self.requests, None) if now < self.until else None
        if request is None:
            self._end()
        else:
            connection.write(request, now)

    def _end(self) -> None:
        if not self.done.done():
            self.result.elapsed = time.perf_counter() - self.began
            self.done.set_result(None)

    def lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server closed a connection"))


async def _send(port: int, requests: Sequence[bytes], seconds: float, connections: int, rate: float | None) -> Result:
    sending = _Sending(requests, rate)
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(lambda: _Connection(sending), "127.0.0.1", port) for _ in range(connections)]
    sending.start(seconds)
    await sending.done
    for transport, _ in opened:
        transport.abort()
    return sending.result


def _serve(orders: Any) -> None:
    while order := orders.recv():
        orders.send(uvloop.run(_send(*order)))


class Sender:
    """`send` answers when `seconds` have passed, or all requests are sent."""

    def __init__(self, orders: Any) -> None:
        self._orders = orders

    def send(
        self, port: int, requests: Sequence[bytes], seconds: float, connections: int = 64, rate: float | None = None
    ) -> Result:
        self._orders.send((port, requests, seconds, connections, rate))
        result: Result = self._orders.recv()
        return result


@contextmanager
def sender() -> Iterator[Sender]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield Sender(ours)
    finally:
        ours.send(None)
        process.join(10)
