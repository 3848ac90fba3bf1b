"""Ways to break things under `benchmarks faults`, each undone by itself or by Bench.heal."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil

from benchmarks.proxy import Proxy
from benchmarks.services import Services
from stack.home import Home

DISK_BYTES = 600 * 2**20


class Bench:
    """All services, ClickHouse behind a proxy each for the collector and for who writes without one, and the sender."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.tcp_proxy = Proxy(home.ports["clickhouse_tcp"])
        self.http_proxy = Proxy(home.ports["clickhouse_http"])
        self.services = Services(home, {"clickhouse_tcp": self.tcp_proxy.port})
        self.sender: BaseProcess | None = None

    def exporter(self) -> psutil.Process:
        """Of the sender, once it has one."""
        sender = psutil.Process(self.sender.pid if self.sender else None)
        while True:
            for child in sender.children():
                if "telemetry.exporter" in child.cmdline():
                    return child
            time.sleep(0.1)

    def heal(self) -> None:
        for proxy in (self.tcp_proxy, self.http_proxy):
            proxy.delay, proxy.hiding = 0.0, 0
        (self.home.path / "clickhouse" / "ballast").unlink(missing_ok=True)

    def close(self) -> None:
        self.services.stop()
        self.tcp_proxy.close()
        self.http_proxy.close()


def kill(*names: str) -> Callable[[Bench, float], None]:
    def cause(bench: Bench, seconds: float) -> None:
        """Twice; away for a fifth of the time each."""
        for _ in range(2):
            bench.services.kill(*names)
            time.sleep(seconds / 5)
            bench.services.start(*names)
            time.sleep(1)

    return cause


def kill_collector_with_its_queue(bench: Bench, seconds: float) -> None:
    bench.services.kill("clickhouse")
    time.sleep(seconds / 4)
    bench.services.kill("collector")
    time.sleep(1)
    bench.services.start("collector")
    time.sleep(seconds / 4)
    bench.services.start("clickhouse")


def kill_exporter(bench: Bench, seconds: float) -> None:
    for _ in range(3):
        bench.exporter().kill()
        time.sleep(seconds / 5)


def hang_exporter(bench: Bench, seconds: float) -> None:
    """It is replaced after half a minute."""
    bench.exporter().suspend()


def kill_sender(bench: Bench, seconds: float) -> None:
    assert bench.sender is not None
    bench.sender.kill()


def slow(bench: Bench, seconds: float) -> None:
    bench.tcp_proxy.delay = 3.0
    time.sleep(seconds)


def hide_what_is_stored(bench: Bench, seconds: float) -> None:
    """Five times, of whichever way is used. The load may be over by then: what waits is sent again and again."""
    proxies = bench.tcp_proxy, bench.http_proxy
    for proxy in proxies:
        proxy.hiding, proxy.hidden = 5, 0
    deadline = time.monotonic() + 2 * seconds
    while not any(proxy.hidden == 5 for proxy in proxies) and time.monotonic() < deadline:
        time.sleep(0.2)
    print(f"stored and hidden: {max(proxy.hidden for proxy in proxies)} inserts", file=sys.stderr)


def fill_disk(bench: Bench, seconds: float) -> None:
    path = bench.home.path / "clickhouse"
    if not os.path.ismount(path):
        raise SystemExit("no disk to fill: it takes root to mount one")
    with suppress(OSError), (path / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(65536))
    before = _failures(bench)
    time.sleep(seconds / 2)
    print(f"the collector failed to insert {_failures(bench) - before} times", file=sys.stderr)
    (path / "ballast").unlink()


def _failures(bench: Bench) -> int:
    return (bench.home.logs / "collector.log").read_text(errors="replace").count("Exporting failed")


@contextmanager
def disk(path: Path) -> Iterator[None]:
    """A small disk in memory at `path`, where that is permitted."""
    path.mkdir(mode=0o700)
    mounted = os.getuid() == 0 and not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs", str(path)], stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        if mounted:
            subprocess.call(["umount", str(path)])
