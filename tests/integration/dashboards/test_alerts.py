"""Alerts with a real ClickHouse and a real receiver: they fire, are resolved, and outlive restarts of everything."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from dashboards.viewer import evaluation
from dashboards.viewer.evaluation import Evaluation
from dashboards.viewer.history import History
from dashboards.viewer.links import Links
from dashboards.viewer.notify import Notifier
from dashboards.viewer.queries import ClickHouse as Queries
from dashboards.viewer.rules import Rule
from dashboards.viewer.settings import Settings
from stack.ports import find_free
from telemetry.clickhouse.client import connect
from tests.integration.conftest import ClickHouse
from tests.integration.dashboards.viewing import problem, viewing
from tests.integration.runtimes import until
from tests.servers import answering

RULE: dict[str, Any] = {
    "name": "AgentDurationOverObjective",
    "title": "An agent is slow",
    "group": "agents",
    "severity": "critical",
    "sql": "SELECT agent_id, value, 30. AS objective, trace_id FROM measured WHERE at = (SELECT max(at) FROM measured)",
    "labels": ["agent_id"],
    "for_seconds": 0,
    "unit": "s",
    "summary": "{agent_id}: p95 {value} over its objective of {objective}",
    "description": "The 95th percentile of its runs.",
    "board": "agent",
    "runbook": "docs/alerts.md#agentdurationoverobjective",
}
TEXT = {**RULE, "name": "Text", "sql": "SELECT 'a' AS agent_id, 'x' AS value, 1 AS objective, '' AS trace_id"}
BROKEN = {**RULE, "name": "Broken", "sql": "SELECT * FROM no_such_table"}
COLUMNLESS = {**RULE, "name": "Columnless", "sql": "SELECT 'a' AS agent_id, 1 AS value"}


@dataclass
class Receiver:
    """Takes what Alertmanager would send. `answers`: the status of each request to come; then 200."""

    port: int
    answers: list[int] = field(default_factory=list)
    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # (authorization, body)
    free: threading.Event = field(default_factory=threading.Event)  # cleared: it takes requests and does not answer

    def __post_init__(self) -> None:
        self.free.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/alerts"

    @property
    def alerts(self) -> list[tuple[str, str]]:
        """(status, agent) of what was taken, in order; what is of no agent by its rule."""
        alerts = [alert for _, body in self.seen for alert in body["alerts"]]
        return [(one["status"], one["labels"].get("agent_id", one["labels"]["alertname"])) for one in alerts]


@contextmanager
def listening(receiver: Receiver) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            receiver.free.wait(60)
            status = receiver.answers.pop(0) if receiver.answers else 200
            if status == 200:
                receiver.seen.append((self.headers["authorization"], body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    with answering(ThreadingHTTPServer(("127.0.0.1", receiver.port), Handler)):
        yield


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver(find_free(set()))
    with listening(receiver):
        yield receiver


Measure = Callable[..., None]


@pytest.fixture
def writing(database: ClickHouse) -> Iterator[Client]:
    client = connect(database.otel_url)
    client.command("CREATE TABLE measured (at UInt64, agent_id String, value Float64, trace_id String) ORDER BY at")
    yield client
    client.command("DROP TABLE IF EXISTS measured")
    client.close()


@pytest.fixture
def measure(writing: Client) -> Measure:
    """What the rule's query finds from now on."""
    times = iter(range(1, 1000))

    def measured(**values: float) -> None:
        at = next(times)
        rows = [[at, agent, value, f"trace-of-{agent}"] for agent, value in values.items()] or [[at, "none", 0.0, ""]]
        writing.insert("measured", rows, column_names=["at", "agent_id", "value", "trace_id"])

    return measured


