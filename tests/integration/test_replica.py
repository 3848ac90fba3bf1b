"""DATABASE_READ_URL with a real standby, which lags and dies: pages come from it, and nothing that a run needs does."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from stack import postgres as embedded
from stack.alone import running as service
from stack.alone import temporary_home
from stack.home import Home, write
from stack.process import unprivileged_account
from tests.integration.runtimes import Runtime, running, until

pytestmark = pytest.mark.timeout(300)  # several servers, on whatever else the machine does

SPANS_ONLY = {"TELEMETRY_MODE": "collector", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}  # nobody is there


@dataclass
class Standby:
    home: Home
    server: ExitStack

    def start(self) -> None:
        self.server.enter_context(service(self.home, "postgres"))

    def pause(self) -> None:
        """What is written from now on does not get there."""
        with embedded.connect(self.home) as connection:
            connection.execute("SELECT pg_wal_replay_pause()")
            paused = "SELECT pg_get_wal_replay_pause_state()"
            until(lambda: connection.execute(paused).fetchone() == ("paused",), 60)

    def resume(self) -> None:
        with embedded.connect(self.home) as connection:
            connection.execute("SELECT pg_wal_replay_resume()")


@pytest.fixture
def standby(migrated_server: Home) -> Iterator[Standby]:
    """A streaming replica of the session's server."""
    with temporary_home() as home, ExitStack() as server:
        write(home.path / "secrets.json", asdict(migrated_server.secrets))
        home = Home.open(home.path)
        account = unprivileged_account()
        data = embedded.make_directory(home, account) / "data"
        password, port = migrated_server.secrets.postgres_superuser, migrated_server.ports["postgres"]
        source = f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
        options = ["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]
        copied = embedded._run(
            [str(embedded.binary("pg_basebackup", home)), f"--pgdata={data}", f"--dbname={source}", *options], account
        )
        assert copied.returncode == 0, copied.stderr
        made = Standby(home, server)
        made.start()
        yield made


def sessions(runtime: Runtime) -> set[str]:
    """As the page of sessions lists them."""
    return {session["session_id"] for session in runtime.get("/sessions").raise_for_status().json()["data"]}


def traces(runtime: Runtime) -> set[str]:
    return {trace["trace_id"] for trace in runtime.get("/traces").raise_for_status().json()["data"]}


def run(runtime: Runtime, name: str, session: str) -> dict[str, str]:
    """The answer to a webhook whose run has ended, and whose span is in the primary."""
    answer: dict[str, str] = runtime.send(name, {"input": name, "session_id": session}).json()
    assert runtime.ended(answer["run_id"])["status"] == "completed"
    until(lambda: runtime.query("SELECT 1 FROM agno.agno_traces WHERE run_id = %s", answer["run_id"]), 60)
    return answer


def test_pages_are_read_from_the_replica_and_what_runs_need_is_not(
    migrated: str, standby: Standby, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    read_url = standby.home.database_url.removesuffix("agents") + migrated.rsplit("/", 1)[1]
    with running(migrated, log, DATABASE_READ_URL=read_url, **SPANS_ONLY) as runtime:
        first = run(runtime, "first", "old")
        until(lambda: sessions(runtime) == {"old"} and traces(runtime) == {first["trace_id"]}, 60)

        standby.pause()
        run(runtime, "second", "old")
        third = run(runtime, "third", "new")
        assert sessions(runtime) == {"old"} and traces(runtime) == {first["trace_id"]}, "as the replica has them"
        assert len(runtime.get("/sessions/old/runs").json()) == 1
        order = "SELECT input FROM (SELECT run_data -> 'input' ->> 'input_content' AS input, run_index"
        order += " FROM agno.agno_runs WHERE session_id = 'old') AS r ORDER BY run_index"
        assert runtime.query(order) == [("first",), ("second",)], "the second run was told of the first"
        assert runtime.get("/sessions/new").is_success, "what the replica does not have is asked of the primary"
        seen = runtime.get(f"/traces/{third['trace_id']}").raise_for_status().json()
        assert seen["run_id"] == third["run_id"] and seen["tree"]
        assert runtime.get("/sessions/nobody").status_code == 404

        standby.resume()
        until(lambda: sessions(runtime) == {"old", "new"} and len(traces(runtime)) == 3, 60)
        assert "replica" not in log.read_text()

        standby.server.close()
        for _ in range(5):
            assert sessions(runtime) == {"old", "new"} and len(traces(runtime)) == 3
        assert runtime.get(f"/traces/{first['trace_id']}").is_success
        run(runtime, "fourth", "newest")
        assert "newest" in sessions(runtime)
        assert log.read_text().count("the replica of Postgres cannot be read") == 1

        standby.start()
        until(lambda: sessions(runtime) and "the replica of Postgres is back" in log.read_text(), 60)
    assert "Traceback" not in log.read_text()
