"""Where an alert points to, and an alert as Alertmanager's webhook has it."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from dashboards.viewer.history import Instance
from dashboards.viewer.rules import Rule
from dashboards.viewer.settings import Settings

AROUND_SECONDS = 3600  # shown before an alert began
VARIABLES = ("agent_id", "kind", "model", "environment")  # labels that boards have a variable of
NEVER = "0001-01-01T00:00:00Z"  # Alertmanager's endsAt of what has not ended


class Links:
    def __init__(self, settings: Settings) -> None:
        self.base = settings.base
        self._phoenix = settings.phoenix_url
        self._runtime = settings.runtime_url

    @property
    def alerts(self) -> str:
        return f"{self.base}/dashboards/alerts"

    def trace(self, trace_id: str) -> str | None:
        """In Phoenix, else on AgentOS."""
        if not trace_id:
            return None
        if self._phoenix:
            return f"{self._phoenix}/redirects/traces/{quote(trace_id, safe='')}"
        return f"{self._runtime}/traces/{quote(trace_id, safe='')}" if self._runtime else None

    def runbook(self, rule: Rule) -> str:
        path, _, anchor = rule.runbook.partition("#")
        name = path.removeprefix("docs/").removesuffix(".md")
        return f"{self.base}/dashboards/docs/{name}#{anchor}"

    def dashboard(self, rule: Rule, labels: dict[str, str], since: float | None = None) -> str:
        """The rule's board with the instance's agent, and the time around `since`, else now."""
        chosen = {f"var-{label.removesuffix('_id')}": labels[label] for label in VARIABLES if labels.get(label)}
        if since is not None:
            chosen |= {"from": str(int(since - AROUND_SECONDS) * 1000), "to": str(int(since + AROUND_SECONDS) * 1000)}
        return f"{self.base}/dashboards/{rule.board}" + (f"?{urlencode(chosen)}" if chosen else "")

    def alert(self, rule: Rule, instance: Instance) -> dict[str, Any]:
        """A firing alert."""
        given: dict[str, str] = json.loads(instance.labels)
        labels = {"alertname": rule.name, "severity": rule.severity, **given}
        return {
            "status": "firing",
            "labels": labels,
            "annotations": {
                "title": rule.title,
                "summary": instance.summary,
                "description": rule.description,
                "value": f"{instance.value:.10g}",
                "objective": f"{instance.objective:.10g}",
                "unit": rule.unit,
                "trace_id": instance.trace_id,
                "trace_url": self.trace(instance.trace_id) or "",
                "dashboard_url": self.dashboard(rule, given, instance.fired),
                "runbook_url": self.runbook(rule),
            },
            "startsAt": _iso(instance.fired or instance.since),
            "endsAt": NEVER,
            "generatorURL": f"{self.alerts}#{rule.name}",
            "fingerprint": hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:16],
        }

    @staticmethod
    def resolved(instance: Instance) -> dict[str, Any]:
        """What was posted, or was to be, as it ends. Its rule may be gone."""
        return {**json.loads(instance.notice), "status": "resolved", "endsAt": _iso(instance.ended or 0)}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
