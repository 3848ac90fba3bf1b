"""What goes out about approvals: Standard Webhooks (standardwebhooks.com), each with an id that no retry changes."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
from standardwebhooks import Webhook

if TYPE_CHECKING:
    from runtime.approvals.store import Decision

REQUESTED = "approval.requested"
RESOLVED = "approval.resolved"
TIMEOUT = httpx.Timeout(10.0, connect=5.0)


def compose(
    event: str, record: Mapping[str, Any], run_id: str, base_url: str, decision: "Decision | None"
) -> tuple[str, str]:
    """(webhook-id, body). `record`: agno's approval. The body is JSON: type, timestamp, data."""
    link = f"{base_url}/approvals/{record['id']}"
    data = {
        "approval_id": record["id"],
        "status": record["status"],
        "run_id": run_id,
        "session_id": record["session_id"],
        "user_id": record["user_id"],
        "agent_id": record["agent_id"] or record["team_id"] or record["workflow_id"],
        "agent_name": record["source_name"],
        "tool": record["tool_name"],
        "arguments": record["tool_args"],
        "created_at": _iso(record["created_at"]),
        "expires_at": _iso(record["expires_at"]),
        "links": {"approval": link, "approve": f"{link}/approve", "reject": f"{link}/reject"},
    }
    if decision is not None:
        data |= {
            "by": decision.by,
            "reason": decision.reason,
            "changed_arguments": decision.arguments,
            "decided_at": _iso(record["resolved_at"]),
        }
    body = {"type": event, "timestamp": datetime.now(UTC).isoformat(), "data": data}
    return f"msg_{uuid4().hex}", json.dumps(body, ensure_ascii=False)


class Sender:
    """Posts to one URL. Redirects are not followed: what is signed for one receiver is for no other."""

    def __init__(self, url: str, secret: str) -> None:
        self._url = url
        self._webhook = Webhook(secret)
        self._client = httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False)

    async def close(self) -> None:
        await self._client.aclose()

    async def send(self, notice_id: str, body: str) -> str | None:
        """None when it was taken, else what went wrong, in a few words without the answer's body."""
        now = datetime.now(UTC)
        headers = {
            "content-type": "application/json",
            "webhook-id": notice_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(notice_id, now, body),
        }
        try:
            async with self._client.stream("POST", self._url, content=body.encode(), headers=headers) as answer:
                return None if answer.is_success else f"status {answer.status_code}"
        except httpx.HTTPError as error:
            return type(error).__name__


def _iso(seconds: int | None) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds else None
