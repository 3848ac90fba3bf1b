"""`stack up` and its companions as a user types them. Without Phoenix, which has a test of its own and takes long."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from stack import up as starting
from stack.alone import temporary_home
from stack.errors import StackError
from stack.home import Home
from stack.process import PROJECT
from stack.supervision import Supervisor

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def home(collector_binary: Path) -> Iterator[Home]:
    with temporary_home() as home:
        yield home
        supervisor = Supervisor(home)
        if supervisor.running():
            supervisor.shutdown()


def environment(home: Home, **extra: str) -> dict[str, str]:
    return {**os.environ, "STACK_HOME": str(home.path), **extra}


def stack(home: Home, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stack.cli", *arguments],
        env=environment(home, **extra),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def status(home: Home) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stack(home, "status", "--json").stdout)
    return found


def service(home: Home, name: str) -> dict[str, Any]:
    return next(line for line in status(home)["services"] if line["name"] == name)


def test_in_the_background(home: Home) -> None:
    first = stack(home, "up", "--detach", "--no-phoenix", "--timings")
    assert first.returncode == 0, first.stdout + first.stderr
    assert f"{Home.open(home.path).runtime_url}/docs" in first.stdout
    assert f"{Home.open(home.path).dashboards_url}/dashboards" in first.stdout
    assert "resident" in first.stdout

    found = status(home)
    assert {line["name"]: line["healthy"] for line in found["services"]} == {
        "postgres": True,
        "clickhouse": True,
        "collector": True,
        "runtime": True,
        "dashboards": True,
    }
    dashboards_work(Home.open(home.path))
    assert found["mode"] == "collector"
    assert found["memory"] < 2e9

    again = stack(home, "up")
    assert again.returncode == 0
    assert "running already" in again.stdout

    assert "ready" in stack(home, "logs", "clickhouse").stdout
    assert "there is: " in stack(home, "logs", "nonsense").stderr

    pids = [line["pid"] for line in found["services"]]
    assert stack(home, "down").returncode == 0
    assert not any(map(psutil.pid_exists, pids))
    assert stack(home, "status").returncode == 3
    assert "not running" in stack(home, "down").stdout

    assert stack(home, "reset", "--yes").returncode == 0
    assert not home.path.exists()


def dashboards_work(home: Home) -> None:
    """The page is served, its queries are answered, and what it would post as an alert the runtime lets in."""
    page = f"{home.dashboards_url}/dashboards"
    assert httpx.get(f"{page}/api/settings").json()["runtime_url"] == home.runtime_url
    boards = httpx.get(f"{page}/api/boards").json()
    assert boards
    for board in boards:
        assert httpx.get(f"{page}/api/boards/{board['uid']}/variables").status_code == 200
    headers = {"authorization": f"Bearer {home.secrets.alerts}"}
    answer = httpx.post(f"{home.runtime_url}/api/sources/alertmanager", json={"alerts": []}, headers=headers)
    assert answer.status_code in (200, 202, 404), answer.text  # 404: no agent has a trigger for it


def test_in_the_foreground_it_shows_restarts_and_stops_in_order(home: Home, tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "stack.cli", "up", "--no-phoenix"],
            env=environment(home),
            cwd=PROJECT,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        read_until(output, "Ctrl-C stops everything", process)
        os.kill(service(home, "collector")["pid"], signal.SIGKILL)
        read_until(output, "Collector had ended and was restarted", process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    said = output.read_text()
    stopped = [
        said.index(f"{title}: stopped") for title in ("Dashboards", "Runtime", "Collector", "ClickHouse", "PostgreSQL")
    ]
    assert stopped == sorted(stopped)
    assert not Supervisor(home).running()


def test_without_a_collector_it_goes_on_in_direct_mode_and_says_so(home: Home) -> None:
    started = stack(home, "up", "--detach", "--no-phoenix", STACK_COLLECTOR="/nonexistent")
    assert started.returncode == 0, started.stdout + started.stderr
    assert "DIRECT MODE" in started.stdout
    assert "/nonexistent" in started.stdout
    shown = stack(home, "status")
    assert shown.returncode == 0
    assert "DIRECT MODE" in shown.stdout
    assert "collector" not in {line["name"] for line in status(home)["services"]}


def test_a_busy_port_that_was_asked_for(home: Home) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        started = stack(home, "up", STACK_RUNTIME_PORT=str(port))
    assert started.returncode == 1
    assert f"port {port} (STACK_RUNTIME_PORT) is held by process {os.getpid()}" in started.stderr
    assert "Next step" in started.stderr
    assert "Traceback" not in started.stderr


def test_a_service_that_does_not_come_up_shows_its_log_and_stops_the_others(home: Home) -> None:
    data = home.path / "clickhouse" / "data"
    data.parent.mkdir()
    data.write_text("not a directory")
    started = stack(home, "up", "--no-phoenix")
    assert started.returncode == 1
    assert "ClickHouse ends as soon as it is started. The end of its log:" in started.stderr
    assert "Traceback" not in started.stderr
    assert not Supervisor(home).running()


def test_a_full_disk_is_noticed_before_anything_starts(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "DISK_BYTES", 10**18)
    with pytest.raises(StackError, match="GB free; the stack needs"):
        starting.check_machine(home)


def test_doctor_finds_everything_here(home: Home) -> None:
    found = stack(home, "doctor", "--json")
    assert found.returncode == 0, found.stdout
    names = {finding["name"] for finding in json.loads(found.stdout)}
    assert {"platform", "Python", "disk", "PostgreSQL", "ClickHouse", "collector", "ports"} <= names


@pytest.mark.parametrize("command", ["up", "down", "status", "logs", "reset", "doctor", "demo", "replay", "verify"])
def test_help_teaches_with_an_example(home: Home, command: str) -> None:
    shown = stack(home, command, "--help")
    assert shown.returncode == 0
    assert f"stack {command}" in shown.stdout.split("Usage", 1)[1].split("\n", 1)[1]


def read_until(output: Path, text: str, process: subprocess.Popen[bytes], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while text not in output.read_text():
        assert process.poll() is None and time.monotonic() < deadline, output.read_text()
        time.sleep(0.2)
