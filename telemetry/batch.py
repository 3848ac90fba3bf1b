"""Spans that were handed to the exporter's process together, and what is known of them."""

from collections import Counter
from dataclasses import dataclass, field

DEATHS = 2  # of the process while it worked on the same spans, until they are suspected


@dataclass
class Batch:
    """Kept until every destination is done with it, to be handed to the next process if this one ends.

    A process that crashes or hangs takes the batch along that it did so of, and so would the next. So a batch that two
    processes died with is sent span by span, and a span that two more died with is left out, for that destination.
    """

    number: int
    spans: int
    packed: bytes
    left: set[str]  # the destinations that are not done with it
    alone: bool = False
    given_up: dict[str, set[int]] = field(default_factory=dict)  # by destination: the places of spans in the batch
    _deaths: Counter[tuple[str, int | None]] = field(default_factory=Counter)

    def message(self) -> tuple[object, ...]:
        ways = {name: tuple(self.given_up.get(name, ())) for name in self.left}
        return "spans", self.number, ways, self.spans, self.packed, self.alone

    def blame(self, name: str, place: int) -> None:
        """The process died while it sent this to `name`, beginning with the span at `place`."""
        self._deaths[name, place if self.alone else None] += 1
        if self._deaths[name, place] >= DEATHS:
            self.given_up.setdefault(name, set()).add(place)

    def is_suspected(self) -> bool:
        return any(deaths >= DEATHS for deaths in self._deaths.values())

    def blame_reading(self) -> bool:
        """It died while it read this. True when that is known well enough to do without the batch."""
        self._deaths["", None] += 1
        return self._deaths["", None] >= DEATHS
