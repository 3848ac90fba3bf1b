"""What GitHub, Jira, Grafana, Alertmanager and others send, and an agents directory with triggers for it."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import httpx

from tests.integration.runtimes import SECRET, Runtime, signed

NEW_HUB, OLD_HUB, JIRA = "the-new-hub-secret", "the-old-hub-secret", "the-jira-secret"
BEARER, BASIC, ALERTS = "the-grafana-token", "grafana:pass:word", "alerts:the-password"
SHOP = "whsec_" + base64.b64encode(b"the secret of nobody but the shop").decode()
SECRETS = {
    "github": [NEW_HUB, OLD_HUB],
    "jira": JIRA,
    "grafana": [BEARER, BASIC],
    "alertmanager": ALERTS,
    "shop": SHOP,
    "silent": SHOP,  # which has no trigger
}
FIRST = """
from pathlib import Path

from agno.agent import Agent
from runtime.offline import OfflineModel
from runtime.triggers import Trigger

def mark() -> str:
    '''Writes a line.'''
    with Path(__file__).with_name("marks").open("a") as marks:
        marks.write("marked\\n")
    return "marked"

def explode(delivered):
    raise RuntimeError("the password is hunter2")

def who(delivered):
    return delivered.headers["x-sender"] if "x-sender" in delivered.headers else None

def is_firing(delivered):
    return delivered.body["status"] == "firing"

support = Agent(id="support", name="Support", model=OfflineModel(latency=0.01), tools=[mark])

bug = Trigger(to=support, source="github", when={"issue.labels.0.name": "bug"}, prompt="a bug")
issue = Trigger(
    to=support,
    source="github",
    when={"event": "issues", "action": ["opened", "reopened"]},
    prompt="{{ body.issue.title }} in {{ body.repository.full_name }}",
    session_id="issue-{{ body.issue.number }}",
    user_id="{{ body.sender.login }}",
)
misfit = Trigger(to=support, source="github", when={"event": "deployment"}, session_id="{{ body.deployment.url }}")
bad = Trigger(to=support, source="github", when={"event": "release"}, prompt=explode)
worse = Trigger(to=support, source="github", when=lambda d: d.event == "fork" and explode(d))
counted = Trigger(to=support, source="github", when={"event": "check"}, prompt="[tool mark] {{ body.n }}")
jira = Trigger(to=support, source="jira", prompt=lambda d: f"{d.event} of {d.body['issue']['key']}", user_id=who)
grafana = Trigger(to=support, source="grafana", when={"alerts.0.status": "firing"}, prompt="{{ body.title }}")
alerts = Trigger(to=support, source="alertmanager", when=is_firing)
"""
SECOND = """
from agno.agent import Agent
from runtime.offline import OfflineModel
from runtime.triggers import Trigger

second = Agent(id="second", name="Second", model=OfflineModel(latency=0.01))

later = Trigger(to=second, source="github", when={"event": ["issues", "push"]}, prompt="{{ source }} {{ event }}")
shop = Trigger(to="support", source="shop")
store = Trigger(to=second, source="store")
calm = Trigger(to=second, source="calm")
urgent = Trigger(to=second, source="urgent", priority=5)
"""
ISSUE: dict[str, Any] = {
    "action": "opened",
    "issue": {"number": 7, "title": "The lamp flickers", "labels": []},
    "repository": {"full_name": "lamps/desk"},
    "sender": {"login": "octo"},
}
ALERT: dict[str, Any] = {"status": "firing", "title": "disk full", "alerts": [{"status": "firing"}]}
CLIENT = httpx.Client(trust_env=False, timeout=60, limits=httpx.Limits(max_connections=None))


def write_agents(directory: Path) -> Path:
    (directory / "a_first.py").write_text(FIRST)
    (directory / "b_second.py").write_text(SECOND)
    return directory


def marks(directory: Path) -> int:
    """How often the agents' tool was called, in whichever process."""
    file = directory / "marks"
    return len(file.read_text().splitlines()) if file.exists() else 0


def spellings() -> set[str]:
    """The secrets as they are set, and as they are sent."""
    plain = {SECRET, SHOP, NEW_HUB, OLD_HUB, JIRA, BEARER, BASIC, ALERTS}
    return plain | {base64.b64encode(one.encode()).decode() for one in plain} | {SECRET[6:], SHOP[6:]}


def post(runtime: Runtime, source: str, content: bytes, headers: dict[str, str]) -> httpx.Response:
    headers = {"content-type": "application/json", **headers}
    return CLIENT.post(f"{runtime.url}/api/sources/{source}", content=content, headers=headers)


def proof(source: str, secret: str, content: bytes, delivery_id: str | None = None) -> dict[str, str]:
    """What the sender adds to its delivery. The senders without an id of their own have none here either."""
    if source in ("github", "jira"):
        name, id_header = {
            "github": ("x-hub-signature-256", "x-github-delivery"),
            "jira": ("x-hub-signature", "x-atlassian-webhook-identifier"),
        }[source]
        signature = "sha256=" + hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()
        return {name: signature} | ({id_header: delivery_id} if delivery_id else {})
    if source in ("grafana", "alertmanager"):
        basic = "Basic " + base64.b64encode(secret.encode()).decode()
        return {"authorization": basic if ":" in secret else f"Bearer {secret}"}
    return signed(delivery_id or "", content, secret)


def github(runtime: Runtime, delivery_id: str, body: Any, event: str = "issues") -> httpx.Response:
    content = json.dumps(body).encode()
    return post(runtime, "github", content, {"x-github-event": event, **proof("github", NEW_HUB, content, delivery_id)})


def standard(runtime: Runtime, source: str, delivery_id: str, body: Any = None) -> httpx.Response:
    """With the shared secret."""
    content = json.dumps(body or {"input": delivery_id}).encode()
    return post(runtime, source, content, signed(delivery_id, content))
