"""What the routes share. main.py makes it in the lifespan and puts it on app.state.context."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import Request

from runtime.approvals.store import Store
from runtime.deliveries import Deliveries
from runtime.registry import Registry
from runtime.runs import Runs
from runtime.settings import Settings
from runtime.signatures import Signatures
from runtime.throttle import Throttle
from telemetry.pipeline import Telemetry

if TYPE_CHECKING:
    from telemetry.reconcile import Background


@dataclass
class Context:
    settings: Settings
    telemetry: Telemetry
    registry: Registry
    deliveries: Deliveries
    signatures: Signatures
    throttle: Throttle
    runs: Runs
    approvals: Store
    comparison: "Background | None"  # of ClickHouse with Postgres


def context_of(request: Request) -> Context:
    context: Context = request.app.state.context
    return context
