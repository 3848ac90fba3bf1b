"""`stack up` and `stack down` as the user sees them: progress, where to look, restarts, the orderly end."""

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import psutil
from rich.console import Console
from rich.table import Table

from stack import phoenix
from stack.board import Board
from stack.demo import send_sample
from stack.errors import StackError
from stack.home import Home
from stack.process import die_with_parent
from stack.services import SERVICES
from stack.status import Status, is_used, say_direct
from stack.supervision import Process, Supervisor
from stack.up import Interrupted, Startup, check_machine, moved_ports
from stack.verify import check

Handler = Callable[[int, FrameType | None], object] | signal.Handlers
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Foreground:
    def __init__(self, home: Home, console: Console) -> None:
        self.home = home
        self.console = console
        self.supervisor = Supervisor(home)

    def up(self, *, detach: bool, timings: bool, sample: bool, phoenix: bool) -> int:
        """Returns the exit code. Raises StackError when something does not come up, after stopping the rest."""
        if not detach:
            _end_with_uv()
        with handling(_interrupt):
            return self._up(detach=detach, timings=timings, sample=sample, phoenix=phoenix)

    def _up(self, *, detach: bool, timings: bool, sample: bool, phoenix: bool) -> int:
        with self._only_one_up():
            if self.supervisor.running():
                self.console.print("The stack is running already; nothing to do. [dim]stack down stops it.[/]")
                Status.read(self.home).render(self.console)
                return 0
            try:
                self._start(attached=not detach, phoenix=phoenix, timings=timings)
                code = self._sample() if sample else 0
            except (KeyboardInterrupt, Interrupted):
                self._stop()
                return 130
            except BaseException:
                self._stop()
                raise
        if detach:
            self.console.print("Running in the background. [dim]stack status, stack logs, stack down[/]")
            return code
        self._stay()
        return 0

    def down(self) -> None:
        """Stops everything in the reverse order of the start. Does nothing, and says so, when nothing runs."""
        processes = self.supervisor.processes()
        if not processes:
            self.console.print("The stack is not running.")
            return
        services = [
            service
            for service in reversed(SERVICES.values())
            if service.name in processes and processes[service.name].pid  # an older version knew fewer services
        ]
        board = Board(self.console, {service.name: service.title for service in services})
        with board.shown():
            for service in services:
                board.working(service.name, "stopping")
                self.supervisor.stop(service.name)
                board.done(service.name, "stopped")
            self.supervisor.shutdown()

    def _start(self, *, attached: bool, phoenix: bool, timings: bool) -> None:
        check_machine(self.home)
        self.home.choose_ports()
        self.home.state.phoenix = phoenix
        direct = self.home.settings.mode == "direct"
        self.home.state.mode = "direct" if direct else "collector"
        self.home.state.mode_reason = "STACK_MODE=direct" if direct else ""
        self.home.save()
        for line in moved_ports(self.home):
            self.console.print(f"[yellow]{line}[/]", highlight=False)
        used = [service for service in SERVICES.values() if service.name != "phoenix" or phoenix]
        board = Board(self.console, {service.name: service.title for service in used})
        startup = Startup(self.home, self.supervisor, board)
        with board.shown():
            self.supervisor.launch(attached=attached)
            startup.run()
        for warning in startup.warnings:
            self.console.print(f"[bold yellow]Warning:[/] {warning}", highlight=False)
        if timings:
            self._timings(board)
        self._where()

    def _sample(self) -> int:
        self.console.print("\nSending sample work ...")
        send_sample(self.home, self.console)
        report = check(self.home)
        report.render(self.console)
        return 0 if report.ok else 1

    def _timings(self, board: Board) -> None:
        seconds = board.seconds()
        status = Status.read(self.home)
        table = Table(box=None, pad_edge=False)
        table.add_column("service")
        table.add_column("ready after", justify="right")
        table.add_column("resident", justify="right")
        for line in status.services:
            ready = f"{seconds[line.name]:.1f} s" if line.name in seconds else "-"
            table.add_row(line.title, ready, f"{line.memory / 1e6:.0f} MB")
        table.add_row("supervisord", "", f"{status.supervisor_memory / 1e6:.0f} MB")
        table.add_row("all", f"{max(seconds.values(), default=0):.1f} s", f"{status.memory / 1e6:.0f} MB")
        self.console.print(table)

    def _where(self) -> None:
        places = {
            "Dashboards": f"{self.home.dashboards_url}/dashboards",
            "AgentOS": f"{self.home.runtime_url}/docs",
            "Metrics": f"{self.home.runtime_url}/api/metrics",
            "Phoenix": f"{self.home.phoenix_url}  ({phoenix.LOGIN}, password {self.home.secrets.phoenix_password})",
            "ClickHouse": f"http://127.0.0.1:{self.home.ports['clickhouse_http']}/play  (user readonly)",
            "Secrets": str(self.home.path / "secrets.json"),
        }
        if not is_used(self.home, "phoenix"):
            del places["Phoenix"]
        for title, place in places.items():
            self.console.print(f"[bold]{title:<11}[/] {place}", soft_wrap=True, highlight=False)
        if self.home.mode == "direct":
            say_direct(self.console, self.home.state.mode_reason)

    def _stay(self) -> None:
        """Until a signal, or until somebody else stops the stack; says which service was restarted."""
        self.console.print("\nRunning. Ctrl-C stops everything.")
        pids = {name: process.pid for name, process in self.supervisor.processes().items()}
        notes: dict[str, str] = {}
        try:
            while processes := self.supervisor.processes():
                for process in processes.values():
                    self._say_change(process, pids, notes)
                time.sleep(0.5)
        except KeyboardInterrupt:
            self.console.print("Stopping ...")
            self._stop()
        else:
            self.console.print("The stack was stopped from elsewhere.")

    def _say_change(self, process: Process, pids: dict[str, int], notes: dict[str, str]) -> None:
        name, title = process.name, SERVICES[process.name].title
        clock = time.strftime("%H:%M:%S")
        if process.pid and process.pid != pids[name]:
            pids[name] = process.pid
            self.console.print(f"{clock} {title} had ended and was restarted (process {process.pid})", style="yellow")
        if process.state in ("BACKOFF", "FATAL") and process.note != notes.get(name):
            notes[name] = process.note
            self.console.print(f"{clock} {title} does not stay up: {process.note}; next try soon", style="red")

    def _stop(self) -> None:
        """An impatient second Ctrl-C would spoil the orderly stop."""
        with handling(signal.SIG_IGN):
            if self.supervisor.running():
                self.down()

    @contextmanager
    def _only_one_up(self) -> Iterator[None]:
        with (self.home.path / "up.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackError("another `stack up` is starting this stack", "stack status") from None
            yield


def _end_with_uv() -> None:
    """`uv run` hands signals on to us, but nobody could hand on its own kill -9: then the kernel sends SIGTERM."""
    parent = os.getppid()
    if psutil.Process(parent).name() == "uv":
        die_with_parent(signal.SIGTERM, parent)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def handling(handler: Handler) -> Iterator[None]:
    """Every signal that asks us to end goes to `handler`; one that is ignored (nohup) stays so."""
    saved = {number: signal.getsignal(number) for number in SIGNALS}
    for number, before in saved.items():
        if before != signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, before in saved.items():
            signal.signal(number, before)
