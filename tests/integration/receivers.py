"""A receiver of Standard Webhooks on loopback, which can be told to refuse."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

from tests.servers import answering


@dataclass
class Receiver:
    """`answers`: the status of each request to come; 200 when there are none left. Signatures are verified."""

    secret: str
    answers: list[int] = field(default_factory=list)
    attempts: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # (webhook-id, body)
    taken: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    url: str = ""

    def of(self, approval_id: str, event: str) -> list[dict[str, Any]]:
        """What was taken of one approval."""
        return [
            body["data"]
            for _, body in self.taken
            if body["type"] == event and body["data"]["approval_id"] == approval_id
        ]


@contextmanager
def receiving(secret: str) -> Iterator[Receiver]:
    receiver = Receiver(secret)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            body = Webhook(secret).verify(content, dict(self.headers.items()))
            assert body == json.loads(content)
            received = (self.headers["webhook-id"], body)
            status = receiver.answers.pop(0) if receiver.answers else 200
            if status == 200:
                receiver.taken.append(received)
            receiver.attempts.append(received)
            self.send_response(status)
            if status == 302:
                self.send_header("location", f"{receiver.url}/elsewhere")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    with answering(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        receiver.url = f"http://127.0.0.1:{port}/notices"
        yield receiver