@dataclass
class Alerts:
    """The engine, step by step, with a clock of the test's. `restart` makes all of it anew from the file."""

    directory: Path
    url: str
    receiver: Receiver
    rules: tuple[dict[str, Any], ...] = (RULE,)
    now: float = 1_800_000_000.0

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        settings = Settings(
            clickhouse_readonly_url=self.url, phoenix_url="http://phoenix.example", dashboards_url="http://page.example"
        )
        links = Links(settings)
        self.history = History(self.directory / "alerts.sqlite")
        self.clickhouse = Queries(settings.clickhouse_readonly_url)
        rules = [Rule.model_validate(rule) for rule in self.rules]
        self.evaluation = Evaluation(rules, self.clickhouse, self.history, links, posts=True)
        self.notifier = Notifier(self.receiver.url, "secret", self.history, links)

    def close(self) -> None:
        self.notifier.close()
        self.history.close()
        self.clickhouse.close()

    def step(self, seconds: float = 30) -> list[tuple[str, str]]:
        """One evaluation and what it posts; answers all that the receiver has taken so far."""
        self.now += seconds
        self.evaluation.run(self.now)
        self.notifier.deliver(self.now)
        return self.receiver.alerts

    @property
    def states(self) -> dict[str, str]:
        return {json.loads(one.labels).get("agent_id", one.rule): one.state for one in self.history.instances()}


@pytest.fixture
def alerts(database: ClickHouse, measure: Measure, receiver: Receiver, tmp_path: Path) -> Iterator[Alerts]:
    alerts = Alerts(tmp_path, database.readonly_url, receiver)
    yield alerts
    alerts.close()


def test_it_fires_once_and_is_resolved_once(alerts: Alerts, measure: Measure) -> None:
    measure(slow=45.2, quick=3)
    assert alerts.step() == alerts.step() == [("firing", "slow")]
    measure(slow=10, quick=3)
    assert alerts.step() == [("firing", "slow")]  # one evaluation without a breach is not the end
    assert alerts.step() == alerts.step() == [("firing", "slow"), ("resolved", "slow")]
    assert alerts.states == {}
    assert [(entry["state"], entry["labels"]) for entry in alerts.history.entries()] == [
        ("resolved", {"agent_id": "slow"}),
        ("firing", {"agent_id": "slow"}),
    ]


def test_what_is_posted_is_alertmanagers(alerts: Alerts, measure: Measure) -> None:
    measure(slow=45.2, slower=130)
    alerts.step()
    ((authorization, body),) = alerts.receiver.seen
    assert authorization == "Bearer secret"
    assert {name: body[name] for name in ("version", "groupKey", "status", "groupLabels", "truncatedAlerts")} == {
        "version": "4",
        "groupKey": '{}:{alertname="AgentDurationOverObjective"}',
        "status": "firing",
        "groupLabels": {"alertname": "AgentDurationOverObjective"},
        "truncatedAlerts": 0,
    }
    assert body["commonLabels"] == {"alertname": "AgentDurationOverObjective", "severity": "critical"}
    assert "summary" not in body["commonAnnotations"] and body["commonAnnotations"]["objective"] == "30"
    slow, slower = body["alerts"]
    assert slow["labels"]["agent_id"] == "slow" and slow["fingerprint"] != slower["fingerprint"]
    assert slow["annotations"] == {
        "title": "An agent is slow",
        "summary": "slow: p95 45.2 s over its objective of 30 s",
        "description": "The 95th percentile of its runs.",
        "value": "45.2",
        "objective": "30",
        "unit": "s",
        "trace_id": "trace-of-slow",
        "trace_url": "http://phoenix.example/redirects/traces/trace-of-slow",
        "dashboard_url": "http://page.example/dashboards/agent?var-agent=slow&from=1799996430000&to=1800003630000",
        "runbook_url": "http://page.example/dashboards/docs/alerts#agentdurationoverobjective",
    }
    assert (slow["startsAt"], slow["endsAt"]) == ("2027-01-15T08:00:30.000Z", "0001-01-01T00:00:00Z")
    measure()
    alerts.step()
    alerts.step()
    (_, ended) = alerts.receiver.seen[-1]
    assert ended["status"] == "resolved" and ended["alerts"][0]["endsAt"] == "2027-01-15T08:01:30.000Z"
    assert ended["alerts"][0]["fingerprint"] == slow["fingerprint"]


