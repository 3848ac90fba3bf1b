"""Single services without a supervisor: for a restore, and with a directory that goes with them for tests."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stack.errors import StackError
from stack.home import Home
from stack.ports import DEFAULTS
from stack.process import PROJECT
from stack.services import SERVICES, write_command


@contextmanager
def temporary_home() -> Iterator[Home]:
    """Not below a directory that only its owner can enter: as root, Postgres runs under another account."""
    path = Path(tempfile.mkdtemp(prefix="stack-"))
    saved = dict(os.environ)
    os.environ.update({f"STACK_{name.upper()}_PORT": "0" for name in DEFAULTS})
    try:
        home = Home.open(path)
        home.choose_ports()
        home.save()
        yield home
    finally:
        os.environ.clear()
        os.environ.update(saved)
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def running(home: Home, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """One service of `home`, ready; stopped with its own signal. Raises StackError when it does not come up."""
    service = SERVICES[name]
    write_command(home, service)
    log = home.logs / f"{name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "stack.child", name],
            env={**os.environ, "STACK_HOME": str(home.path)},
            cwd=PROJECT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait(lambda: service.check(home), service.ready, process, log)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.Signals[f"SIG{service.stop_signal}"])
        try:
            process.wait(service.stop_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait(check: Callable[[], None], seconds: float, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until `check` raises no more. Raises StackError with the end of the log."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return check()
        except Exception as error:
            if process.poll() is not None or time.monotonic() > deadline:
                end = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
                raise StackError(f"{log.stem} is not up (exit code {process.poll()}): {error}\n{end}") from error
        time.sleep(0.1)
