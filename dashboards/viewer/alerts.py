"""The API of the alerts view: every rule with its instances now, and what fired and was resolved."""

import json
from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter

from dashboards.viewer.context import Context
from dashboards.viewer.evaluation import Current
from dashboards.viewer.history import Instance
from dashboards.viewer.links import Links
from dashboards.viewer.routes import API
from dashboards.viewer.rules import Found, Rule

MOST_INSTANCES = 100  # of a rule; the worst first
_ORDER = {"firing": 0, "pending": 1, "ok": 2}


def alerts_api(context: Context) -> APIRouter:
    router = APIRouter(prefix=API)

    @router.get("/alerts")
    def alerts() -> dict[str, Any]:  # not async: it waits for the file of states
        current = context.evaluation.current
        instances = context.history.instances()
        return {
            "evaluated_at": current.at,
            "error": current.error,
            "rules": [
                _rule(rule, [one for one in instances if one.rule == rule.name], current, context.links)
                for rule in context.evaluation.rules
            ],
            "history": [_entry(entry, context.links) for entry in context.history.entries()],
        }

    return router


def _rule(rule: Rule, instances: Iterable[Instance], current: Current, links: Links) -> dict[str, Any]:
    error = current.errors.get(rule.name)
    shown = [_instance(rule, one, links) for one in instances if one.state != "resolved"]
    known = {json.dumps(one["labels"], sort_keys=True, ensure_ascii=False) for one in shown}
    shown += [_ok(one, links) for key, one in current.found.get(rule.name, {}).items() if key not in known]
    shown.sort(key=lambda one: (_ORDER[one["state"]], -_ratio(one)))
    state = "error" if error else shown[0]["state"] if shown else "ok"
    return {
        "name": rule.name,
        "title": rule.title,
        "severity": rule.severity,
        "group": rule.group,
        "description": rule.description,
        "for_seconds": rule.for_seconds,
        "state": state,
        "error": error,
        "runbook_url": links.runbook(rule),
        "instances": shown[:MOST_INSTANCES],
    }


def _instance(rule: Rule, one: Instance, links: Links) -> dict[str, Any]:
    labels = json.loads(one.labels)
    since = one.fired or one.since
    return {
        "labels": labels,
        "state": one.state,
        "value": one.value,
        "objective": one.objective,
        "unit": rule.unit,
        "since": since,
        "summary": one.summary,
        "trace_id": one.trace_id,
        "trace_url": links.trace(one.trace_id),
        "dashboard_url": links.dashboard(rule, labels, since),
    }


def _ok(one: Found, links: Links) -> dict[str, Any]:
    return {
        "labels": dict(one.labels),
        "state": "ok",
        "value": one.value,
        "objective": one.objective,
        "unit": one.rule.unit,
        "since": None,
        "summary": one.summary,
        "trace_id": one.trace_id,
        "trace_url": links.trace(one.trace_id),
        "dashboard_url": links.dashboard(one.rule, dict(one.labels)),
    }


def _ratio(one: dict[str, Any]) -> float:
    """How near to its objective, or how far beyond."""
    return float(one["value"] / one["objective"]) if one["objective"] else float(one["value"])


def _entry(entry: dict[str, Any], links: Links) -> dict[str, Any]:
    names = ("at", "rule", "state", "labels", "value", "objective", "unit", "trace_id", "summary")
    return {**{name: entry[name] for name in names}, "trace_url": links.trace(entry["trace_id"])}
