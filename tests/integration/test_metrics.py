"""/api/metrics and /api/runs over HTTP: what scrapers and people get, and what they get while Postgres is away."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from stack import alone
from stack import postgres as embedded
from stack.home import Home
from telemetry.catalogue import BY_NAME, INSTRUMENTS
from telemetry.clickhouse.migrate import migrate
from tests.integration.conftest import fresh_database
from tests.integration.runtimes import SECRET, Runtime, running, until
from tests.unit.test_exposition import problems

CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
PROMETHEUS = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
SECONDS = 3.0  # a scrape takes one at most, whatever is away; a busy machine adds to it

# Names of what is deployed here; the values of the other attributes are in the catalogue.
DEPLOYED = {
    "destination": {"clickhouse", "postgres"},
    "source": {"webhook", "github", "unknown"},
    "agent_id": {"echo", "pair", "steps", "unknown"},
    "queue": {"default"},
    "gen_ai.provider.name": {"offline"},
}


@pytest.fixture(scope="module")
def runtime(
    migrated_server: Home, clickhouse_server: Home, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runtime]:
    """One that has been busy, with every kind of answer and run; open, as on a developer's machine."""
    log = tmp_path_factory.mktemp("runtime") / "log"
    clickhouse_url = clickhouse_server.clickhouse_url + "_busy"
    migrate(clickhouse_url)
    settings = {
        "TELEMETRY_MODE": "direct",
        "CLICKHOUSE_URL": clickhouse_url,
        "PHOENIX_API_KEY": "phoenix-secret",
        "DASHBOARDS_URL": "https://dashboards.example/",
        "RUN_CONCURRENCY": "2",
        "RECONCILE_SECONDS": "1",
    }
    with fresh_database(migrated_server, "migrated") as url, running(url, log, **settings) as runtime:
        keep_busy(runtime)
        yield runtime


def keep_busy(runtime: Runtime) -> None:
    sent = [runtime.send(f"busy-{agent}", {"input": "hello"}, agent).json() for agent in ("echo", "pair", "steps")]
    sent.append(runtime.send("fails", {"input": "[fail-once] x"}).json())
    runtime.send("busy-echo", {"input": "hello"})
    runtime.send("busy-echo", {"input": "something else"})
    runtime.send("unsigned", {"input": "x"}, webhook_signature="v1,AAAA")
    for n in range(20):
        runtime.send(f"stranger-{n}", {"input": "x"}, f"stranger-{n}")
        httpx.post(f"{runtime.url}/api/sources/stranger-{n}", json={}, trust_env=False)
    for accepted in sent:
        assert runtime.ended(accepted["run_id"], 40)["status"] == "completed"


def view(runtime: Runtime) -> dict[str, Any]:
    answer: dict[str, Any] = runtime.get("/api/metrics?format=json").raise_for_status().json()
    return answer


def test_every_attribute_is_of_the_catalogue_and_bounded(runtime: Runtime) -> None:
    """No id from outside becomes a series: not of an agent that does not exist, nor of a source."""
    found = view(runtime)["instruments"]
    assert [i["name"] for i in found] == [i.name for i in INSTRUMENTS]
    empty = {i["name"] for i in found if not i["values"]}
    assert empty <= {
        *(
            "agno.http.refused",
            "agno.agents.reloads",
            "agno.queue.dead_letters",
            "agno.approvals.pending",
            "agno.approval.wait",
            "agno.telemetry.missing",
        ),
        *("agno.model.cost", "agno.telemetry.logs"),
        *("gen_ai.execute_tool.duration", "gen_ai.client.operation.time_to_first_chunk"),
    }
    for instrument in found:
        for value in instrument["values"]:
            assert list(BY_NAME[instrument["name"]].problems(value["attributes"])) == []
            for name, text in value["attributes"].items():
                assert text in DEPLOYED.get(name, {text}), (instrument["name"], name, text)
    assert "stranger" not in json.dumps(found)


