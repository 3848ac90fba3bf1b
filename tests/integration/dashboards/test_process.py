"""`python -m dashboards.viewer` with the committed dashboards and rules."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from dashboards.viewer import rules
from dashboards.viewer.app import HEAD_BYTES
from stack.ports import find_free
from stack.process import PROJECT
from tests.integration.conftest import ClickHouse
from tests.integration.dashboards.viewing import Page
from tests.integration.runtimes import until


@contextmanager
def process(log: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ALERT_")} | settings
    with log.open("wb") as output:
        started = subprocess.Popen(
            [sys.executable, "-m", "dashboards.viewer"], env=environment, cwd=PROJECT, stdout=output, stderr=output
        )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def test_it_serves_the_committed_dashboards_on_loopback_and_evaluates_the_rules(
    database: ClickHouse, tmp_path: Path
) -> None:
    port = find_free(set())
    page = Page(f"http://127.0.0.1:{port}")
    settings = {
        "CLICKHOUSE_READONLY_URL": database.readonly_url,
        "DASHBOARDS_PORT": str(port),
        "DASHBOARDS_STATE": str(tmp_path / "new" / "alerts.sqlite"),
        "ALERT_SECONDS": "1",
    }
    with process(tmp_path / "log", **settings) as started:
        until(lambda: started.poll() is not None or is_up(page), 60)
        addresses = {c.laddr.ip for c in psutil.Process(started.pid).net_connections() if c.status == "LISTEN"}
        assert addresses == {"127.0.0.1"}
        boards = page.get("/dashboards/api/boards").json()
        assert {"fleet", "agent", "pipeline", "models", "tools", "run", "storage"} <= {one["uid"] for one in boards}
        assert {rule.board for rule in rules.load()} <= {one["uid"] for one in boards}
        until(lambda: page.alerts()["evaluated_at"], 60)
        assert {one["name"]: one["error"] for one in page.alerts()["rules"] if one["error"]} == {}
        started.send_signal(signal.SIGTERM)
        assert started.wait(30) in (0, -signal.SIGTERM), (tmp_path / "log").read_text()
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_while_clickhouse_is_away_it_tells_no_secret_and_strangers_meet_limits(tmp_path: Path) -> None:
    secret, port = "PLANTED-reader-7", find_free(set())
    page = Page(f"http://127.0.0.1:{port}")
    settings = {
        "CLICKHOUSE_READONLY_URL": f"http://readonly:{secret}@127.0.0.1:1/otel",
        "PHOENIX_URL": f"http://u:{secret}@127.0.0.1:1",
        "ALERT_WEBHOOK_URL": f"http://u:{secret}@127.0.0.1:1/alerts",
        "ALERT_WEBHOOK_SECRET": secret,
        "DASHBOARDS_PORT": str(port),
        "DASHBOARDS_STATE": str(tmp_path / "alerts.sqlite"),
        "ALERT_SECONDS": "1",
    }
    with process(tmp_path / "log", **settings) as started:
        until(lambda: started.poll() is not None or is_up(page), 60)
        until(lambda: page.alerts()["error"], 60)
        api = "/dashboards/api"
        paths = ("settings", "boards/fleet", "boards/fleet/variables", "boards/fleet/annotations", "alerts", "health")
        said = [page.get(f"{api}/{path}").text for path in paths]
        assert "ClickHouse does not answer" in said[2]
        assert secret not in "".join(said)
        with socket.create_connection(("127.0.0.1", port), 30) as connection:
            connection.sendall(b"GET /dashboards HTTP/1.1\r\nx: " + b"y" * (HEAD_BYTES + 100_000))
            try:
                answer = connection.recv(65536)
            except ConnectionResetError:  # it closed while we still sent
                answer = b""
            assert not answer or answer.startswith(b"HTTP/1.1 400")
        assert is_up(page)
    assert secret not in (tmp_path / "log").read_text()


def is_up(page: Page) -> bool:
    try:
        return page.get("/dashboards/api/health").is_success
    except httpx.TransportError:
        return False


def test_settings_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    log, damaged = tmp_path / "log", tmp_path / "alerts.sqlite"
    damaged.write_text("no database" * 1000)
    for settings, said in (
        ({"CLICKHOUSE_READONLY_URL": ""}, "CLICKHOUSE_READONLY_URL: Field required"),
        ({"CLICKHOUSE_READONLY_URL": "http://x", "PHOENIX_URL": "javascript:alert(1)"}, "PHOENIX_URL: write it as"),
        ({"CLICKHOUSE_READONLY_URL": "http://x", "DASHBOARDS_STATE": str(damaged)}, f"Error: {damaged} cannot hold"),
    ):
        with process(log, **settings) as started:
            assert started.wait(60) == 2
        assert said in log.read_text() and "Traceback" not in log.read_text()


def test_a_port_that_is_taken_ends_the_start(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        settings = {
            "CLICKHOUSE_READONLY_URL": "http://127.0.0.1:1",
            "DASHBOARDS_PORT": str(server.getsockname()[1]),
            "DASHBOARDS_STATE": str(tmp_path / "alerts.sqlite"),
        }
        with process(tmp_path / "log", **settings) as started:
            assert started.wait(60) not in (0, None)
    assert "address already in use" in (tmp_path / "log").read_text()
