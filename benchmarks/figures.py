"""What a benchmark found: one JSON line for each figure, then a table for people."""

import json
import platform
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import psutil
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """`baseline` is the peer's value out of the same run, `n` how many rounds or items the value stands for."""

    benchmark: str
    figure: str
    value: float
    unit: str
    n: int
    baseline: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.baseline if self.baseline else None

    def line(self) -> str:
        names = ("benchmark", "figure", "value", "unit", "baseline", "ratio", "n")
        values = {**asdict(self), "ratio": self.ratio}
        return json.dumps({name: values[name] for name in names})


def report(figures: Iterable[Figure]) -> None:
    found = []
    for figure in figures:
        print(figure.line(), flush=True)
        found.append(figure)
    machine = f"{psutil.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    table = Table(title=f"{datetime.now(UTC):%Y-%m-%d}, {machine}")
    for heading in ("figure", "value", "unit", "baseline", "ratio", "n"):
        table.add_column(heading, justify="left" if heading in ("figure", "unit") else "right")
    for figure in found:
        ratio = "" if figure.ratio is None else f"{figure.ratio:.3g}"
        baseline = "" if figure.baseline is None else f"{figure.baseline:,.4g}"
        value = f"{figure.value:,.0f}" if figure.value == int(figure.value) else f"{figure.value:,.2f}"
        table.add_row(figure.figure, value, figure.unit, baseline, ratio, f"{figure.n:,}")
    Console(file=sys.stderr).print(table)
