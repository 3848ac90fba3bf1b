"""Addresses of other programs at which people look at a trace or a run."""

from runtime.settings import Settings
from telemetry import secrets


def phoenix(settings: Settings, trace_id: str) -> str | None:
    """The trace in Phoenix, where it is known."""
    url = settings.phoenix_url
    return f"{secrets.address(url).rstrip('/')}/redirects/traces/{trace_id}" if url else None


def dashboard(settings: Settings, run_id: str) -> str | None:
    """The run on its dashboard, of Grafana or of the page, where there are any; `run_id` is fit for an address."""
    url = settings.dashboards_url
    return f"{secrets.address(url).rstrip('/')}/d/run?var-run_id={run_id}" if url else None