def test_a_restart_neither_forgets_nor_fires_again(alerts: Alerts, measure: Measure) -> None:
    measure(slow=45)
    alerts.step()
    for _ in range(2):
        alerts.close()
        alerts.restart()
        assert alerts.step() == [("firing", "slow")]
    measure()
    alerts.step()
    alerts.close()
    alerts.restart()  # between the two evaluations that it takes to be resolved
    assert alerts.step() == [("firing", "slow"), ("resolved", "slow")]


def test_it_waits_for_as_long_as_its_rule_says(alerts: Alerts, measure: Measure) -> None:
    alerts.rules = ({**RULE, "for_seconds": 60},)
    alerts.close()
    alerts.restart()
    measure(slow=45)
    assert alerts.step() == [] and alerts.states == {"slow": "pending"}
    measure(slow=3)
    assert alerts.step() == [] and alerts.states == {}
    measure(slow=45)
    alerts.step()
    assert alerts.step() == []
    alerts.close()
    alerts.restart()
    assert alerts.step() == [("firing", "slow")]


def test_a_receiver_that_is_away_gets_it_later_and_once(alerts: Alerts, measure: Measure) -> None:
    measure(slow=45)
    alerts.receiver.answers = [500, 503, 429]
    assert alerts.step() == []
    alerts.close()
    alerts.restart()
    assert alerts.step() == alerts.step() == [("firing", "slow")]
    alerts.receiver.answers = [502]  # tried again at once
    measure()
    alerts.step()
    assert alerts.step() == [("firing", "slow"), ("resolved", "slow")]


def test_what_fired_and_ended_while_the_receiver_was_away_is_told_as_ended(alerts: Alerts, measure: Measure) -> None:
    measure(slow=45)
    alerts.receiver.answers = [500] * 6
    alerts.step()
    measure()
    alerts.step()
    assert alerts.step() == [("resolved", "slow")]


def test_what_begins_again_before_its_end_was_posted_goes_on(alerts: Alerts, measure: Measure) -> None:
    measure(slow=45)
    alerts.step()
    measure()
    alerts.step()
    alerts.receiver.answers = [500] * 3
    alerts.step()
    measure(slow=50)
    assert alerts.step() == [("firing", "slow")] * 2
    first, second = (body["alerts"][0] for _, body in alerts.receiver.seen)
    assert second["startsAt"] == first["startsAt"]
    measure()
    alerts.step()
    assert alerts.step()[2:] == [("resolved", "slow")]


def test_what_nobody_takes_is_not_sent_again_and_again(
    alerts: Alerts, measure: Measure, caplog: pytest.LogCaptureFixture
) -> None:
    measure(slow=45)
    alerts.receiver.answers = [404]
    assert alerts.step() == alerts.step() == []
    assert [record.message for record in caplog.records if "nobody takes alerts" in record.message]
    assert not alerts.receiver.answers


def test_a_query_that_fails_resolves_nothing(alerts: Alerts, measure: Measure, writing: Client) -> None:
    measure(slow=45)
    alerts.step()
    writing.command("RENAME TABLE measured TO elsewhere")
    assert alerts.step() == alerts.step() == [("firing", "slow")]
    assert alerts.step() == [("firing", "slow"), ("firing", "AlertsNotEvaluated")]  # blind for a minute
    assert "measured" in alerts.evaluation.current.errors[RULE["name"]]
    assert alerts.evaluation.current.error is None
    writing.command("RENAME TABLE elsewhere TO measured")
    alerts.step()
    assert alerts.step()[2:] == [("resolved", "AlertsNotEvaluated")]
    assert alerts.states == {"slow": "firing"} and not alerts.evaluation.current.errors


def test_one_wrong_rule_leaves_the_others_alone(alerts: Alerts, measure: Measure) -> None:
    alerts.rules = (BROKEN, COLUMNLESS, TEXT, RULE)
    alerts.close()
    alerts.restart()
    measure(slow=45)
    assert alerts.step() == [("firing", "slow")]
    errors = alerts.evaluation.current.errors
    assert "no_such_table" in errors["Broken"] and "'objective'" in errors["Columnless"]
    assert "no number" in errors["Text"]


