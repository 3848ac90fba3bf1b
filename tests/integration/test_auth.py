"""Who gets in: nobody without the key or a token but signed senders, and with a token only as far as its scopes go."""

import base64
import hmac
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm
from websockets.sync.client import connect

from stack.home import Home
from stack.process import PROJECT
from tests.integration.conftest import fresh_database
from tests.integration.runtimes import Runtime, until

KEY = "open-sesame"
AGENT = """
from agno.agent import Agent
from runtime.approvals import confirm
from runtime.offline import OfflineModel

def refund() -> str:
    '''Pays back.'''
    return "paid"

echo = Agent(id="echo", name="Echo", model=OfflineModel(latency=0.01), tools=[confirm(refund)])
"""
# What AgentOS leaves open whatever protects it, and the routes whose senders sign.
OPEN = {"GET /health", "GET /info"}
SIGNED = {"POST /api/webhooks/{id}", "POST /api/sources/{source}"}
PAGES = {"/", "/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"}
ADMIN = "agent_os:admin"
CLIENT = httpx.Client(trust_env=False, timeout=20)
Bearer = Callable[..., str]


@pytest.fixture(scope="module", autouse=True)
def close() -> Iterator[None]:
    yield
    CLIENT.close()


@pytest.fixture(scope="module")
def private() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def public(private: rsa.RSAPrivateKey) -> str:
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("agents")
    (directory / "echo.py").write_text(AGENT)
    shutil.copy(PROJECT / "agents" / "telemetry.py", directory)
    return directory


@pytest.fixture(scope="module")
def database(migrated_server: Home) -> Iterator[str]:
    with fresh_database(migrated_server, "migrated") as url:
        yield url


@pytest.fixture(scope="module")
def start(database: str, agents: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Runtime]]:
    started = []

    def start(**settings: str) -> Runtime:
        log = tmp_path_factory.mktemp("runtime") / "log"
        runtime = Runtime(database, log, {"AGENTS_DIR": str(agents), **settings})
        started.append(runtime)
        runtime.start()
        return runtime

    yield start
    for runtime in started:
        runtime.kill()


@pytest.fixture(scope="module")
def keyed(start: Callable[..., Runtime]) -> Runtime:
    return start(OS_SECURITY_KEY=KEY, RUN_CONCURRENCY="0")


@pytest.fixture(scope="module")
def tokened(start: Callable[..., Runtime], public: str) -> Runtime:
    """Also with spans in Postgres, which AgentOS shows as traces; the collector that they go to as well is away."""
    return start(
        JWT_VERIFICATION_KEY=public,
        TELEMETRY_MODE="collector",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1",
        OTEL_METRICS_EXPORTER="none",
    )


@pytest.fixture(scope="module")
def bearer(private: rsa.RSAPrivateKey) -> Bearer:
    def bearer(*scopes: str, user: str = "u", expires: float = 600, key: Any = private, **header: Any) -> str:
        claims = {"sub": user, "scopes": list(scopes), "exp": time.time() + expires}
        return "Bearer " + jwt.encode(claims, key, algorithm="RS256", headers=header or None)

    return bearer


def ask(runtime: Runtime, operation: str, authorization: str | bytes | None = None, **more: Any) -> httpx.Response:
    """`operation`: a method and a path, in which each {parameter} is `x`."""
    method, path = operation.split(" ")
    url = runtime.url + re.sub(r"\{[^}]+\}", "x", path)
    headers = {"authorization": authorization} if authorization else {}
    return CLIENT.request(method, url, headers=headers, **more)


def operations(runtime: Runtime) -> list[str]:
    document = ask(runtime, "GET /openapi.json").json()
    return [f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods]


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", f"Bearer {KEY}x", f"Basic {KEY}"])
def test_without_the_key_every_route_is_closed_but_the_open_and_the_signed(
    keyed: Runtime, authorization: str | None
) -> None:
    """A new route that is open by mistake is found here."""
    found = {operation for operation in operations(keyed) if not _is_refused(ask(keyed, operation, authorization))}
    assert found <= OPEN | SIGNED
    assert found >= OPEN


def _is_refused(answer: httpx.Response) -> bool:
    """By the key: a signed route refuses with a problem of ours."""
    assert KEY not in answer.text and KEY not in str(answer.headers)
    return answer.status_code == 401 and answer.headers["content-type"] == "application/json"


def test_what_has_no_place_in_openapi_is_closed_too(keyed: Runtime) -> None:
    for page in PAGES:
        assert ask(keyed, f"GET {page}").is_success, page
    for operation in (
        "GET /nothing",
        "GET /api/nothing",
        "HEAD /sessions",
        "POST /api/metrics",
        "GET /mcp",
        "GET /agents/",
    ):
        assert ask(keyed, operation).status_code == 401, operation
    with connect(f"ws://127.0.0.1:{keyed.port}/workflows/ws", proxy=None) as socket:
        socket.recv(5)
        socket.send(json.dumps({"action": "start-workflow", "workflow_id": "steps", "message": "x"}))
        assert json.loads(socket.recv(5))["event"] == "auth_required"


