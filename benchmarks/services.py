"""Services for a benchmark: the collector, found or built as `stack up` does, and any to kill and start again."""

import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack

import psutil

from stack import collector_build
from stack.alone import running
from stack.errors import StackError
from stack.home import Home


def use_collector(home: Home) -> None:
    log = home.logs / "build.log"
    home.state.collector = str(
        collector_build.find_or_build(home.settings, lambda line: print(line, file=sys.stderr), log)
    )
    home.save()


class Services:
    """Services of `home` by name. `proxied`: the ports that the collector is given in place of the real ones."""

    def __init__(self, home: Home, proxied: Mapping[str, int]) -> None:
        self._home = home
        self._proxied = dict(proxied)
        self._running: dict[str, tuple[ExitStack, psutil.Process]] = {}

    def start(self, *names: str) -> None:
        for name in names:
            if name not in self._running:
                self._start(name)

    def kill(self, *names: str) -> None:
        """-9, all of them before any is waited for."""
        killed = [(name, *self._running.pop(name)) for name in names]
        for _, _, process in killed:
            process.kill()
        for _, stack, _ in killed:
            stack.close()

    def stop(self, *names: str) -> None:
        """All when none is named; the last one first."""
        for name in reversed(names or tuple(self._running)):
            if name in self._running:
                self._running.pop(name)[0].close()

    def _start(self, name: str, attempts: int = 5) -> None:
        stack = ExitStack()
        real = dict(self._home.ports)
        try:
            if name == "collector":
                self._home.ports.update(self._proxied)
            process = stack.enter_context(running(self._home, name))
        except StackError:
            if attempts == 1:
                raise
            time.sleep(1)  # killed, Postgres leaves processes behind that end a moment later
            self._home.ports.update(real)
            return self._start(name, attempts - 1)
        finally:
            self._home.ports.update(real)
        self._running[name] = stack, psutil.Process(process.pid)
