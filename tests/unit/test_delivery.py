"""Deliveries to a webhook that is busy, away or unwilling. The other side here answers as it is told to."""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from standardwebhooks import Webhook

from stack.delivery import Receipt, Refused, Sender
from stack.errors import StackError
from tests.servers import answering

SECRET = "whsec_" + "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
ACCEPTED = {"run_id": "r", "session_id": "s", "trace_id": "t", "decision": "new"}


@dataclass
class Webhooks:
    """`answers`: (status, headers, body) for the requests to come, then 202. `received`: (path, id, body)."""

    home: Any
    answers: list[tuple[int, dict[str, str], Any]] = field(default_factory=list)
    received: list[tuple[str, str, Any]] = field(default_factory=list)


@pytest.fixture
def webhooks() -> Iterator[Webhooks]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            Webhook(SECRET).verify(content, dict(self.headers))  # raises when the signature is wrong
            webhooks.received.append((self.path, self.headers["webhook-id"], json.loads(content)))
            status, headers, body = webhooks.answers.pop(0) if webhooks.answers else (202, {}, ACCEPTED)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with answering(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        webhooks = Webhooks(SimpleNamespace(runtime_url=f"http://127.0.0.1:{port}", webhook_secret=SECRET))
        yield webhooks


def send(home: Any, patience: float = 10.0) -> tuple[Receipt, int]:
    async def once() -> tuple[Receipt, int]:
        async with Sender(home, patience) as sender:
            return await sender.send("support", "d-1", {"input": "Hällo"}), sender.resent

    return asyncio.run(once())


def test_a_delivery_is_signed_and_accepted(webhooks: Webhooks) -> None:
    assert send(webhooks.home) == (Receipt("r", "s", "t", duplicate=False), 0)
    assert webhooks.received == [("/api/webhooks/support", "d-1", {"input": "Hällo"})]


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_runtime_gets_the_same_delivery_when_it_wants_it(webhooks: Webhooks, status: int) -> None:
    webhooks.answers = [(status, {"retry-after": "1"}, {}), (200, {}, ACCEPTED | {"decision": "duplicate"})]
    started = time.monotonic()
    receipt, resent = send(webhooks.home)
    assert time.monotonic() - started >= 1.0
    assert receipt.duplicate and resent == 1
    assert webhooks.received[0] == webhooks.received[1]


def test_a_runtime_that_is_restarting_gets_the_delivery_when_it_is_back(webhooks: Webhooks) -> None:
    port = webhooks.home.runtime_url.rsplit(":", 1)[1]
    away = SimpleNamespace(runtime_url="http://127.0.0.1:1", webhook_secret=SECRET)

    async def restart() -> tuple[Receipt, int]:
        async with Sender(away, patience=10) as sender:
            sending = asyncio.create_task(sender.send("support", "d-1", {"input": "x"}))
            await asyncio.sleep(0.3)
            sender._client.base_url = f"http://127.0.0.1:{port}"  # type: ignore[assignment]  # it is back
            return await sending, sender.resent

    receipt, resent = asyncio.run(restart())
    assert receipt.run_id == "r" and resent >= 1


def test_a_refusal_is_told_and_not_repeated(webhooks: Webhooks) -> None:
    webhooks.answers = [(404, {}, {"title": "Not Found", "detail": "no agent suport, did you mean support?"})]
    with pytest.raises(Refused, match="refused d-1 for support: 404 no agent suport, did you mean support"):
        send(webhooks.home)
    assert len(webhooks.received) == 1


def test_patience_ends(webhooks: Webhooks) -> None:
    webhooks.answers = [(503, {}, {})] * 20
    with pytest.raises(StackError, match="took no delivery for 1 s: the runtime answered 503"):
        send(webhooks.home, patience=1.0)
