"""What /api/metrics shows to people: the instruments, and what this process knows about itself. No secrets."""

import time
from importlib.metadata import version
from typing import Any

import psutil

from runtime import links
from runtime.context import Context
from runtime.settings import Settings
from telemetry import snapshot

# Settings that explain a figure; none that is, or may contain, a secret.
_SETTINGS = {
    "agents_dir",
    "deployment_environment",
    "delivery_retention_days",
    "model",
    "otel_service_name",
    "queue_max_depth",
    "reconcile_seconds",
    "run_concurrency",
    "run_max_attempts",
    "telemetry_mode",
    "user_isolation",
    "webhook_max_bytes",
}


def view(context: Context) -> dict[str, Any]:
    """Blocks for a moment: call it in a thread. What Postgres would have to say is null or empty while it is away."""
    return {
        "process": {
            "version": version("agent-telemetry-stack"),
            "uptime_seconds": round(time.time() - psutil.Process().create_time()),
            "protected_by": _protection(context.settings),
        },
        "queue": _queue(context),
        "approvals_pending": _by(context, "agno.approvals.pending", "agent_id"),
        "exporters": [{"destination": name, **health} for name, health in context.telemetry.health().items()],
        "comparison": context.comparison.health() if context.comparison else None,
        "percentiles": "p50, p90 and p99 are estimated from the histograms' buckets, over the life of this process",
        "instruments": snapshot.instruments(
            context.telemetry.exposition, lambda trace_id: trace_link(context, trace_id)
        ),
        "agents": [
            {"id": component.id, "kind": component.kind, "file": str(component.file)}
            for component in context.registry.components.values()
        ],
        "agent_files_with_errors": [
            {"file": str(file), "error": error.message} for file, error in context.registry.errors.items()
        ],
        "tables": _tables(context),
        "settings": context.settings.model_dump(mode="json", include=_SETTINGS),
    }


def _protection(settings: Settings) -> str:
    if settings.uses_tokens:
        return "JWT"
    return "key" if settings.os_security_key else "nothing"


def trace_link(context: Context, trace_id: str) -> str:
    """To Phoenix where it is known, else to AgentOS."""
    return links.phoenix(context.settings, trace_id) or f"/traces/{trace_id}"


def _queue(context: Context) -> dict[str, Any]:
    ages = context.telemetry.instruments.observed("agno.queue.oldest.age")
    return {
        "depth": _by(context, "agno.queue.depth", "state"),
        "oldest_age_seconds": round(ages[0][0], 1) if ages else None,
    }


def _by(context: Context, gauge: str, attribute: str) -> dict[str, int]:
    return {attributes[attribute]: int(value) for value, attributes in context.telemetry.instruments.observed(gauge)}


def _tables(context: Context) -> list[dict[str, Any]]:
    rows = _by(context, "agno.db.table.rows", "table")
    return [
        {"table": table, "size_bytes": size, "rows": rows.get(table)}
        for table, size in _by(context, "agno.db.table.size", "table").items()
    ]