def test_numbers_as_people_know_them(runtime: Runtime) -> None:
    found = view(runtime)
    by_name = {i["name"]: i for i in found["instruments"]}
    (echo,) = [
        v
        for v in by_name["agno.agent.duration"]["values"]
        if v["attributes"] == {"agent_id": "pair", "kind": "team", "status": "completed"}
    ]
    assert echo["count"] == 1 and echo["min"] <= echo["p50"] <= echo["p90"] <= echo["p99"] <= echo["max"]
    trace_id = echo["newest"]["trace_id"]
    assert echo["newest"]["link"] == f"/traces/{trace_id}"
    until(lambda: runtime.get(f"/traces/{trace_id}").is_success, 30)
    assert found["process"]["uptime_seconds"] > 0 and found["process"]["version"]
    assert found["process"]["protected_by"] == "nothing"
    assert set(found["queue"]["depth"]) == {"queued", "running", "paused"}
    assert found["queue"]["oldest_age_seconds"] is not None
    assert {agent["id"] for agent in found["agents"]} == {"echo", "pair", "steps"}
    assert "broken.py" in found["agent_files_with_errors"][0]["file"]
    assert {exporter["destination"] for exporter in found["exporters"]} == {"clickhouse", "postgres", "logs"}
    assert "bucket" in found["percentiles"]
    tables = {table["table"]: table for table in found["tables"]}
    assert tables["tickets"]["size_bytes"] > 0 and "agno.agno_runs" in tables
    assert found["settings"]["run_concurrency"] == 2


def test_clickhouse_is_compared_with_postgres(runtime: Runtime) -> None:
    """In the background; what is not yet a minute old is left alone. All else: test_reconcile.py."""
    until(lambda: (view(runtime)["comparison"] or {}).get("last_compared"), 60)
    found = view(runtime)["comparison"]
    assert (found["missing"], found["replayed"], found["last_error"]) == (0, 0, None)
    assert runtime.metric("agno_telemetry_missing", destination="clickhouse") == 0
    assert 'destination="clickhouse"' in runtime.get("/api/metrics").text


def test_agnos_trace_pages_show_every_run(runtime: Runtime) -> None:
    """Each with its agent, session, status and duration, and with what it came to; webhooks only as their parents."""
    ended = dict(runtime.query("SELECT component_id, id FROM tickets WHERE component_id <> 'echo'"))
    ended |= {"echo": runtime.query("SELECT run_id FROM deliveries WHERE delivery_id = 'busy-echo'")[0][0]}
    columns = {"echo": "agent_id", "pair": "team_id", "steps": "workflow_id"}
    for component, run_id in ended.items():
        run = runtime.ticket(run_id)
        until(lambda trace=run["trace_id"]: runtime.get(f"/traces/{trace}").is_success, 30)  # type: ignore[misc]
        (summary,) = [
            found
            for found in runtime.get("/traces", params={"limit": 100}).raise_for_status().json()["data"]
            if found.get("run_id") == run_id
        ]
        assert (summary[columns[component]], summary["session_id"]) == (component, run["session_id"])
        assert summary["status"] == "OK" and summary["trace_id"] == run["trace_id"]
        detail = runtime.get(f"/traces/{run['trace_id']}").raise_for_status().json()
        roots = [node for node in detail["tree"] if node["name"].startswith("invoke_")]
        assert len(roots) == 1 and roots[0]["duration"] == summary["duration"], component
        spans = runtime.query(
            "SELECT duration_ms FROM agno.agno_spans WHERE trace_id = %s AND parent_span_id IS NULL", run["trace_id"]
        )
        assert runtime.query("SELECT duration_ms FROM agno.agno_traces WHERE trace_id = %s", run["trace_id"]) == spans


def test_no_secret_is_shown(runtime: Runtime) -> None:
    password = runtime.database_url.split(":")[2].split("@")[0]
    for path in ("/api/metrics?format=json", "/api/metrics?format=html", "/api/metrics", "/api/telemetry"):
        text = runtime.get(path).text
        assert not any(secret in text for secret in (password, SECRET, SECRET[6:], "phoenix-secret")), path


