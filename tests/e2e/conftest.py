"""The stack as a user has it: started and stopped by its own command, driven through its public HTTP."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import clickhouse_connect
import psutil
import psycopg

from stack.home import Home
from stack.ports import DEFAULTS

PROJECT = Path(__file__).parents[2]


@dataclass
class Stack:
    """A home of its own on free ports, and the command line."""

    path: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        ports = {f"STACK_{name.upper()}_PORT": "0" for name in DEFAULTS}
        return {**os.environ, **ports, "STACK_HOME": str(self.path), "COLUMNS": "160", **self.settings}

    @property
    def home(self) -> Home:
        return Home.open(self.path)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "stack.cli", *arguments]

    def run(self, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment,
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def must(self, *arguments: str, timeout: float = 600) -> str:
        """Runs the command and fails with all that it said unless it exits with 0."""
        done = self.run(*arguments, timeout=timeout)
        assert done.returncode == 0, f"stack {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def services(self) -> dict[str, dict[str, Any]]:
        status = json.loads(self.run("status", "--json").stdout)
        assert status["running"], status
        return {line["name"]: line for line in status["services"]}

    def postgres(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.home.database_url) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def clickhouse(self, query: str, **parameters: object) -> list[Any]:
        """As the read-only user, like a dashboard."""
        client = clickhouse_connect.get_client(dsn=self.home.clickhouse_readonly_url)
        try:
            return list(client.query(query, parameters=parameters).result_rows)
        finally:
            client.close()

    def processes(self) -> list[psutil.Process]:
        """Every process of this machine that was started for this home."""
        return [process for process in psutil.process_iter() if _belongs(process, self.path)]


@contextmanager
def stack(**settings: str) -> Iterator[Stack]:
    path = Path(tempfile.mkdtemp(prefix="stack-e2e-"))  # not below tmp_path, which other accounts cannot enter
    it = Stack(path, settings)
    try:
        yield it
    finally:
        it.run("down")
        left = it.processes()
        for process in left:
            process.kill()
        shutil.rmtree(path, ignore_errors=True)
        assert not left, f"left behind: {left}"


def _belongs(process: psutil.Process, path: Path) -> bool:
    try:
        environment = process.environ().get("STACK_HOME", "")
        return process.pid != os.getpid() and (environment == str(path) or str(path) in " ".join(process.cmdline()))
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False
