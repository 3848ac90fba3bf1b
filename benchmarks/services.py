"""Services of the stack for one benchmark: free ports, a directory of their own, gone afterwards."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stack import collector_build
from stack.home import Home
from stack.ports import DEFAULTS
from stack.process import PROJECT
from stack.services import SERVICES, write_command


@contextmanager
def temporary_home() -> Iterator[Home]:
    path = Path(tempfile.mkdtemp(prefix="benchmark-"))
    os.environ.update({f"STACK_{name.upper()}_PORT": "0" for name in DEFAULTS})
    try:
        home = Home.open(path)
        home.choose_ports()
        home.save()
        yield home
    finally:
        shutil.rmtree(path, ignore_errors=True)


def use_collector(home: Home) -> None:
    log = home.logs / "build.log"
    home.state.collector = str(
        collector_build.find_or_build(home.settings, lambda line: print(line, file=sys.stderr), log)
    )
    home.save()


@contextmanager
def running(home: Home, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """One service, ready. Raises RuntimeError with the end of its log when it does not become so."""
    service = SERVICES[name]
    write_command(home, service)
    log = home.logs / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "stack.child", name],
            env={**os.environ, "STACK_HOME": str(home.path)},
            cwd=PROJECT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + service.ready
        while True:
            try:
                service.check(home)
                break
            except Exception as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    end = log.read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{name} is not up: {error}\n{end}") from error
            time.sleep(0.1)
        yield process
    finally:
        process.send_signal(signal.Signals[f"SIG{service.stop_signal}"])
        try:
            process.wait(service.stop_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