def test_the_key_opens_everything(keyed: Runtime) -> None:
    for operation in ("GET /agents", "GET /sessions", "GET /queue/stats", "GET /api/metrics", "GET /api/telemetry"):
        assert ask(keyed, operation, f"Bearer {KEY}").is_success, operation
    assert ask(keyed, "GET /api/runs/x", f"Bearer {KEY}").status_code == 404


def test_an_unsigned_sender_is_refused_with_the_key_too(keyed: Runtime) -> None:
    answer = ask(keyed, "POST /api/webhooks/echo", f"Bearer {KEY}", json={"input": "x"})
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert keyed.send("signed", {"input": "x"}).status_code == 202


@pytest.mark.parametrize("authorization", ["Bearer é", "Bearer \U0001f986", "Bearer \xff\xfe"])
def test_credentials_that_are_not_ascii_are_refused(keyed: Runtime, tokened: Runtime, authorization: str) -> None:
    for runtime in (keyed, tokened):
        assert ask(runtime, "GET /agents", authorization.encode()).status_code == 401


def test_neither_key_nor_credentials_are_logged(keyed: Runtime) -> None:
    ask(keyed, "GET /agents", "Bearer a-mistyped-secret")
    assert KEY not in keyed.log.read_text() and "a-mistyped-secret" not in keyed.log.read_text()


def test_tokens_that_are_not_ours_are_refused(tokened: Runtime, public: str, bearer: Bearer) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    claims = {"sub": "u", "scopes": [ADMIN], "exp": time.time() + 600}
    good = bearer(ADMIN)
    head, body, signature = good.removeprefix("Bearer ").split(".")
    forged = _encode({**claims, "sub": "root"})
    assert ask(tokened, "GET /sessions", good).is_success
    for why, authorization in {
        "expired": bearer(ADMIN, expires=-60),
        "signed with another key": bearer(ADMIN, key=other),
        "not signed": "Bearer " + jwt.encode(claims, None, algorithm="none"),
        "its signature left out": f"Bearer {head}.{body}.",
        "changed": f"Bearer {head}.{forged}.{signature}",
        "the public key as a secret": "Bearer " + _hs256(claims, public),
        "of a service account": bearer(ADMIN, user="sa:robot"),
        "of the scheduler": bearer(ADMIN, user="__scheduler__"),
        "no token": "Bearer x",
        "the key of a runtime without tokens": f"Bearer {KEY}",
    }.items():
        assert ask(tokened, "GET /sessions", authorization).status_code == 401, why
        assert ask(tokened, "GET /api/metrics", authorization).status_code == 401, why


