"""The runtime as a process of its own, and a sender of signed webhooks."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
import pytest
from standardwebhooks import Webhook

from stack.ports import find_free
from tests.integration.forked import Forked

AGENTS = Path(__file__).parent / "agents"
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
T = TypeVar("T")


@dataclass
class Runtime:
    """`start` and `kill` it as often as needed; the port stays the same. `log` holds what it printed."""

    database_url: str
    log: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=lambda: find_free(set()))
    process: Forked | None = None
    key: str | None = None  # what `get` authenticates with

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self, name: str) -> Forked:
        environment = {
            **os.environ,
            "DATABASE_URL": self.database_url,
            "RUNTIME_PORT": str(self.port),
            "AGENTS_DIR": str(AGENTS),
            "WEBHOOK_SECRET": SECRET,
            "TELEMETRY_MODE": "off",
            **self.settings,
        }
        return Forked(name, environment, self.log)

    def migrate(self) -> None:
        assert self.command("migrate").wait(60) == 0, self.log.read_text()

    def start(self) -> None:
        self.process = self.command("serve")
        until(self._is_up, 60)

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.get("/health").is_success
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 40) -> int:
        """SIGTERM, as a supervisor sends it; answers the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def get(self, path: str, **more: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        return httpx.get(f"{self.url}{path}", headers=headers, trust_env=False, timeout=20, **more)

    def send(self, delivery_id: str, body: Any, agent: str = "echo", **headers: str) -> httpx.Response:
        """A signed webhook. `headers` replace what is sent; with underscores for hyphens."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        replaced = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(
            f"{self.url}/api/webhooks/{agent}",
            content=content,
            headers=signed(delivery_id, content) | replaced,
            trust_env=False,
            timeout=20,
        )

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(statement.encode(), values).fetchall()

    def ticket(self, run_id: str) -> dict[str, Any]:
        """What GET /api/runs answers."""
        answer: dict[str, Any] = self.get(f"/api/runs/{run_id}").raise_for_status().json()
        return answer

    def ended(self, run_id: str, seconds: float = 30) -> dict[str, Any]:
        """The ticket once its run has ended."""
        until(lambda: self.ticket(run_id)["status"] in ("completed", "failed", "cancelled"), seconds)
        return self.ticket(run_id)

    def metric(self, name: str, **attributes: str) -> float:
        """The value of a Prometheus sample, 0 when there is none."""
        for line in self.get("/api/metrics").text.splitlines():
            if line.startswith(name) and all(f'{key}="{value}"' in line for key, value in attributes.items()):
                return float(line.rsplit(" ", 1)[1])
        return 0.0


def signed(delivery_id: str, content: bytes, secret: str = SECRET, at: datetime | None = None) -> dict[str, str]:
    at = at or datetime.now(UTC)
    return {
        "content-type": "application/json",
        "webhook-id": delivery_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(delivery_id, at, content.decode(errors="replace")),
    }


@contextmanager
def running(database_url: str, log: Path, **settings: str) -> Iterator[Runtime]:
    """A serving runtime on a database that is migrated; killed at the end if it still runs."""
    runtime = Runtime(database_url, log, settings)
    try:
        runtime.start()
        yield runtime
    finally:
        if runtime.process is not None and runtime.process.poll() is None:
            runtime.kill()


def until(condition: Callable[[], T], seconds: float) -> T:
    """The first true answer of `condition`; fails when there is none within `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s")
        time.sleep(0.05)
