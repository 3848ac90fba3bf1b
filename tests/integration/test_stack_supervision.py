"""What happens to the services when they, supervisord or `stack up` are killed: restarted, or gone; never orphaned."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from stack import postgres
from stack.alone import temporary_home
from stack.home import Home
from stack.process import PROJECT
from stack.services import SERVICES, write_command
from stack.supervision import Supervisor
from stack.up import healthy


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def home() -> Iterator[Home]:
    with temporary_home() as home:
        postgres.prepare(home)
        for name in ("postgres", "clickhouse"):
            write_command(home, SERVICES[name])
        yield home
        supervisor = Supervisor(home)
        if supervisor.running():
            supervisor.shutdown()


def start(home: Home) -> Supervisor:
    supervisor = Supervisor(home)
    for name in ("postgres", "clickhouse"):
        supervisor.start(name)
    for name in ("postgres", "clickhouse"):
        until(lambda name=name: healthy(SERVICES[name].check, home))
    return supervisor


def family(supervisor: Supervisor) -> list[int]:
    """Every process under supervisord, and itself."""
    own = psutil.Process(supervisor.pid())
    return [own.pid, *(child.pid for child in own.children(recursive=True))]


def test_a_killed_service_is_restarted(home: Home) -> None:
    Supervisor(home).launch(attached=False)
    supervisor = start(home)
    before = supervisor.processes()["clickhouse"].pid
    os.kill(before, signal.SIGKILL)
    until(lambda: supervisor.processes()["clickhouse"].pid not in (0, before))
    until(lambda: healthy(SERVICES["clickhouse"].check, home))


def test_nothing_outlives_supervisord(home: Home) -> None:
    Supervisor(home).launch(attached=False)
    supervisor = start(home)
    pids = family(supervisor)
    assert len(pids) > 5  # Postgres has children of its own
    os.kill(pids[0], signal.SIGKILL)
    until(lambda: all(map(gone, pids)))
    Supervisor(home).launch(attached=False)  # and it can be started again on the same data
    start(home)


def test_nothing_outlives_a_killed_up(home: Home) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from stack.home import Home\n"
        "from stack.supervision import Supervisor\n"
        "Supervisor(Home.open(Path(sys.argv[1]))).launch(attached=True)\n"
        "time.sleep(60)\n"
    )
    up = subprocess.Popen([sys.executable, "-c", script, str(home.path)], cwd=PROJECT)
    until(Supervisor(home).running)
    pids = family(start(home))
    up.kill()
    up.wait()
    until(lambda: all(map(gone, pids)))


def test_secrets_are_in_no_argument_list_and_no_configuration(home: Home) -> None:
    Supervisor(home).launch(attached=False)
    supervisor = start(home)
    shown = [" ".join(psutil.Process(pid).cmdline()) for pid in family(supervisor)]
    shown.append((home.path / "supervisord.conf").read_text())
    for name, secret in vars(home.secrets).items():
        assert not any(secret in text for text in shown), name
    private = [home.path / "secrets.json", *(home.path / "commands").iterdir()]
    assert all(path.stat().st_mode & 0o077 == 0 for path in private)


def test_they_stop_in_the_reverse_order(home: Home) -> None:
    Supervisor(home).launch(attached=False)
    supervisor = start(home)
    pids = family(supervisor)
    supervisor.shutdown()
    assert all(map(gone, pids))
    log = (home.logs / "supervisord.log").read_text()
    assert log.index("stopped: clickhouse") < log.index("stopped: postgres")
    assert "database system is shut down" in (home.logs / "postgres.log").read_text()