@pytest.mark.parametrize(
    ("path", "accept", "content_type"),
    [
        ("", None, "text/plain; version=0.0.4"),
        ("", "*/*", "text/plain; version=0.0.4"),
        ("", "image/png", "text/plain; version=0.0.4"),
        ("", PROMETHEUS, "application/openmetrics-text; version=1.0.0"),
        ("", "application/openmetrics-text;q=0.1,text/plain", "text/plain; version=0.0.4"),
        ("", CHROMIUM, "text/html"),
        ("", "application/json", "application/json"),
        ("?format=prometheus", CHROMIUM, "text/plain; version=0.0.4"),
        ("?format=openmetrics", "*/*", "application/openmetrics-text; version=1.0.0"),
        ("?format=json", PROMETHEUS, "application/json"),
        ("?format=html", "*/*", "text/html"),
    ],
)
def test_the_format_by_parameter_or_accept(runtime: Runtime, path: str, accept: str | None, content_type: str) -> None:
    headers = {"accept": accept} if accept else {}
    answer = httpx.get(f"{runtime.url}/api/metrics{path}", headers=headers, trust_env=False, timeout=20)
    assert answer.is_success and answer.headers["content-type"].startswith(content_type)
    assert "accept" in answer.headers["vary"]
    assert answer.text


@pytest.mark.parametrize("wanted", ["xml", "", "JSON", "%00", "json&format=xml"])
def test_an_unknown_format_is_told(runtime: Runtime, wanted: str) -> None:
    answer = runtime.get(f"/api/metrics?format={wanted}")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert answer.json()["field"] == "format" and "openmetrics" in answer.json()["detail"]


def test_both_texts_keep_the_rules(runtime: Runtime) -> None:
    for wanted in ("prometheus", "openmetrics"):
        assert list(problems(runtime.get(f"/api/metrics?format={wanted}").text)) == []
    text = runtime.get("/api/metrics?format=openmetrics").text
    exemplars = [s.exemplar for f in openmetrics(text) for s in f.samples if s.exemplar]
    assert exemplars and all(len(e.labels["trace_id"]) == 32 for e in exemplars)
    assert {f.name for f in prometheus(runtime.get("/api/metrics").text)} >= {"agno_db_table_size_bytes"}


def test_scrapers_at_once_all_get_everything(runtime: Runtime) -> None:
    def scrape(n: int) -> int:
        wanted = ("openmetrics", "prometheus", "json")[n % 3]
        answer = runtime.get(f"/api/metrics?format={wanted}")
        assert answer.is_success
        if wanted == "json":
            return sum(bool(i["values"]) for i in answer.json()["instruments"])
        return answer.text.count("# TYPE")

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(scrape, range(30)))) == 1


def test_where_a_run_is(runtime: Runtime) -> None:
    body = {"input": "[slow 2] x", "session_id": "a b?c", "user_id": "u"}
    first = runtime.send("first", body).json()
    second = runtime.send("second", {**body, "input": "y"}).json()
    until(lambda: runtime.ticket(first["run_id"])["status"] == "running", 30)

    waiting = runtime.ticket(second["run_id"])
    assert (waiting["status"], waiting["attempt"], waiting["waits_for"]) == ("queued", 0, first["run_id"])
    assert waiting["links"]["waits_for"] == f"/api/runs/{first['run_id']}"
    assert waiting["wait_seconds"] >= 0 and waiting["started_at"] is waiting["finished_at"] is None

    now = runtime.ticket(first["run_id"])
    assert (now["kind"], now["agent_id"], now["session_id"], now["user_id"]) == ("agent", "echo", "a b?c", "u")
    assert (now["attempt"], now["attempts_left"], now["priority"]) == (1, 2, 0)
    assert now["delivery"] == {"source": "webhook", "delivery_id": "first"}
    assert now["trace_id"] == first["trace_id"] and now["approval"] is now["error"] is now["waits_for"] is None
    assert now["accepted_at"] <= now["started_at"]

    runtime.ended(second["run_id"])
    until(lambda: runtime.ticket(first["run_id"])["duration_seconds"], 30)
    done = runtime.ticket(first["run_id"])
    assert done["status"] == "completed" and 2 <= done["duration_seconds"] < 10
    assert done["accepted_at"] < done["started_at"] < done["finished_at"]
    assert done["links"]["dashboard"] == f"https://dashboards.example/d/run?var-run_id={first['run_id']}"
    for name in ("run", "session", "trace"):
        assert runtime.get(done["links"][name]).is_success, name


