"""Runtimes forked from a process that has imported them: agno's imports take seconds of CPU, for each runtime anew."""

import multiprocessing
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from stack.process import PROJECT

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["runtime.__main__", "runtime.main", "runtime.migrate", "runtime.processes"])


class Forked:
    """`python -m runtime NAME` with this environment and nothing else of ours, handled as a subprocess.Popen."""

    def __init__(self, name: str, environment: Mapping[str, str], log: Path) -> None:
        self._process = _context.Process(target=_run, args=(name, dict(environment), log), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(f"runtime {self.pid}", timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()


def _run(name: str, environment: dict[str, str], log: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(PROJECT)
    with log.open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    from runtime.__main__ import app

    app([name], prog_name="runtime")
