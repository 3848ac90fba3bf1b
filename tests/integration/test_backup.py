"""`stack backup` while runs go on, everything destroyed, `stack restore`: all that had ended is everywhere, once."""

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from stack import postgres as embedded
from stack.alone import running as service
from stack.alone import temporary_home
from stack.backup import load, save
from stack.cli import app
from stack.errors import StackError
from stack.evidence import Stores
from stack.home import Home
from stack.repair import repair
from stack.verify import compare
from telemetry.clickhouse.client import connect
from telemetry.clickhouse.migrate import migrate
from tests.integration.runtimes import Runtime, until

pytestmark = pytest.mark.timeout(300)  # several servers, on whatever else the machine does

ROWS = "SELECT SpanId, SpanName, Timestamp, Duration, SpanAttributes FROM otel_traces FINAL ORDER BY SpanId"


@contextmanager
def stores(home: Home) -> Iterator[None]:
    with ExitStack() as services:
        for name in ("postgres", "clickhouse"):
            services.enter_context(service(home, name))
        yield


@contextmanager
def runtime(home: Home, log: Path) -> Iterator[Runtime]:
    serving = Runtime(home.database_url, log, {"TELEMETRY_MODE": "direct", "CLICKHOUSE_URL": home.clickhouse_url})
    try:
        serving.start()
        yield serving
    finally:
        if serving.process is not None and serving.process.poll() is None:
            serving.stop()


def without_phoenix(home: Home) -> Stores:
    return replace(Stores.of(home), phoenix_url=None)


def work(serving: Runtime, stopping: threading.Event, sent: list[str]) -> None:
    while not stopping.wait(0.05):
        sent.append(serving.send(f"during-{len(sent)}", {"input": "more"}).json()["run_id"])


def test_what_was_backed_up_is_everywhere_again(tmp_path: Path) -> None:
    since, directory = datetime.now(UTC) - timedelta(minutes=1), tmp_path / "backup"
    with temporary_home() as home:
        embedded.prepare(home)
        with stores(home):
            embedded.create_database(home)
            Runtime(home.database_url, tmp_path / "migrate").migrate()
            migrate(home.clickhouse_url)
            (home.path / "phoenix").mkdir()
            with closing(sqlite3.connect(home.path / "phoenix" / "phoenix.db")) as phoenix:
                phoenix.execute("CREATE TABLE kept AS SELECT 42 AS answer")
                with runtime(home, tmp_path / "log") as serving:
                    before = [serving.send(f"before-{n}", {"input": "hello"}).json()["run_id"] for n in range(5)]
                    assert {serving.ended(run_id)["status"] for run_id in before} == {"completed"}
                    client = connect(home.clickhouse_readonly_url)
                    until(lambda: client.command("SELECT uniq(run_id) FROM runs") == len(before), 60)  # type: ignore[arg-type, return-value]
                    rows = client.query(ROWS).result_rows
                    logs = client.command("SELECT count() FROM otel_logs")
                    client.close()
                    stopping, during = threading.Event(), list[str]()
                    sender = threading.Thread(target=work, args=(serving, stopping, during))
                    sender.start()
                    try:
                        until(lambda: len(during) > 5, 60)
                        save(home, directory)
                    finally:
                        stopping.set()
                        sender.join()
        secret = home.webhook_secret
        for name in ("postgres", "clickhouse", "phoenix", "secrets.json"):
            path = home.path / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

        restored = load(Home.open(home.path), directory)
        assert restored.webhook_secret == secret
        with stores(restored):
            with psycopg.connect(restored.database_url) as database:
                kept = {run_id for (run_id,) in database.execute("SELECT id::text FROM tickets")}
            assert set(before) <= kept and kept & set(during), "those that came while it was made"
            repair(Stores.of(restored), since)
            lines = {line.name: line for line in compare(without_phoenix(restored).read(since)).lines}
            waiting = lines.pop("tickets that ended")
            assert {run_id.split()[0] for run_id in waiting.missing} <= set(during), "a runtime goes on with them"
            assert all(line.ok for line in lines.values()), lines
            client = connect(restored.clickhouse_readonly_url)
            assert set(map(str, rows)) <= set(map(str, client.query(ROWS).result_rows)), "as they were"
            assert client.command("SELECT count() FROM otel_logs") >= logs  # type: ignore[operator]
            client.close()
        with closing(sqlite3.connect(restored.path / "phoenix" / "phoenix.db")) as phoenix:
            assert phoenix.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_what_is_no_backup_replaces_nothing(tmp_path: Path) -> None:
    with temporary_home() as home:
        (home.path / "postgres").mkdir()
        with pytest.raises(StackError, match="holds no complete backup"):
            load(home, tmp_path)
        (tmp_path / "something").touch()
        with pytest.raises(StackError, match="is not empty"):
            save(home, tmp_path)
        with pytest.raises(StackError, match="ClickHouse: "):
            save(home, tmp_path / "new")
        assert not (tmp_path / "new").exists() and (home.path / "postgres").exists()


def test_the_commands_say_what_they_do_and_what_is_wrong(tmp_path: Path) -> None:
    runner = CliRunner()
    for command in ("backup", "restore"):
        assert "Example:" in runner.invoke(app, [command, "--help"]).output
    with temporary_home() as home:
        wrong = runner.invoke(app, ["restore", str(tmp_path)], env={"STACK_HOME": str(home.path)})
    assert wrong.exit_code == 1 and "holds no complete backup" in wrong.output