def test_a_run_that_is_tried_again(runtime: Runtime) -> None:
    accepted = runtime.send("again", {"input": "[fail] x"}).json()
    until(lambda: runtime.ticket(accepted["run_id"])["error"], 20)
    found = runtime.ended(accepted["run_id"], 60)
    assert (found["status"], found["attempt"], found["attempts_left"]) == ("failed", 3, 0)
    assert "asked for this error" in found["error"] and found["wait_seconds"] is None


def test_a_run_without_a_ticket(runtime: Runtime) -> None:
    form = {"message": "hello", "stream": "false"}
    started = httpx.post(f"{runtime.url}/agents/echo/runs", data=form, trust_env=False, timeout=20).json()
    until(lambda: runtime.ticket(started["run_id"])["trace_id"], 30)
    found = runtime.ticket(started["run_id"])
    assert (found["status"], found["kind"], found["agent_id"]) == ("completed", "agent", "echo")
    assert (found["attempt"], found["attempts_left"], found["delivery"]) == (None, None, None)
    for name in ("run", "session", "trace"):
        assert runtime.get(found["links"][name]).is_success, name


@pytest.mark.parametrize("run_id", ["nobody", "%00", "%0a", "x" * 10_000, "%F0%9F%A6%86", "%ff", "..%2f..", "a%00b"])
def test_a_run_that_cannot_be(runtime: Runtime, run_id: str) -> None:
    answer = runtime.get(f"/api/runs/{run_id}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_while_postgres_is_away_or_frozen(tmp_path: Any) -> None:
    """A scrape answers within a second, without the gauges that only Postgres knows; a run's state is a 503."""
    with alone.temporary_home() as home, ExitStack() as postgres:
        embedded.prepare(home)
        process = postgres.enter_context(alone.running(home, "postgres"))
        embedded.create_database(home)
        # a collector that is away: telemetry is on, and there is nothing else to wait for
        settings = {
            "TELEMETRY_MODE": "collector",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
            "OTEL_METRICS_EXPORTER": "none",
        }
        Runtime(home.database_url, tmp_path / "log").migrate()
        with running(home.database_url, tmp_path / "log", **settings) as runtime:
            assert _gauges(runtime) >= {"agno_queue_depth", "agno_queue_oldest_age_seconds"}
            frozen = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            for part in frozen:
                part.suspend()
            try:
                until(lambda: not _gauges(runtime) & {"agno_queue_depth", "agno_queue_oldest_age_seconds"}, 25)
                assert runtime.get("/api/metrics?format=json").json()["queue"] == {
                    "depth": {},
                    "oldest_age_seconds": None,
                }
                began = time.monotonic()
                assert runtime.get("/api/runs/any").status_code == 503
                assert time.monotonic() - began < 8
            finally:
                for part in frozen:
                    if part.is_running():
                        part.resume()
            until(lambda: "agno_queue_depth" in _gauges(runtime), 30)
            postgres.close()
            until(lambda: "agno_queue_depth" not in _gauges(runtime), 30)
            assert runtime.get("/api/runs/any").status_code == 503


def _gauges(runtime: Runtime) -> set[str]:
    """The families of a scrape, which is quick; two at once are, too."""
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(runtime.get, ["/api/metrics", "/api/metrics?format=openmetrics"]))
    assert time.monotonic() - began < SECONDS
    assert all(answer.is_success for answer in answers)
    return {family.name for family in prometheus(answers[0].text)}
