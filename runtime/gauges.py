"""The observable gauges of this process: what is read when somebody looks, never waiting long for Postgres."""

from collections.abc import Iterable, Mapping

from runtime.queue import QUEUE, Queue
from runtime.registry import Registry
from runtime.settings import Settings
from telemetry.metrics import Instruments
from telemetry.tables import TableSizes

STATES = ("queued", "running", "paused")
Values = Iterable[tuple[float, Mapping[str, str]]]


class Gauges:
    """Feeds the gauges. Made in the lifespan; `stop` ends its thread."""

    def __init__(self, instruments: Instruments, settings: Settings, queue: Queue, registry: Registry) -> None:
        self._states = instruments.sampled("the queue", queue.states)
        self._tables = TableSizes(settings.database_url)
        instruments.observe("agno.queue.depth", self._depth)
        instruments.observe("agno.queue.oldest.age", self._oldest)
        instruments.observe("agno.agents.loaded", registry.counts)
        instruments.observe("agno.agents.broken", lambda: [(len(registry.errors), {})])
        instruments.observe("agno.db.table.size", self._tables.sizes)
        instruments.observe("agno.db.table.rows", self._tables.rows)

    def stop(self) -> None:
        self._tables.stop()

    def _depth(self) -> Values:
        """Every state, also when no ticket is in it: a series that ends would keep its last value on a dashboard."""
        states = self._states()
        return [(states.tickets.get(s, 0), {"queue": QUEUE, "state": s}) for s in STATES] if states else []

    def _oldest(self) -> Values:
        states = self._states()
        return [(states.oldest, {"queue": QUEUE})] if states else []
