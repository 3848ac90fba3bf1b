"""/admin: reloads on demand, what is loaded, and runs that failed, again."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stack.home import Home
from tests.integration.conftest import fresh_database
from tests.integration.runtimes import Runtime, running, until

AGENT = """
from agno.agent import Agent
from runtime.offline import OfflineModel
from runtime.triggers import Trigger
{id} = Agent(id={id!r}, name={id!r}, model=OfflineModel(latency=0.0))
on_push = Trigger(to={id}, source="github", when={{"event": "push"}})
"""
KEY = "open-sesame"
ROUTES = [
    ("POST", "/admin/reload"),
    ("GET", "/admin/agents"),
    ("POST", "/admin/deliveries/webhook/x/retry"),
    ("GET", "/admin/dead-letters"),
    ("POST", "/admin/dead-letters/x/requeue"),
]


class Admin:
    def __init__(self, runtime: Runtime, agents: Path) -> None:
        self.runtime = runtime
        self.agents = agents

    def ask(self, method: str, path: str, bearer: str | None = KEY) -> httpx.Response:
        headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
        return httpx.request(method, self.runtime.url + path, headers=headers, trust_env=False, timeout=20)

    def post(self, path: str) -> httpx.Response:
        return self.ask("POST", path)

    def get(self, path: str) -> Any:
        return self.ask("GET", path).raise_for_status().json()

    def failed(self, delivery_id: str, prompt: str = "[fail] x") -> str:
        run_id: str = self.runtime.send(delivery_id, {"input": prompt}, agent="one").json()["run_id"]
        assert self.runtime.ended(run_id)["status"] == "failed"
        return run_id


@pytest.fixture(scope="module")
def admin(migrated_server: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admin]:
    agents = tmp_path_factory.mktemp("agents")
    (agents / "one.py").write_text(AGENT.format(id="one"))
    settings = {"AGENTS_DIR": str(agents), "OS_SECURITY_KEY": KEY, "RUN_MAX_ATTEMPTS": "1"}
    with fresh_database(migrated_server, "migrated") as url:
        runtime = Runtime(url, agents.with_name("log"), settings)
        runtime.key = KEY
        runtime.start()
        yield Admin(runtime, agents)
        runtime.kill()


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_nothing_without_the_key(admin: Admin, method: str, path: str) -> None:
    assert admin.ask(method, path, bearer=None).status_code == 401
    assert admin.ask(method, path, bearer="wrong").status_code == 401


def test_a_reload_says_what_it_changed(admin: Admin) -> None:
    one, two, bad = (admin.agents / name for name in ("one.py", "two.py", "bad.py"))
    for attempt in range(1, 20):  # where the watcher was faster, there is nothing left to say
        two.write_text(AGENT.format(id="two"))
        bad.write_text("import nothing_of_this_name\n")
        answer = admin.post("/admin/reload")
        is_served = admin.runtime.get("/agents/two").is_success
        two.unlink()
        bad.unlink()
        one.write_text(AGENT.format(id="one") + "# changed\n" * attempt)
        came, went = answer.json(), admin.post("/admin/reload").json()
        if came["added"] and went["changed"] and went["removed"]:
            break
    assert answer.status_code == 200 and set(came) == {"added", "changed", "removed", "errors", "seconds"}
    assert (came["added"], came["changed"], came["removed"]) == (["two"], [], [])
    assert came["errors"]["bad.py"]["message"] == "ModuleNotFoundError: No module named 'nothing_of_this_name'"
    assert came["errors"]["bad.py"]["where"] == "bad.py:1"
    assert is_served
    assert (went["added"], went["changed"], went["removed"], went["errors"]) == ([], ["one"], ["two"], {})
    assert 0 < went["seconds"] < 5
    again = admin.post("/admin/reload").json()
    assert (again["added"], again["changed"], again["removed"]) == ([], [], [])


def test_files_are_listed_with_what_they_define(admin: Admin) -> None:
    listed = admin.get("/admin/agents")
    assert listed["directory"] == str(admin.agents)
    (file,) = listed["files"]
    assert file["components"] == [{"id": "one", "kind": "agent"}]
    assert file["triggers"] == [{"source": "github", "to": "one"}]
    assert file["version"] == file["serving_version"] and len(file["version"]) == 12
    assert (file["file"], file["error"], file["older_version_serves"]) == ("one.py", None, False)
    assert file["loaded_at"].endswith("+00:00")


def test_a_failed_delivery_is_run_again_as_another_attempt_of_the_same_run(admin: Admin) -> None:
    run_id = admin.failed("failed", "[fail-once] x")
    answer = admin.post("/admin/deliveries/webhook/failed/retry")
    assert answer.status_code == 202
    assert (answer.json()["run_id"], answer.json()["attempt"]) == (run_id, 2)
    ticket = admin.runtime.ended(run_id)
    assert (ticket["status"], ticket["attempt"]) == ("completed", 2)
    done = admin.post("/admin/deliveries/webhook/failed/retry")
    assert done.status_code == 409 and done.json()["run_id"] == run_id and "completed" in done.json()["detail"]
    assert done.headers["content-type"] == "application/problem+json"
    same = admin.runtime.send("failed", {"input": "[fail-once] x"}, agent="one")
    assert same.status_code == 200 and same.json()["run_id"] == run_id


def test_a_cancelled_run_is_run_again(admin: Admin) -> None:
    runs = [admin.runtime.send(f"slow-{n}", {"input": "[slow 1] x", "session_id": "same"}, agent="one") for n in (1, 2)]
    first, second = (run.json()["run_id"] for run in runs)
    assert admin.post("/admin/deliveries/webhook/slow-2/retry").status_code == 409
    cancelled = admin.post(f"/agents/one/runs/{second}/cancel")
    assert cancelled.is_success, cancelled.text
    assert admin.runtime.ended(second)["status"] == "cancelled"
    assert admin.post("/admin/deliveries/webhook/slow-2/retry").status_code == 202
    assert admin.runtime.ended(second)["status"] == "completed"
    assert admin.runtime.ended(first)["status"] == "completed"


def test_deliveries_that_cannot_be_run_again(admin: Admin) -> None:
    assert admin.post("/admin/deliveries/webhook/never/retry").status_code == 404
    assert admin.post("/admin/deliveries/webhook/%00/retry").status_code == 404
    run_id = admin.failed("old")
    admin.runtime.query("DELETE FROM tickets WHERE id = %s RETURNING id", run_id)
    gone = admin.post("/admin/deliveries/webhook/old/retry")
    assert gone.status_code == 410 and gone.json()["run_id"] == run_id


def test_dead_letters_are_listed_and_requeued(admin: Admin) -> None:
    runs = [admin.failed(f"dead-{n}") for n in range(3)]
    page = admin.get("/admin/dead-letters?limit=2")
    assert [letter["run_id"] for letter in page["data"]] == [runs[2], runs[1]]
    assert page["meta"] == {"page": 1, "limit": 2, "total_count": 3, "total_pages": 2}
    letter = admin.get("/admin/dead-letters?limit=2&page=2")["data"][0]
    assert letter["delivery"] == {"source": "webhook", "delivery_id": "dead-0"}
    assert (letter["run_id"], letter["agent_id"], letter["kind"]) == (runs[0], "one", "agent")
    assert letter["error"] and (letter["attempt"], letter["max_attempts"]) == (1, 1)
    assert letter["trace_id"] == admin.runtime.ticket(runs[0])["trace_id"]
    assert admin.runtime.get(letter["links"]["run"]).json()["status"] == "ERROR"
    answer = admin.post(f"/admin/dead-letters/{runs[0]}/requeue")
    assert answer.status_code == 202 and answer.json()["attempt"] == 2
    until(lambda: admin.get("/admin/dead-letters")["data"][0]["run_id"] == runs[0], 30)  # failed again: the latest
    assert admin.runtime.ticket(runs[0])["attempt"] == 2
    for path in ("none", "%00", "x" * 3000):
        assert admin.post(f"/admin/dead-letters/{path}/requeue").status_code == 404
    for query in ("limit=0", "limit=x", "page=0", "page=99999999999999999999"):
        assert admin.ask("GET", f"/admin/dead-letters?{query}").status_code == 422
    assert admin.get("/admin/dead-letters?page=1000000")["data"] == []


def test_a_token_needs_the_admin_scope(migrated: str, tmp_path: Path) -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def bearer(*scopes: str) -> str:
        return jwt.encode({"sub": "u", "scopes": scopes, "exp": time.time() + 60}, private, algorithm="RS256")

    with running(migrated, tmp_path / "log", JWT_VERIFICATION_KEY=public) as runtime:
        admin = Admin(runtime, tmp_path)
        for method, path in ROUTES:
            assert admin.ask(method, path, None).status_code == 401, path
            everything_else = ("agents:read", "agents:write", "config:read", "config:write", "sessions:write")
            assert admin.ask(method, path, bearer(*everything_else)).status_code == 403, path
            assert admin.ask(method, path, bearer("agent_os:admin")).status_code in (200, 404), path
