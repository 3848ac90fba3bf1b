"""The runtime as a process: what it survives, what it refuses, how it ends."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import jwt
import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stack import alone
from stack import postgres as embedded
from stack.process import PROJECT
from tests.integration.runtimes import AGENTS, Runtime, running, until


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_a_killed_runtime_finishes_its_run_in_a_second_attempt(migrated: str, log: Path) -> None:
    with running(migrated, log) as runtime:
        run_id = runtime.send("killed", {"input": "[slow 3] x"}).json()["run_id"]
        until(lambda: runtime.ticket(run_id)["status"] == "running", 30)
        runtime.kill()
        runtime.start()
        ticket = runtime.ended(run_id, 60)
        assert (ticket["status"], ticket["attempt"]) == ("completed", 2)
        assert runtime.query("SELECT status FROM agno.agno_runs WHERE run_id = %s", run_id) == [("COMPLETED",)]
        again = runtime.send("killed", {"input": "[slow 3] x"})
        assert again.status_code == 200 and again.json()["run_id"] == run_id


def test_sigterm_lets_short_runs_end_and_gives_long_ones_back(migrated: str, log: Path) -> None:
    with running(migrated, log) as runtime:
        short = runtime.send("short", {"input": "[slow 2] x"}).json()["run_id"]
        long = runtime.send("long", {"input": "[slow 300] x"}).json()["run_id"]
        until(lambda: runtime.ticket(short)["status"] == runtime.ticket(long)["status"] == "running", 30)
        began = time.monotonic()
        runtime.stop()
        assert time.monotonic() - began < 25
        tickets = dict(runtime.query("SELECT id, status FROM tickets"))
        assert tickets == {short: "completed", long: "queued"}
        assert "Traceback" not in log.read_text().split("Shutting down")[-1]


def test_two_runtimes_share_the_work(migrated: str, tmp_path: Path) -> None:
    with running(migrated, tmp_path / "a", RUN_CONCURRENCY="2") as one, running(migrated, tmp_path / "b") as two:
        with ThreadPoolExecutor(40) as senders:
            answers = list(senders.map(lambda n: (one, two)[n % 2].send("same", {"input": "x"}), range(40)))
            assert Counter(answer.status_code for answer in answers) == {202: 1, 200: 39}
            assert len({answer.json()["run_id"] for answer in answers}) == 1
            runs = list(senders.map(lambda n: one.send(f"d{n}", {"input": "[slow 1] x"}).json()["run_id"], range(12)))
        for run_id in runs:
            assert two.ended(run_id)["status"] == "completed"
        workers = one.query("SELECT attempt, count(*) FROM tickets GROUP BY attempt")
        assert workers == [(1, 13)]


def test_without_postgres_nothing_is_accepted_and_with_it_all_goes_on(log: Path) -> None:
    with alone.temporary_home() as home, ExitStack() as services:
        embedded.prepare(home)
        postgres = ExitStack()
        services.push(postgres)
        process = postgres.enter_context(alone.running(home, "postgres"))
        embedded.create_database(home)
        Runtime(home.database_url, log).migrate()
        runtime = services.enter_context(running(home.database_url, log))
        before = runtime.send("before", {"input": "x"}).json()["run_id"]
        assert runtime.ended(before)["status"] == "completed"
        interrupted = runtime.send("interrupted", {"input": "[slow 3] x"}).json()["run_id"]
        until(lambda: runtime.ticket(interrupted)["status"] == "running", 30)

        postgres.close()
        began = time.monotonic()
        for n in range(3):
            _is_busy(runtime.send(f"away-{n}", {"input": "x"}))
        assert time.monotonic() - began < 15
        _is_busy(runtime.get("/api/runs/any"))
        assert runtime.get("/health").is_success
        assert runtime.get("/api/metrics").is_success

        process = postgres.enter_context(alone.running(home, "postgres"))
        sent = until(lambda: _accepted(runtime.send("away-0", {"input": "x"})), 30)
        assert runtime.ended(sent)["status"] == "completed"
        assert runtime.ended(interrupted, 60)["status"] == "completed"
        assert runtime.query("SELECT count(*) FROM deliveries WHERE delivery_id LIKE 'away-%%'") == [(1,)]

        frozen = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for part in frozen:
            part.suspend()
        try:
            began = time.monotonic()
            _is_busy(runtime.send("frozen", {"input": "frozen"}))
            assert time.monotonic() - began < 8
        finally:
            for part in frozen:
                with suppress(psutil.NoSuchProcess):  # a backend that ended as soon as it could
                    part.resume()
        sent = until(lambda: _accepted(runtime.send("frozen", {"input": "frozen"})), 30)
        assert runtime.ended(sent)["status"] == "completed"
        assert runtime.query("SELECT count(*) FROM tickets WHERE payload ->> 'input' = 'frozen'") == [(1,)]


def _is_busy(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0


def _accepted(answer: httpx.Response) -> str | None:
    return answer.json()["run_id"] if answer.status_code in (200, 202) else None


@pytest.fixture
def keyed(migrated: str, log: Path) -> Iterator[Runtime]:
    settings = {"OS_SECURITY_KEY": "open-sesame", "QUEUE_MAX_DEPTH": "2", "RUN_CONCURRENCY": "1"}
    runtime = Runtime(migrated, log, settings)
    runtime.key = "open-sesame"
    runtime.start()
    yield runtime
    runtime.kill()


def test_a_key_protects_all_but_webhooks(keyed: Runtime) -> None:
    with_key = {"authorization": "Bearer open-sesame"}
    for path in ("/agents", "/sessions", "/queue/stats", "/api/metrics", "/api/telemetry", "/api/runs/x"):
        assert httpx.get(f"{keyed.url}{path}", trust_env=False).status_code == 401, path
    assert httpx.get(f"{keyed.url}/agents", headers=with_key, trust_env=False).is_success
    accepted = keyed.send("keyed", {"input": "x"})
    assert accepted.status_code == 202
    assert keyed.ended(accepted.json()["run_id"])["status"] == "completed"
    assert keyed.send("unsigned", {"input": "x"}, webhook_signature="v1,AAAA").status_code == 401
    assert "open-sesame" not in keyed.log.read_text()


def test_tokens_protect_all_but_webhooks(migrated: str, log: Path) -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def get(*scopes: str) -> int:
        claims = {"sub": "u", "scopes": scopes, "exp": time.time() + 60}
        bearer = {"authorization": f"Bearer {jwt.encode(claims, private, algorithm='RS256')}"}
        return httpx.get(f"{runtime.url}/sessions", headers=bearer, trust_env=False).status_code

    with running(migrated, log, JWT_VERIFICATION_KEY=public) as runtime:
        assert runtime.get("/sessions").status_code == runtime.get("/api/metrics").status_code == 401
        assert (get("sessions:read"), get("agents:read"), get("agent_os:admin")) == (200, 403, 200)
        run_id = runtime.send("tokens", {"input": "x"}).json()["run_id"]
        query = "SELECT status FROM tickets WHERE id = %s"
        assert until(lambda: runtime.query(query, run_id) == [("completed",)], 20)


def test_a_full_queue_is_told(keyed: Runtime) -> None:
    answers = [keyed.send(f"full-{n}", {"input": "[slow 5] x"}) for n in range(6)]
    full = [answer for answer in answers if answer.status_code == 429]
    assert full and all(answer.status_code in (202, 429) for answer in answers)
    assert int(full[0].headers["retry-after"]) > 0
    assert full[0].headers["content-type"] == "application/problem+json"
    assert keyed.send("full-0", {"input": "[slow 5] x"}).status_code == 200
    assert keyed.metric("agno_webhook_requests_total", outcome="throttled") == 0  # telemetry is off here


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"RUNTIME_HOST": "0.0.0.0"}, "OS_SECURITY_KEY"),
        ({"WEBHOOK_SECRET": "whsec_!"}, "WEBHOOK_SECRET"),
        ({"RUNTIME_PORT": "x"}, "RUNTIME_PORT"),
        ({"DATABASE_URL": "postgresql://agents:hidden@127.0.0.1:1/agents"}, "DATABASE_URL"),
    ],
)
def test_settings_that_cannot_work_are_told(log: Path, settings: dict[str, str], message: str) -> None:
    runtime = Runtime("postgresql://agents:hidden@127.0.0.1:1/agents", log, settings)
    assert runtime.command("serve").wait(60) == 2
    text = log.read_text()
    assert message in text and "Traceback" not in text and "hidden" not in text


def test_an_empty_database_is_told(postgres: str, log: Path) -> None:
    assert Runtime(postgres, log).command("serve").wait(60) == 2
    assert "python -m runtime migrate" in log.read_text()


def test_several_migrations_at_once(postgres: str, log: Path) -> None:
    runtime = Runtime(postgres, log)
    processes = [runtime.command("migrate") for _ in range(3)]
    assert [process.wait(90) for process in processes] == [0, 0, 0], log.read_text()
    tables = {row[0] for row in runtime.query("SELECT tablename FROM pg_tables WHERE schemaname IN ('agno', 'public')")}
    assert {
        "deliveries",
        "alembic_version",
        "tickets",
        "agno_runs",
        "agno_sessions",
        "agno_spans",
        "agno_traces",
    } <= tables


def test_making_the_application_starts_nothing() -> None:
    code = (
        "import threading, psutil\n"
        "from runtime.main import create_app\n"
        "from runtime.settings import Settings\n"
        "create_app(Settings(database_url='postgresql://agents:x@127.0.0.1:1/agents'))\n"
        "print([t.name for t in threading.enumerate()], psutil.Process().net_connections())\n"
    )
    environment = {**os.environ, "AGENTS_DIR": str(AGENTS)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "['MainThread'] []"
