"""Sends signed deliveries to the runtime's webhooks, and sends them again until they are accepted."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import httpx
from standardwebhooks import Webhook
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_delay, wait_exponential

from stack.errors import StackError
from stack.home import Home

BUSY = {429, 502, 503, 504}
CONCURRENCY = 32


class Refused(StackError):
    """The runtime answered, and sending the same again would not help."""


class Busy(Exception):
    """The runtime asks to come back later: `seconds`, or None where it did not say when."""

    def __init__(self, status: int, seconds: float | None) -> None:
        super().__init__(f"the runtime answered {status}")
        self.seconds = seconds


@dataclass(frozen=True)
class Receipt:
    """The runtime's answer. `duplicate`: it had accepted this delivery before."""

    run_id: str
    session_id: str
    trace_id: str
    duplicate: bool


class Sender:
    """Used as `async with Sender(home) as sender`. `resent` counts the attempts after the first ones."""

    def __init__(self, home: Home, patience: float = 180.0) -> None:
        """`patience`: seconds after which a delivery that nobody accepts is an error."""
        self._url = home.runtime_url
        self._webhook = Webhook(home.webhook_secret)
        self._patience = patience
        limits = httpx.Limits(max_connections=CONCURRENCY)
        self._client = httpx.AsyncClient(base_url=self._url, timeout=30.0, limits=limits, trust_env=False)
        self.resent = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def send(self, agent_id: str, delivery_id: str, body: dict[str, Any]) -> Receipt:
        """Raises Refused when the runtime does not take the delivery, StackError when it cannot be reached."""
        content = json.dumps(body)
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type((httpx.TransportError, Busy)),
                wait=_pause,
                stop=stop_after_delay(self._patience),
                reraise=True,
            ):
                with attempt:
                    self.resent += attempt.retry_state.attempt_number > 1
                    return await self._post(agent_id, delivery_id, content)
        except (httpx.TransportError, Busy) as error:
            reason = str(error) or type(error).__name__
            raise StackError(
                f"{self._url} took no delivery for {self._patience:.0f} s: {reason}", "`stack status` shows what runs"
            ) from error
        raise AssertionError("tenacity ends with an answer or an error")

    async def _post(self, agent_id: str, delivery_id: str, content: str) -> Receipt:
        now = datetime.now(UTC)
        headers = {
            "content-type": "application/json",
            "webhook-id": delivery_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(delivery_id, now, content),
        }
        answer = await self._client.post(f"/api/webhooks/{agent_id}", content=content, headers=headers)
        if answer.status_code in BUSY:
            raise Busy(answer.status_code, _seconds(answer.headers.get("retry-after")))
        if not answer.is_success:
            raise Refused(f"the runtime refused {delivery_id} for {agent_id}: {_problem(answer)}")
        accepted = answer.json()
        return Receipt(
            run_id=accepted["run_id"],
            session_id=accepted["session_id"],
            trace_id=accepted["trace_id"],
            duplicate=accepted["decision"] == "duplicate",
        )

    async def approve(self, receipt: Receipt) -> None:
        """Approves the tool calls for which a run has paused; it goes on by itself. Raises Refused."""
        found = await self._client.get("/approvals", params={"run_id": receipt.run_id, "status": "pending"})
        if not found.is_success:
            raise Refused(f"the approvals of run {receipt.run_id} cannot be read: {_problem(found)}")
        for approval in found.json()["data"]:
            answer = await self._client.post(f"/approvals/{approval['id']}/approve", json={"by": "demo"})
            if not answer.is_success:
                raise Refused(f"{approval['tool_name']} of run {receipt.run_id} is not approved: {_problem(answer)}")


_backoff = wait_exponential(multiplier=0.2, max=3.0)


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return error.seconds if isinstance(error, Busy) and error.seconds is not None else _backoff(state)


def _seconds(header: str | None) -> float | None:
    """Retry-After as seconds, at most ten: it may also be a date, which nobody here sends."""
    return min(float(header), 10.0) if header and header.isdigit() else None


def _problem(answer: httpx.Response) -> str:
    """`detail` of an RFC 9457 problem, or what there is."""
    try:
        problem = answer.json()
        text = problem.get("detail") or problem.get("title") or answer.text
    except (ValueError, AttributeError):
        text = answer.text
    return f"{answer.status_code} {str(text)[:300]}"