def _encode(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def _hs256(claims: dict[str, Any], secret: str) -> str:
    signed = f"{_encode({'alg': 'HS256', 'typ': 'JWT'})}.{_encode(claims)}"
    digest = hmac.digest(secret.encode(), signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


@pytest.mark.parametrize(
    ("operation", "scope"),
    [
        ("GET /api/metrics", "metrics:read"),
        ("GET /api/telemetry", "metrics:read"),
        ("GET /api/runs/x", "sessions:read"),
        ("GET /sessions", "sessions:read"),
        ("GET /traces", "traces:read"),
        ("GET /approvals", "approvals:read"),
        ("GET /queue/stats", ADMIN),
        ("GET /admin/agents", ADMIN),
        ("POST /admin/reload", ADMIN),
        ("GET /api/nothing", ADMIN),
        ("DELETE /admin/nothing", ADMIN),
    ],
)
def test_a_route_asks_for_its_scope(tokened: Runtime, bearer: Bearer, operation: str, scope: str) -> None:
    assert ask(tokened, operation).status_code == 401
    assert ask(tokened, operation, bearer("agents:read", "memories:write")).status_code == 403
    for allowed in (scope, ADMIN):
        assert ask(tokened, operation, bearer(allowed)).status_code in (200, 404, 405), allowed


def test_a_token_without_scopes_opens_nothing_of_ours(tokened: Runtime, bearer: Bearer) -> None:
    ours = {o for o in operations(tokened) if o.split(" ")[1].startswith(("/api/", "/admin/"))}
    found = {o for o in ours if ask(tokened, o, bearer()).status_code != 403}
    assert found <= SIGNED


READ = ("sessions:read", "traces:read", "approvals:read", "agents:read", "agents:run")


@pytest.fixture(scope="module")
def of_alice(tokened: Runtime, bearer: Bearer) -> dict[str, Any]:
    """A run that waits for an approval: by webhook."""
    alice = bearer(*READ, user="alice")
    body = {"input": "[tool refund] x", "user_id": "alice", "session_id": "alice-1"}
    sent = tokened.send("alice", body).json()
    until(lambda: _run(tokened, sent["run_id"], alice)["status"] == "paused", 20)
    query = "SELECT trace_id FROM agno.agno_traces WHERE run_id = %s"
    until(lambda: tokened.query(query, sent["run_id"]), 20)
    return sent


def _run(runtime: Runtime, run_id: str, authorization: str) -> dict[str, Any]:
    answer: dict[str, Any] = ask(runtime, f"GET /api/runs/{run_id}", authorization).raise_for_status().json()
    return answer


def test_users_see_only_what_is_theirs(tokened: Runtime, bearer: Bearer, of_alice: dict[str, Any]) -> None:
    alice, bob, admin = (bearer(*READ, user="alice"), bearer(*READ, user="bob"), bearer(ADMIN, user="root"))
    run_id, session_id, trace_id = of_alice["run_id"], of_alice["session_id"], of_alice["trace_id"]
    (approval,) = ask(tokened, "GET /approvals", alice).json()["data"]

    for who in (alice, admin):
        assert _run(tokened, run_id, who)["approval"]["tool"] == "refund"
        for path in ("/sessions", "/traces", "/approvals"):
            assert ask(tokened, f"GET {path}", who).json()["data"], path
        for path in (of_alice["links"]["run"], f"/sessions/{session_id}", f"/traces/{trace_id}"):
            assert ask(tokened, f"GET {path}", who).is_success, path

    for path in ("/sessions", "/traces", "/approvals"):
        assert ask(tokened, f"GET {path}", bob).json()["data"] == [], path
    for path in (
        f"/api/runs/{run_id}",
        of_alice["links"]["run"],
        f"/sessions/{session_id}",
        f"/sessions/{session_id}/runs",
        f"/traces/{trace_id}",
        f"/approvals/{approval['id']}",
    ):
        assert ask(tokened, f"GET {path}", bob).status_code in (403, 404), path
    eager = bearer(*READ, "approvals:write", user="bob")
    assert ask(tokened, f"POST /approvals/{approval['id']}/approve", eager, json={}).status_code in (403, 404)
    assert ask(tokened, "GET /sessions?user_id=alice", bob).json()["data"] == []
    assert "alice" not in ask(tokened, f"GET /api/runs/{run_id}", bob).text


def test_what_nobody_owns_is_the_administrators(tokened: Runtime, bearer: Bearer) -> None:
    sent = tokened.send("nobody", {"input": "x"}).json()
    assert ask(tokened, f"GET /api/runs/{sent['run_id']}", bearer(*READ, user="alice")).status_code == 404
    assert _run(tokened, sent["run_id"], bearer(ADMIN))["user_id"] is None


def test_a_run_that_a_user_starts_is_that_users(tokened: Runtime, bearer: Bearer) -> None:
    alice, bob = bearer(*READ, user="alice"), bearer(*READ, user="bob")
    form = {"message": "hello", "stream": "false", "user_id": "bob"}
    run = ask(tokened, "POST /agents/echo/runs", alice, data=form).raise_for_status().json()
    found = _run(tokened, run["run_id"], alice)
    assert (found["user_id"], found["status"], found["attempt"]) == ("alice", "completed", None)
    assert ask(tokened, f"GET /api/runs/{run['run_id']}", bob).status_code == 404
    assert ask(tokened, f"GET /sessions/{run['session_id']}", bob).status_code == 404


@pytest.mark.parametrize("background", ["false", "true"])
def test_the_telemetry_of_all_users_is_the_administrators(tokened: Runtime, bearer: Bearer, background: str) -> None:
    """Also when a user may run the agent that could ask it. (There is no ClickHouse here: who may ask is told so.)"""

    def content(authorization: str) -> str:
        form = {"message": "Which agent is slowest?", "stream": "false", "background": background}
        run = ask(tokened, "POST /agents/telemetry/runs", authorization, data=form).raise_for_status().json()
        until(lambda: _run(tokened, run["run_id"], authorization)["status"] == "completed", 20)
        path = _run(tokened, run["run_id"], authorization)["links"]["run"]
        return str(ask(tokened, f"GET {path}", authorization).json()["content"])

    assert "Permission required: agent_os:admin" in content(bearer(*READ, user="alice"))
    assert "set CLICKHOUSE_READONLY_URL" in content(bearer(ADMIN, user="root"))


def test_a_file_of_keys_and_no_isolation(
    start: Callable[..., Runtime],
    private: rsa.RSAPrivateKey,
    bearer: Bearer,
    of_alice: dict[str, Any],
    tmp_path: Path,
) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    keys = [
        {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", "alg": "RS256"}
        for kid, key in (("old", other), ("new", private))
    ]
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps({"keys": keys}))
    shared = start(JWT_JWKS_FILE=str(jwks), USER_ISOLATION="false", RUN_CONCURRENCY="0")
    for expected, authorization in (
        (200, bearer(ADMIN, kid="new")),
        (200, bearer(ADMIN, key=other, kid="old")),
        (401, bearer(ADMIN, kid="old")),
        (401, bearer(ADMIN, kid="unknown")),
        (401, bearer(ADMIN)),
        (401, bearer(ADMIN, kid="new", expires=-60)),
        (401, None),
    ):
        assert ask(shared, "GET /api/metrics", authorization).status_code == expected
    bob = bearer(*READ, user="bob", kid="new")
    assert _run(shared, of_alice["run_id"], bob)["user_id"] == "alice"
    assert ask(shared, f"GET /sessions/{of_alice['session_id']}", bob).is_success
