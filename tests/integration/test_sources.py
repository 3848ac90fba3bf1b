"""POST /api/sources/{source}: who is let in, what its triggers make of a delivery, and how often it runs."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from stack.home import Home
from tests.integration.conftest import fresh_database
from tests.integration.runtimes import SECRET, Runtime, running, signed, until
from tests.integration.senders import (
    ALERT,
    ALERTS,
    BASIC,
    BEARER,
    CLIENT,
    ISSUE,
    JIRA,
    NEW_HUB,
    OLD_HUB,
    SECRETS,
    SHOP,
    github,
    marks,
    post,
    proof,
    spellings,
    standard,
    write_agents,
)
from tests.integration.test_webhooks import problem


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield write_agents(tmp_path_factory.mktemp("agents"))
    CLIENT.close()


# Metrics, and no collector that they or spans could go to.
MEASURED = {
    "TELEMETRY_MODE": "collector",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
    "OTEL_METRICS_EXPORTER": "none",
}


@pytest.fixture(scope="module")
def cluster(migrated_server: Home, agents: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Runtime]]:
    """Four processes on one Postgres."""
    logs = tmp_path_factory.mktemp("cluster")
    settings = {"AGENTS_DIR": str(agents), "WEBHOOK_SECRETS": json.dumps(SECRETS), "RUN_CONCURRENCY": "2", **MEASURED}
    with fresh_database(migrated_server, "migrated") as url, ThreadPoolExecutor(4) as starters:
        runtimes = [Runtime(url, logs / f"log-{number}", settings) for number in range(4)]
        try:
            list(starters.map(Runtime.start, runtimes))
            yield runtimes
        finally:
            for runtime in runtimes:
                if runtime.process is not None:
                    runtime.kill()


@pytest.fixture(scope="module")
def runtime(cluster: list[Runtime]) -> Runtime:
    return cluster[0]


@pytest.fixture(scope="module")
def strict(migrated_server: Home, agents: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """One run at a time, four deliveries an hour, no secret but the shared one."""
    settings = {"AGENTS_DIR": str(agents), "RUN_CONCURRENCY": "1", "WEBHOOK_RATE": "4/hour", **MEASURED}
    with (
        fresh_database(migrated_server, "migrated") as url,
        running(url, tmp_path_factory.mktemp("strict") / "log", **settings) as runtime,
    ):
        yield runtime


def ticket(runtime: Runtime, answer: httpx.Response) -> tuple[Any, ...]:
    """Agent, prompt, session and user of what was accepted."""
    assert answer.status_code == 202, answer.text
    query = "SELECT component_id, payload ->> 'input', session_id, user_id FROM tickets WHERE id = %s"
    return runtime.query(query, answer.json()["run_id"])[0]


def counted(runtime: Runtime, outcome: str, source: str) -> float:
    """Of whichever agent."""
    wanted = (f'outcome="{outcome}"', f'source="{source}"')
    return sum(float(one.rsplit(" ", 1)[1]) for one in samples(runtime) if all(label in one for label in wanted))


def samples(runtime: Runtime, name: str = "agno_webhook_requests_total") -> list[str]:
    return [line for line in runtime.get("/api/metrics").text.splitlines() if line.startswith(name)]


def test_a_delivery_runs_as_its_trigger_says(runtime: Runtime) -> None:
    answer = github(runtime, "first", ISSUE)
    assert ticket(runtime, answer) == ("support", "The lamp flickers in lamps/desk", "issue-7", "octo")
    assert answer.json()["session_id"] == "issue-7" and answer.json()["decision"] == "new"
    assert runtime.ended(answer.json()["run_id"])["status"] == "completed"
    assert "The lamp flickers in lamps/desk" in runtime.get(answer.json()["links"]["run"]).json()["content"]


@pytest.mark.parametrize(
    ("source", "secret"),
    [
        ("github", NEW_HUB),
        ("github", OLD_HUB),
        ("jira", JIRA),
        ("shop", SHOP),
        ("store", SECRET),
    ],
)
def test_an_id_is_one_delivery(runtime: Runtime, source: str, secret: str) -> None:
    content = json.dumps(ISSUE | {"issue": {"key": "D-1", "number": 1, "title": secret[::-1]}}).encode()
    headers = proof(source, secret, content, f"id-{secret[:7]}") | {"x-github-event": "issues"}
    first, again = post(runtime, source, content, headers), post(runtime, source, content, headers)
    assert (first.status_code, again.status_code) == (202, 200), first.text
    assert again.json() == first.json() | {"decision": "duplicate"}
    other = content + b" "
    found = problem(post(runtime, source, other, headers | proof(source, secret, other, f"id-{secret[:7]}")), 409)
    assert found["run_id"] == first.json()["run_id"]


@pytest.mark.parametrize(
    ("source", "secret"), [("grafana", BEARER), ("grafana", BASIC), ("alertmanager", ALERTS), ("github", NEW_HUB)]
)
def test_without_an_id_the_body_is_the_delivery(runtime: Runtime, source: str, secret: str) -> None:
    content = json.dumps(ALERT | {"by": secret[::-1], "issue": {"labels": [{"name": "bug"}]}}).encode()
    first, again, other = (
        post(runtime, source, c, proof(source, secret, c)) for c in (content, content, content + b" ")
    )
    assert (first.status_code, again.status_code, other.status_code) == (202, 200, 202), first.text
    assert again.json() == first.json() | {"decision": "duplicate"}
    assert first.json()["session_id"] == f"{source}-{hashlib.sha256(content).hexdigest()}"
    assert other.json()["run_id"] != first.json()["run_id"]


@pytest.mark.parametrize(
    ("source", "secret"),
    [
        ("github", "a-secret-of-others"),
        ("github", JIRA),
        ("github", SECRET),
        ("jira", NEW_HUB),
        ("grafana", "a-wrong-token"),
        ("grafana", "grafana:wrong"),
        ("grafana", SECRET),
        ("alertmanager", BASIC),
        ("shop", SECRET),
        ("store", SHOP),
        ("silent", SECRET),
    ],
)
def test_another_secret_is_refused(runtime: Runtime, source: str, secret: str) -> None:
    content = json.dumps(ISSUE).encode()
    answer = post(runtime, source, content, proof(source, secret, content, "refused"))
    problem(answer, 401)
    assert not [one for one in spellings() if one in answer.text]
    assert runtime.query("SELECT count(*) FROM deliveries WHERE delivery_id = 'refused'") == [(0,)]


@pytest.mark.parametrize(
    ("source", "secret", "needed"),
    [
        ("github", NEW_HUB, "x-hub-signature-256"),
        ("jira", JIRA, "x-hub-signature"),
        ("grafana", BEARER, "authorization"),
        ("alertmanager", ALERTS, "authorization"),
        ("shop", SHOP, "webhook-signature"),
    ],
)
def test_a_proof_is_needed_and_it_is_of_this_body(runtime: Runtime, source: str, secret: str, needed: str) -> None:
    content = json.dumps(ISSUE).encode()
    assert needed in problem(post(runtime, source, content, {}), 401)["detail"]
    if needed != "authorization":
        problem(post(runtime, source, content + b" ", proof(source, secret, content, "changed")), 401)


def test_the_id_of_standard_webhooks_is_signed_too(runtime: Runtime) -> None:
    content = b'{"input": "x"}'
    headers = signed("mine", content, SHOP) | {"webhook-id": "another"}
    problem(post(runtime, "shop", content, headers), 401)


def test_a_form_of_github_is_the_json_in_it(runtime: Runtime) -> None:
    content = urlencode({"payload": json.dumps(ISSUE | {"sender": {"login": "form"}})}).encode()
    headers = {"content-type": "application/x-www-form-urlencoded", "x-github-event": "issues"}
    answer = post(runtime, "github", content, headers | proof("github", NEW_HUB, content, "form"))
    assert ticket(runtime, answer) == ("support", "The lamp flickers in lamps/desk", "issue-7", "form")


def test_a_type_that_is_not_taken(runtime: Runtime) -> None:
    content = json.dumps(ISSUE).encode()
    headers = proof("github", NEW_HUB, content, "type") | {"content-type": "text/plain"}
    assert "text/plain" in problem(post(runtime, "github", content, headers), 415)["detail"]


@pytest.mark.parametrize(
    ("event", "body"), [("ping", {"zen": "Keep it logically awesome."}), ("star", ISSUE), ("deployment_status", {})]
)
def test_what_no_trigger_wants_is_ignored(runtime: Runtime, event: str, body: Any) -> None:
    before = counted(runtime, "ignored", "github")
    answer = github(runtime, f"ignored-{event}", body, event)
    assert answer.status_code == 200
    ignored: dict[str, Any] = {"run_id": None, "session_id": None, "decision": "ignored", "links": {}}
    assert answer.json() == ignored | {"trace_id": answer.json()["trace_id"]}
    assert re.fullmatch("[0-9a-f]{32}", answer.json()["trace_id"])
    assert counted(runtime, "ignored", "github") == before + 1


@pytest.mark.parametrize(
    ("name", "event", "body", "wanted"),
    [
        ("of-two-lists", "issues", ISSUE | {"action": "reopened"}, ("support", "issue-7", "octo")),
        ("later-file", "issues", ISSUE | {"action": "closed"}, ("second", "github-later-file", None)),
        ("other-of-list", "push", {}, ("second", "github-other-of-list", None)),
        (
            "first-wins",
            "issues",
            ISSUE | {"issue": {"labels": [{"name": "bug"}]}},
            ("support", "github-first-wins", None),
        ),
        ("not-text", "push", {"issue": {"labels": {"0": {"name": ["bug"]}}}}, ("second", "github-not-text", None)),
    ],
)
def test_the_first_trigger_that_matches_wins(
    runtime: Runtime, name: str, event: str, body: Any, wanted: tuple[Any, ...]
) -> None:
    component, prompt, session, user = ticket(runtime, github(runtime, name, body, event))
    assert (component, session, user) == wanted
    assert component != "second" or prompt == f"github {event}"


def test_functions_see_the_delivery(runtime: Runtime) -> None:
    content = json.dumps({"webhookEvent": "jira:issue_created", "issue": {"key": "D-2"}}).encode()
    headers = proof("jira", JIRA, content, "f-1") | {"x-sender": "ann"}
    expected = ("support", "jira:issue_created of D-2", "jira-f-1", "ann")
    assert ticket(runtime, post(runtime, "jira", content, headers)) == expected
    resolved = json.dumps(ALERT | {"status": "resolved"}).encode()
    answer = post(runtime, "alertmanager", resolved, proof("alertmanager", ALERTS, resolved))
    assert (answer.status_code, answer.json()["decision"]) == (200, "ignored")


def test_without_texts_the_body_is_the_prompt(runtime: Runtime) -> None:
    text = json.dumps({"order": "A-1", "session_id": "theirs", "user_id": 7})
    assert ticket(runtime, standard(runtime, "store", "whole", json.loads(text))) == (
        "second",
        text,
        "store-whole",
        None,
    )
    longest = standard(runtime, "store", "x" * 255, {"input": "hi"})
    assert ticket(runtime, longest)[1:3] == ("hi", "store-" + "x" * 255)
    assert runtime.ended(longest.json()["run_id"])["status"] == "completed"


@pytest.mark.parametrize(
    ("event", "field", "why"),
    [
        ("deployment", "session_id", "deployment"),
        ("release", "prompt", "RuntimeError"),
        ("fork", "when", "RuntimeError"),
    ],
)
def test_a_delivery_that_a_trigger_cannot_take(runtime: Runtime, event: str, field: str, why: str) -> None:
    answer = github(runtime, f"misfit-{event}", {}, event)
    found = problem(answer, 422)
    assert (found["field"], found["trigger"]) == (field, "github -> support")
    assert field in found["detail"] and why in found["detail"]
    assert "hunter2" not in answer.text
    assert runtime.query("SELECT count(*) FROM deliveries WHERE delivery_id = %s", f"misfit-{event}") == [(0,)]
    assert github(runtime, f"misfit-{event}", ISSUE).status_code == 202


def test_the_log_says_what_the_sender_is_not_told(runtime: Runtime) -> None:
    github(runtime, "logged", {}, "release")
    assert "hunter2" in runtime.log.read_text()


@pytest.mark.parametrize(
    ("source", "nearest"), [("githib", "github"), ("webhook", None), ("GITHUB", None), ("nothing", None), ("%00", None)]
)
def test_an_unknown_source(runtime: Runtime, source: str, nearest: str | None) -> None:
    before = counted(runtime, "invalid", "unknown")
    assert problem(standard(runtime, source, "unknown"), 404)["nearest"] == nearest
    assert counted(runtime, "invalid", "unknown") == before + 1


def test_a_source_with_a_secret_and_no_trigger(runtime: Runtime) -> None:
    content = b"{}"
    problem(post(runtime, "silent", content, signed("silent", content, SHOP)), 404)


@pytest.mark.parametrize("source", ["github", "jira", "grafana", "alertmanager"])
def test_a_source_without_a_secret_is_refused(strict: Runtime, source: str) -> None:
    content = json.dumps(ALERT).encode()
    detail = problem(post(strict, source, content, proof(source, SECRET, content, "x")), 401)["detail"]
    assert "WEBHOOK_SECRETS" in detail


def test_a_source_that_sends_too_fast_keeps_only_itself_out(strict: Runtime) -> None:
    for _ in range(8):
        problem(post(strict, "shop", b"{}", {}), 401)
    sent = [standard(strict, "shop", "same") for _ in range(4)]
    assert [answer.status_code for answer in sent] == [202, 200, 200, 200]
    answer = standard(strict, "shop", "more")
    assert "4" in problem(answer, 429)["detail"]
    assert 0 < int(answer.headers["retry-after"]) <= 3600
    problem(post(strict, "shop", b"{}", {}), 401)
    assert standard(strict, "store", "other").status_code == 202
    assert counted(strict, "throttled", "shop") == 1 and counted(strict, "throttled", "store") == 0


def test_what_is_urgent_does_not_wait_for_what_came_before(strict: Runtime) -> None:
    sent = [standard(strict, "calm", "blocks", {"input": "[slow 2] x"})]
    until(lambda: strict.ticket(sent[0].json()["run_id"])["status"] == "running", 20)
    sent += [standard(strict, "calm", f"calm-{number}") for number in range(2)]
    sent += [standard(strict, "urgent", "urgent")]
    ids = [answer.json()["run_id"] for answer in sent]
    assert strict.query("SELECT priority FROM tickets WHERE id = %s", ids[3]) == [(5,)]
    assert {strict.ended(run_id)["status"] for run_id in ids} == {"completed"}
    done = strict.query("SELECT id FROM tickets WHERE id = ANY(%s) ORDER BY completed_at", ids)
    assert [run_id for (run_id,) in done] == [ids[0], ids[3], ids[1], ids[2]]


def _at_once(cluster: list[Runtime], send: Callable[[Runtime], httpx.Response], source: str) -> str:
    """The id of the one run of a hundred deliveries, sent to all processes in turn."""
    before = [(counted(r, "accepted", source), counted(r, "duplicate", source)) for r in cluster]
    with ThreadPoolExecutor(100) as senders:
        answers = list(senders.map(lambda number: send(cluster[number % 4]), range(100)))
    assert Counter(answer.status_code for answer in answers) == {202: 1, 200: 99}
    assert Counter(answer.json()["decision"] for answer in answers) == {"new": 1, "duplicate": 99}
    assert len({(a.json()["run_id"], a.json()["session_id"], a.json()["trace_id"]) for a in answers}) == 1
    after = [(counted(r, "accepted", source), counted(r, "duplicate", source)) for r in cluster]
    assert sum(a[0] - b[0] for a, b in zip(after, before, strict=True)) == 1
    assert sum(a[1] - b[1] for a, b in zip(after, before, strict=True)) == 99
    run_id: str = answers[0].json()["run_id"]
    found = cluster[3].ended(run_id)
    assert (found["status"], found["attempt"]) == ("completed", 1)
    return run_id


def test_a_hundred_identical_deliveries_to_four_processes_are_one_run(cluster: list[Runtime], agents: Path) -> None:
    body = {"input": "[tool mark] a hundred webhooks"}
    content = json.dumps(body).encode()
    headers = signed("hundred", content)
    before = marks(agents)

    def send(runtime: Runtime) -> httpx.Response:
        return CLIENT.post(f"{runtime.url}/api/webhooks/support", content=content, headers=headers)

    run_id = _at_once(cluster, send, "webhook")
    query = "SELECT id FROM tickets WHERE payload ->> 'input' = %s"
    assert cluster[0].query(query, body["input"]) == [(run_id,)]
    assert marks(agents) == before + 1


def test_a_hundred_identical_deliveries_of_github_are_one_run(cluster: list[Runtime], agents: Path) -> None:
    before = marks(agents)
    run_id = _at_once(cluster, lambda runtime: github(runtime, "hundred", {"n": 100}, "check"), "github")
    query = "SELECT id FROM tickets WHERE payload ->> 'input' = '[tool mark] 100'"
    assert cluster[0].query(query) == [(run_id,)]
    assert cluster[0].query("SELECT source FROM deliveries WHERE run_id = %s", run_id) == [("github",)]
    assert marks(agents) == before + 1


def test_metrics_have_names_of_ours_only(cluster: list[Runtime]) -> None:
    standard(cluster[0], "a-name-from-outside", "x")
    standard(cluster[0], "store", "measured")
    text = "\n".join(samples(cluster[0]))
    labels = {name: set(re.findall(rf'{name}="([^"]*)"', text)) for name in ("source", "outcome", "agent_id")}
    assert {"unknown", "store"} <= labels["source"] <= {"unknown", "webhook", "store", *SECRETS}
    assert labels["outcome"] <= {"accepted", "duplicate", "ignored", "rejected", "invalid", "conflict", "throttled"}
    assert labels["agent_id"] <= {"unknown", "support", "second"}
    decisions = samples(cluster[0], "agno_dedup_decisions_total")
    assert any('source="store"' in line and 'decision="miss"' in line for line in decisions)


def test_no_secret_is_in_a_log(cluster: list[Runtime], strict: Runtime) -> None:
    text = "".join(runtime.log.read_text() for runtime in [*cluster, strict])
    assert not [secret for secret in spellings() if secret in text]
