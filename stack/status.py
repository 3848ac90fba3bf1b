"""What runs, how it is, and how much memory it takes."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import psutil
from rich.console import Console
from rich.table import Table

from stack.home import Home
from stack.services import SERVICES
from stack.supervision import Supervisor
from stack.up import healthy


@dataclass(frozen=True)
class Line:
    """`memory`: resident bytes of the process and its children; pages that they share are counted once."""

    name: str
    title: str
    state: str
    healthy: bool
    pid: int
    seconds: int
    memory: int
    url: str


@dataclass(frozen=True)
class Status:
    running: bool
    mode: str
    mode_reason: str
    home: str
    services: list[Line]
    supervisor_memory: int

    @classmethod
    def read(cls, home: Home) -> "Status":
        supervisor = Supervisor(home)
        processes = supervisor.processes()
        # a stack that an older version started knows none of the newer services
        used = [
            service
            for service in SERVICES.values()
            if is_used(home, service.name) and (not processes or service.name in processes)
        ]
        with ThreadPoolExecutor() as pool:
            health = list(pool.map(lambda service: healthy(service.check, home), used if processes else []))
        lines = []
        for service, good in zip(used, health, strict=bool(processes)):
            process = processes[service.name]
            lines.append(
                Line(
                    service.name,
                    service.title,
                    process.state.lower(),
                    good and process.pid > 0,
                    process.pid,
                    process.seconds,
                    memory(process.pid),
                    service.url(home),
                )
            )
        own = memory(supervisor.pid(), children=False) if processes else 0
        return cls(bool(processes), home.mode, home.state.mode_reason, str(home.path), lines, own)

    @property
    def memory(self) -> int:
        return self.supervisor_memory + sum(line.memory for line in self.services)

    def as_dict(self) -> dict[str, object]:
        return {**asdict(self), "memory": self.memory}

    def render(self, console: Console) -> None:
        if not self.running:
            console.print("The stack is not running. Start it with [bold]stack up[/].")
            return
        table = Table(box=None, pad_edge=False)
        for column in ("service", "state", "pid", "up", "memory", "where"):
            table.add_column(column, justify="right" if column in ("pid", "up", "memory") else "left")
        for line in self.services:
            state = "[green]healthy[/]" if line.healthy else f"[red]{line.state}, not healthy[/]"
            amount = f"{line.memory / 1e6:.0f} MB"
            table.add_row(line.title, state, str(line.pid), duration(line.seconds), amount, line.url)
        table.add_row("supervisord", "", "", "", f"{self.supervisor_memory / 1e6:.0f} MB", "")
        table.add_row("[bold]all[/]", "", "", "", f"[bold]{self.memory / 1e6:.0f} MB[/]", self.home)
        console.print(table)
        if self.mode == "direct":
            say_direct(console, self.mode_reason)


def say_direct(console: Console, reason: str) -> None:
    console.print("[bold yellow]DIRECT MODE: there is no OpenTelemetry Collector.[/]")
    console.print("The runtime writes to ClickHouse and Phoenix itself; nothing waits on disk when they are down.")
    console.print(f"Why: {reason}", markup=False, highlight=False)


def is_used(home: Home, name: str) -> bool:
    return not (name == "phoenix" and not home.state.phoenix) and not (name == "collector" and home.mode == "direct")


def memory(pid: int, *, children: bool = True) -> int:
    """Resident bytes; 0 when the process is gone."""
    if not pid:
        return 0
    try:
        process = psutil.Process(pid)
        family = [process, *(process.children(recursive=True) if children else [])]
    except psutil.Error:
        return 0
    return sum(map(_resident, family))


def _resident(process: psutil.Process) -> int:
    try:
        full = process.memory_full_info()
        return int(getattr(full, "pss", 0) or full.rss)  # Postgres' processes share their buffers
    except psutil.Error:
        pass
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def duration(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
