"""Secrets are planted wherever a runtime has some, everything goes wrong that can, and what comes out is searched."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import psutil
import psycopg
import pytest

from stack.home import Home
from tests.integration.conftest import fresh_database
from tests.integration.planted import Collected, collecting, leaks, plant, refusing, spellings, write_agents
from tests.integration.runtimes import Runtime, signed, until

pytestmark = pytest.mark.timeout(180)

WEBHOOK = "whsec_" + base64.b64encode(b"PLANT the webhook's own secret 7").decode()
APPROVALS = "whsec_" + base64.b64encode(b"PLANT the approvals' own secret 8").decode()
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJQTEFOVCJ9.UExBTlRzaWduYXR1cmU"
NAMES = ("key", "shop", "clickhouse", "reader", "phoenix", "phoenixurl", "openai", "proxy", "otlp", "github", "grafana")
ANSWERS: dict[str, str] = {}  # of the API, by what was asked


@dataclass
class Planted:
    runtime: Runtime
    collected: Collected
    secrets: dict[str, str]
    argv: str


@pytest.fixture(scope="module")
def planted(migrated_server: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    """A runtime that has lived through all of it, and was stopped, so that everything has been sent."""
    path = tmp_path_factory.mktemp("planted")
    secrets = {name: plant(name) for name in NAMES}
    with fresh_database(migrated_server, "migrated") as database, collecting() as collected, refusing() as provider:
        secrets |= {"database": urlsplit(database).password or "", "webhook": WEBHOOK, "jwt": JWT}
        secrets |= {"approvals": APPROVALS, "whsec": WEBHOOK[6:]}
        at = {name: quote(secret, safe="") for name, secret in secrets.items()}
        runtime = Runtime(
            database,
            path / "log",
            {
                "AGENTS_DIR": str(write_agents(path / "agents", secrets["shop"])),
                "OS_SECURITY_KEY": secrets["key"],
                "WEBHOOK_SECRET": WEBHOOK,
                "WEBHOOK_SECRETS": json.dumps(
                    {"github": secrets["github"], "grafana": ["grafana:" + secrets["grafana"]]}
                ),
                "APPROVAL_WEBHOOK_SECRET": APPROVALS,
                "APPROVAL_WEBHOOK_URL": f"http://u:{at['proxy']}@127.0.0.1:1/notices",
                "CLICKHOUSE_URL": f"http://otel:{at['clickhouse']}@127.0.0.1:1/otel",
                "CLICKHOUSE_READONLY_URL": f"http://readonly:{at['reader']}@127.0.0.1:1/otel",
                "PHOENIX_URL": f"http://u:{at['phoenixurl']}@127.0.0.1:1",
                "PHOENIX_API_KEY": secrets["phoenix"],
                "OPENAI_API_KEY": secrets["openai"],
                "OPENAI_BASE_URL": f"http://u:{at['proxy']}@127.0.0.1:{provider}/v1",
                "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{at['otlp']}",
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collected.port}",
                "OTEL_METRIC_EXPORT_INTERVAL": "1000",
                "TELEMETRY_MODE": "collector",
                "RECONCILE_SECONDS": "1",
                "RUN_MAX_ATTEMPTS": "1",
            },
            key=secrets["key"],
        )
        runtime.start()
        try:
            assert runtime.process is not None
            cause(runtime, secrets)
            of_runtime = psutil.Process(runtime.process.pid)
            argv = str([its.cmdline() for its in (of_runtime, *of_runtime.children(recursive=True))])
            assert runtime.stop() == 0
            yield Planted(runtime, collected, secrets, argv)
        finally:
            runtime.kill()


def cause(runtime: Runtime, secrets: dict[str, str]) -> None:
    """Successes and failures of every kind, and what is said of them."""
    for number, (agent, prompt) in enumerate(
        {"leaking": "[tool leak] go", "failing": "go", "refused": "go"}.items(), 1
    ):
        sent = send(runtime, f"planted-{number}", {"input": prompt, "session_id": f"s{number}"}, agent)
        run_id = sent.json()["run_id"]
        ANSWERS[f"GET /api/runs of {agent}"] = json.dumps(runtime.ended(run_id))
        ask(runtime, "POST", f"/admin/dead-letters/{run_id}/nonsense")
        ask(runtime, "GET", f"/agents/{agent}/runs/{run_id}?session_id=s{number}")
        for stream in ("false", "true"):
            ask(runtime, "POST", f"/agents/{agent}/runs", data={"message": prompt, "stream": stream})
    ask(runtime, "POST", "/agents/leaking/runs", data={"message": "[tool tell] go", "stream": "false"})
    strangers(runtime, secrets)
    ask(runtime, "POST", "/admin/reload")
    until(lambda: runtime.get("/api/telemetry").json()["postgres"]["exported"] > 5, 30)
    until(lambda: (runtime.get("/api/metrics?format=json").json()["comparison"] or {}).get("last_error"), 30)
    for path in ("/admin/agents", "/admin/dead-letters", "/api/telemetry", "/queue/jobs", "/traces", "/sessions"):
        ask(runtime, "GET", path)
    for name in ("prometheus", "openmetrics", "json", "html"):
        ask(runtime, "GET", f"/api/metrics?format={name}")


def strangers(runtime: Runtime, secrets: dict[str, str]) -> None:
    """Who do not know the secrets, and one who knows them but sends what cannot be taken."""
    content = b'{"input": "x"}'
    wrong = signed("planted-x", content, "whsec_" + base64.b64encode(b"another").decode())
    httpx_post(runtime, "/api/webhooks/leaking", content, wrong)
    httpx_post(runtime, "/api/sources/github", content, {"x-hub-signature-256": "sha256=00"})
    basic = base64.b64encode(f"grafana:{secrets['grafana']}!".encode()).decode()
    httpx_post(runtime, "/api/sources/grafana", content, {"authorization": f"Basic {basic}"})
    send(runtime, "planted-y", b"{", "leaking")
    send(runtime, "planted-z", {"input": "x"}, "nobody")
    for authorization in (f"Bearer {JWT}", f"Bearer {secrets['key']}!", "Bearer nothing"):
        answer = httpx.get(f"{runtime.url}/admin/agents", headers={"authorization": authorization}, trust_env=False)
        ANSWERS[f"401 {len(ANSWERS)}"] = answer.text
    ask(runtime, "GET", f"/sessions?api_key={JWT}&limit=nonsense")
    ask(runtime, "POST", "/agents/nobody/runs", data={"message": "x"})


def ask(runtime: Runtime, method: str, path: str, **more: object) -> None:
    headers = {"authorization": f"Bearer {runtime.key}"}
    answer = httpx.request(method, f"{runtime.url}{path}", headers=headers, trust_env=False, timeout=30, **more)  # type: ignore[arg-type]
    ANSWERS[" ".join([method, path, *map(str, more.values())])] = answer.text


def httpx_post(runtime: Runtime, path: str, content: bytes, headers: dict[str, str]) -> httpx.Response:
    headers = {"content-type": "application/json", **headers}
    answer = httpx.post(f"{runtime.url}{path}", content=content, headers=headers, trust_env=False, timeout=30)
    ANSWERS[f"POST {path} {len(ANSWERS)}"] = answer.text
    return answer


def send(runtime: Runtime, delivery_id: str, body: object, agent: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx_post(runtime, f"/api/webhooks/{agent}", content, signed(delivery_id, content, WEBHOOK))


def test_what_is_searched_is_there(planted: Planted) -> None:
    """Or nothing would be found in it."""
    assert any(planted.secrets["otlp"] in header for header in planted.collected.headers)
    spans = planted.collected.all("TraceService")
    for said in (b"execute_tool leak", b"cannot reach", b"url.full", b"Incorrect API key", b"webhook leaking"):
        assert said in spans, said
    assert b"it failed" in planted.collected.all("LogsService")
    assert b"agno.agent.runs" in planted.collected.all("MetricsService")
    log = planted.runtime.log.read_text()
    assert "it failed" in log and "no shop at" in log
    assert "cannot reach" in ANSWERS["GET /api/runs of failing"]
    assert "no shop at" in ANSWERS["GET /admin/agents"]
    assert "no shop at" in ANSWERS["GET /api/metrics?format=html"]
    secret = planted.secrets["shop"]
    assert leaks(planted.secrets, b"x" + base64.b64encode(f"me:{secret}".encode())) == {"shop"}
    assert len(spellings(secret)) > 5


@pytest.mark.parametrize("kind", ["TraceService", "LogsService", "MetricsService"])
def test_what_is_exported_has_none(planted: Planted, kind: str) -> None:
    assert leaks(planted.secrets, planted.collected.all(kind)) == set()


def test_the_console_has_none(planted: Planted) -> None:
    assert leaks(planted.secrets, planted.runtime.log.read_bytes()) == set()


def test_answers_have_none(planted: Planted) -> None:
    found = {what: its for what, text in ANSWERS.items() if (its := leaks(planted.secrets, text.encode()))}
    assert found == {}


@pytest.mark.parametrize("table", ["agno.agno_spans", "agno.agno_traces", "tickets"])
def test_postgres_has_none(planted: Planted, table: str) -> None:
    """Where AgentOS shows it. What agents keep in their sessions is theirs."""
    with psycopg.connect(planted.runtime.database_url) as connection:
        rows = connection.execute(f"SELECT to_jsonb(t)::text FROM {table} t".encode()).fetchall()
    assert rows
    assert leaks(planted.secrets, "\n".join(row[0] for row in rows).encode()) == set()


def test_arguments_of_processes_have_none(planted: Planted) -> None:
    assert "telemetry.exporter" in planted.argv
    assert leaks(planted.secrets, planted.argv.encode()) == set()


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://agents:{quote(plant('key'), safe='')}@127.0.0.1:1/agents",
        f"postgresql//agents:{plant('key')}@127.0.0.1:1/agents",
        f"postgresql://agents:{plant('key')}@127.0.0.1:nonsense/agents",
    ],
    ids=["unreachable", "no URL", "a port that is none"],
)
def test_a_start_that_fails_tells_none(url: str, tmp_path: Path) -> None:
    runtime = Runtime(url, tmp_path / "log")
    assert runtime.command("serve").wait(60) != 0
    said = runtime.log.read_bytes()
    assert said
    assert leaks({"key": plant("key")}, said) == set()