def test_an_alert_whose_rule_is_gone_is_resolved(alerts: Alerts, measure: Measure) -> None:
    measure(slow=45)
    alerts.step()
    alerts.rules = ()
    alerts.close()
    alerts.restart()
    alerts.step()
    assert alerts.step() == [("firing", "slow"), ("resolved", "slow")]


def test_an_alert_that_goes_on_is_posted_again_after_hours(alerts: Alerts, measure: Measure) -> None:
    measure(slow=45)
    alerts.step()
    assert len(alerts.step(evaluation.REPEAT_SECONDS - 60)) == 1
    measure(slow=50)
    assert alerts.step(60) == [("firing", "slow")] * 2
    assert alerts.receiver.seen[-1][1]["alerts"][0]["annotations"]["value"] == "50"
    assert alerts.receiver.seen[-1][1]["alerts"][0]["startsAt"] == "2027-01-15T08:00:30.000Z"


def test_the_page_shows_them(database: ClickHouse, measure: Measure, receiver: Receiver, tmp_path: Path) -> None:
    measure(slow=45.2, quick=3, quicker=1)
    settings = {"alert_webhook_url": receiver.url, "alert_webhook_secret": "s"}
    with viewing(tmp_path, database.readonly_url, [RULE, BROKEN], **settings) as page:
        until(lambda: receiver.alerts, 60)
        found = page.alerts()
        slow_rule, broken, _ = found["rules"]
        assert (slow_rule["state"], broken["state"]) == ("firing", "error")
        assert "no_such_table" in broken["error"] and found["error"] is None
        assert [(one["labels"]["agent_id"], one["state"]) for one in slow_rule["instances"]] == [
            ("slow", "firing"),
            ("quick", "ok"),
            ("quicker", "ok"),
        ]
        assert slow_rule["instances"][0]["summary"] == "slow: p95 45.2 s over its objective of 30 s"
        (entry,) = found["history"]
        assert (entry["rule"], entry["state"], entry["value"]) == (RULE["name"], "firing", 45.2)
        (mark,) = page.get("/dashboards/api/boards/fleet/annotations?from=now-1h").json()[-1:]
        assert mark["kind"] == "alert" and RULE["name"] in mark["title"]
        assert page.get("/dashboards/docs/nothing").status_code == 404
        problem(page.get("/dashboards/docs/..%2fREADME"), 404)
    with viewing(tmp_path, database.readonly_url, [RULE, BROKEN], **settings) as page:
        until(lambda: page.alerts()["evaluated_at"], 60)
        assert page.alerts()["rules"][0]["state"] == "firing"
    assert receiver.alerts == [("firing", "slow")]


def test_a_receiver_that_hangs_does_not_hold_up_the_evaluation(
    database: ClickHouse, measure: Measure, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.free.clear()
    measure(slow=45)
    with viewing(tmp_path, database.readonly_url, [RULE], alert_webhook_url=receiver.url) as page:
        until(lambda: page.alerts()["rules"][0]["state"] == "firing", 60)
        measure(slow=45, quick=45)
        until(lambda: len(page.alerts()["history"]) == 2, 60)  # that it fires too was found meanwhile
        assert not receiver.seen
        receiver.free.set()
        until(lambda: set(receiver.alerts) >= {("firing", "slow"), ("firing", "quick")}, 60)


def test_alerts_without_clickhouse(database: ClickHouse, tmp_path: Path) -> None:
    nowhere = database.readonly_url.replace(f":{database.http_port}/", ":1/")
    with viewing(tmp_path, nowhere, [RULE]) as page:
        until(lambda: page.alerts()["evaluated_at"], 60)
        found = page.alerts()
        assert found["error"] == "ClickHouse does not answer"
        assert found["rules"][0]["state"] == "error"
        assert page.get("/dashboards/api/health").json()["error"] == "ClickHouse does not answer"
