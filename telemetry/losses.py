"""What became of spans at one destination: how many, why those that did not arrive did not, said once a minute."""

import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

# Reasons, as people read them in /api/telemetry and in the log.
QUEUE_FULL = "queue full"
SHUT_DOWN = "shut down before it was sent"
REJECTED = "rejected by the destination"
UNENCODABLE = "cannot be encoded"
CRASHED = "the exporter process died of it"

SAY_SECONDS = 60.0
log = logging.getLogger(__name__)

Counts = dict[tuple[str, str], int]  # (outcome, reason; "" where there is nothing to explain) -> spans


@dataclass
class Destination:
    """What is known of one destination; `queued` is what was handed to the process and has come to no end there.

    `cut`: spans that arrived with their content shortened, see telemetry.fitting.
    """

    queued: int = 0
    counts: dict[str, int] = field(default_factory=lambda: {"exported": 0, "dropped": 0, "failed": 0})
    reasons: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    last_error: str | None = None

    def count(self, outcome: str, reason: str, spans: int) -> None:
        self.counts[outcome] += spans
        if reason:
            self.reasons[reason] += spans


class Announcer:
    """Logs what is lost, one line for each destination and reason, at most once a minute. `what`: spans, say."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._said: Counter[tuple[str, str]] = Counter()
        self._next = 0.0

    def look(self, destinations: Mapping[str, Destination], at_once: bool = False) -> None:
        if time.monotonic() < self._next and not at_once:
            return
        for name, destination in destinations.items():
            for reason, spans in list(destination.reasons.items()):
                if new := spans - self._said[name, reason]:
                    log.warning("%d %s are lost to %s: %s (%s)", new, self._what, name, reason, destination.last_error)
                    self._said[name, reason] = spans
                    self._next = time.monotonic() + SAY_SECONDS
