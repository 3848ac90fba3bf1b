"""Alerts as Alertmanager (version 4) and Grafana send them: those of a body that fire, made ready for a prompt.

    {"status": "firing", "groupKey": "...", "alerts": [{"status", "labels": {}, "annotations": {}, "startsAt",
     "generatorURL", "fingerprint", "values": {}}]}

Every field is somebody else's: of what is missing or of another type nothing is said, texts are cut, and only http
addresses are links.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

MOST = 10  # of one delivery
LONGEST = 300  # characters of a text
LONGEST_URL = 1_000
BEFORE = 15  # minutes before an alert began that are looked at too
LEAST, LONGEST_LOOK = 60, 1_440  # minutes
_FINGERPRINT = re.compile(r"[0-9a-f]{8,64}")
_TRACE = re.compile(r"[0-9a-f]{32}")
_BEGINNING = "An alert fires. Find its likely cause.\n"
_PROMPT = re.compile(re.escape(_BEGINNING) + r"(\[.*\])", re.DOTALL)

Alert = dict[str, Any]


def firing(body: Mapping[str, Any], but: str = "") -> list[Alert]:
    """The alerts of a body that fire, at most MOST; none that are about the agent `but`.

    Each has `name` and `fingerprint`, and, where they are known: agent_id, severity, value, objective, unit, summary,
    started_at, trace_id, minutes (how far back to look) and links.
    """
    given = body.get("alerts")
    listed = [one for one in given if isinstance(one, Mapping)] if isinstance(given, list) else []
    alerts = [_alert(one) for one in listed if one.get("status", body.get("status")) == "firing"]
    return [alert for alert in alerts if not but or alert.get("agent_id") != but][:MOST]


def conversation(body: Mapping[str, Any], but: str = "") -> str:
    """The id of the session: the same for an alert that fires on or again; of several, for their group."""
    found = [alert["fingerprint"] for alert in firing(body, but)]
    key = found[0] if len(found) == 1 else str(body.get("groupKey") or sorted(found))
    return f"alert-{key if _FINGERPRINT.fullmatch(key) else _hash(key)}"


def prompt(body: Mapping[str, Any], but: str = "") -> str:
    """The alerts as JSON, in which nothing that they say can look like more than a text."""
    return _BEGINNING + json.dumps(firing(body, but), ensure_ascii=False, indent=1)


def of_prompt(text: str) -> list[Alert]:
    """What `prompt` has written; empty for any other text."""
    found = _PROMPT.fullmatch(text.strip())
    try:
        alerts = json.loads(found[1]) if found else []
    except ValueError:
        return []
    return [alert for alert in alerts if isinstance(alert, dict)]


def _alert(given: Mapping[str, Any]) -> Alert:
    labels, notes = _mapping(given, "labels"), _mapping(given, "annotations")
    values = _mapping(given, "values")  # Grafana's, by the letter of the query: A is the value, O the objective
    started_at = _time(given.get("startsAt"))
    said = {
        "name": _text(labels.get("alertname")) or "an alert without a name",
        "agent_id": _text(labels.get("agent_id")),
        "severity": _text(labels.get("severity")),
        "value": _number(notes.get("value"), labels.get("value"), values.get("A")),
        "objective": _number(notes.get("objective"), labels.get("objective"), values.get("O")),
        "unit": _text(notes.get("unit")) or _text(labels.get("unit")),
        "summary": _text(notes.get("summary")) or _text(notes.get("description")),
        "started_at": started_at.strftime("%Y-%m-%dT%H:%M:%SZ") if started_at else None,
        "minutes": _minutes(started_at),
        "trace_id": _trace(notes.get("trace_id"), labels.get("trace_id")),
        "fingerprint": _text(given.get("fingerprint")) or _hash(_json(labels)),
        "links": _links(given, notes),
    }
    return {key: value for key, value in said.items() if value not in (None, "", {})}


def _minutes(started_at: datetime | None) -> int:
    since = (datetime.now(UTC) - started_at).total_seconds() / 60 if started_at else 0
    return round(min(max(since + BEFORE, LEAST), LONGEST_LOOK))


def _links(given: Mapping[str, Any], notes: Mapping[str, Any]) -> dict[str, str]:
    named = {"alert": given.get("generatorURL"), "dashboard": notes.get("dashboard_url") or given.get("dashboardURL")}
    named |= {"runbook": notes.get("runbook_url"), "trace": notes.get("trace_url")}
    return {name: url for name, value in named.items() if (url := _url(value))}


def _url(value: Any) -> str:
    try:
        parts = urlsplit(value) if isinstance(value, str) and len(value) <= LONGEST_URL else None
        fine = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return ""
    return str(value) if fine and str(value).isprintable() and " " not in value else ""


def _time(value: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else datetime.min
        at = at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
        return at if at.year > 1 else None  # Go's zero time is the year 1
    except (ValueError, OverflowError):
        return None


def _number(*values: Any) -> float | None:
    for value in values:
        try:
            number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
        except (ValueError, OverflowError):
            continue
        if math.isfinite(number):
            return number
    return None


def _trace(*values: Any) -> str:
    return next((value for value in values if isinstance(value, str) and _TRACE.fullmatch(value)), "")


def _mapping(given: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = given.get(key)
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    text = value.strip() if isinstance(value, str) else ""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]
