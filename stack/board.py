"""What `up` and `down` show while they work: one line per service, alive on a terminal, plain lines elsewhere."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text


@dataclass
class Row:
    """Seconds count from the start of the board."""

    title: str
    state: str = "waiting"  # waiting, working, done, failed
    note: str = ""
    finished: float = 0.0


class Board:
    """Rows may be changed from several threads."""

    def __init__(self, console: Console, titles: dict[str, str]) -> None:
        self.console = console
        self.rows = {name: Row(title) for name, title in titles.items()}
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._live: Live | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        if not self.console.is_terminal:
            yield
            return
        with Live(get_renderable=self._table, console=self.console, refresh_per_second=8) as self._live:
            yield

    def working(self, name: str, note: str) -> None:
        self._set(name, "working", note)

    def done(self, name: str, note: str = "ready") -> None:
        self._set(name, "done", note)

    def failed(self, name: str, note: str) -> None:
        self._set(name, "failed", note)

    def seconds(self) -> dict[str, float]:
        """From the start of the board until each row was done."""
        return {name: row.finished for name, row in self.rows.items() if row.state == "done"}

    def _set(self, name: str, state: str, note: str) -> None:
        with self._lock:
            row = self.rows[name]
            row.state, row.note = state, note
            seconds = time.monotonic() - self._started
            if state in ("done", "failed"):
                row.finished = seconds
            if not self.console.is_terminal:
                line = f"{seconds:6.1f} s  {row.title}: {note}"
                self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        elapsed = time.monotonic() - self._started
        for row in self.rows.values():
            seconds = row.finished if row.state in ("done", "failed") else elapsed
            mark: Spinner | Text = {
                "waiting": Text("·", style="dim"),
                "done": Text("✓", style="green"),
                "failed": Text("✗", style="red"),
            }.get(row.state) or Spinner("dots", style="cyan")
            clock = "" if row.state == "waiting" else f"{seconds:.1f} s"
            table.add_row(mark, row.title, Text(clock, style="dim"), Text(row.note, overflow="ellipsis"))
        return table
