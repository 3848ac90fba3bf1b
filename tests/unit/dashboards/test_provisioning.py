"""Grafana's provisioning files: as Grafana reads them, and together. And that mistakes in such files are found."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from stack.clickhouse import FILES
from stack.process import PROJECT
from tests.validators import provisioning
from tests.validators.tools import AMTOOL

GRAFANA = PROJECT / "dashboards" / "grafana"
RULE = """
orgId: 1
name: agents
folder: Agents
interval: 30s
rules:
  - uid: slow
    title: Slow
    condition: C
    noDataState: OK
    execErrState: Error
    for: 1m
    labels: {severity: warning}
    annotations: {summary: "{{ $labels.agent_id }}: {{ $values.A.Value }}"}
    data:
      - refId: A
        relativeTimeRange: {from: 600, to: 0}
        datasourceUid: clickhouse
        model: {refId: A, editorType: sql, rawSql: "SELECT 1", format: 1}
      - refId: C
        datasourceUid: __expr__
        model: {refId: C, type: math, expression: $A > 2}
"""


def test_the_dashboards_that_alerts_link_to_are_there() -> None:
    linked = set(re.findall(r"\bd/([a-z-]+)", (GRAFANA / "provisioning" / "alerting" / "rules.yaml").read_text()))
    assert linked <= {file.stem for file in (GRAFANA / "dashboards").glob("*.json")} and linked


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A copy of the files with one small rule, to be changed."""
    shutil.copytree(GRAFANA / "provisioning", tmp_path, dirs_exist_ok=True)
    (tmp_path / "alerting" / "rules.yaml").write_text(
        yaml.safe_dump({"apiVersion": 1, "groups": [yaml.safe_load(RULE)]})
    )
    return tmp_path


def test_the_files_are_what_grafana_takes() -> None:
    assert provisioning.problems(GRAFANA / "provisioning", GRAFANA / "optional") == []


def test_a_rule_as_it_should_be_passes(files: Path) -> None:
    assert provisioning.problems(files) == []


def source(content: Any) -> Any:
    return content["datasources"][0]


def rule(content: Any) -> Any:
    return content["groups"][0]["rules"][0]


def receiver(content: Any) -> Any:
    return content["contactPoints"][0]["receivers"][0]


BROKEN: list[tuple[str, Callable[[Any], object], str]] = [
    ("datasources/stack", lambda c: source(c).update(isdefault=True), "isdefault: Extra inputs"),
    ("datasources/stack", lambda c: source(c).pop("isDefault"), "not exactly one datasource is the default"),
    ("datasources/stack", lambda c: source(c)["jsonData"].update(otelEnabled=True), "jsonData.otelEnabled: Extra"),
    (
        "datasources/stack",
        lambda c: source(c)["jsonData"]["traces"].pop("traceIdColumn"),
        "traceIdColumn: Field required",
    ),
    (
        "datasources/stack",
        lambda c: source(c)["secureJsonData"].update(password="secret"),
        "password: String should match",
    ),
    ("datasources/stack", lambda c: source(c)["jsonData"].update(port="9000x"), "port"),
    ("datasources/stack", lambda c: source(c).update(type="clickhouse"), "does not match any of the expected tags"),
    ("datasources/stack", lambda c: c["datasources"].append(source(c)), "the datasource clickhouse is there twice"),
    ("dashboards/stack", lambda c: c["providers"][0].update(allowUIUpdates=False), "allowUIUpdates: Extra"),
    ("dashboards/stack", lambda c: c["providers"][0].update(updateIntervalSeconds="30"), "should be a valid integer"),
    ("alerting/contact-points", lambda c: receiver(c)["settings"].update(authorization_scheme=1), "valid string"),
    ("alerting/contact-points", lambda c: receiver(c)["settings"].pop("url"), "url: Field required"),
    (
        "alerting/contact-points",
        lambda c: receiver(c)["settings"].update(title='{{ template "agent.title" . }}'),
        "agent.title is not",
    ),
    ("alerting/policies", lambda c: c["policies"][0].update(reciever="agents"), "reciever: Extra"),
    ("alerting/policies", lambda c: c["policies"][0].update(receiver="people"), "people is no contact point"),
    ("alerting/policies", lambda c: c["policies"][0].update(group_wait="10"), "group_wait: String should match"),
    ("alerting/policies", lambda c: c["policies"].append(c["policies"][0]), "two trees"),
    ("alerting/templates", lambda c: c["templates"][0].update(template="Alerts!"), "template: String should match"),
    ("alerting/rules", lambda c: rule(c).update(noDataState="Ok"), "noDataState: Input should be"),
    ("alerting/rules", lambda c: rule(c).update(condition="B"), "the condition 'B' is not one of"),
    ("alerting/rules", lambda c: rule(c)["data"][1]["model"].update(expression="$A > $O"), "made of ['O']"),
    ("alerting/rules", lambda c: rule(c)["data"][1]["model"].update(type="maths"), "no expression has the type"),
    ("alerting/rules", lambda c: rule(c)["data"][0]["model"].pop("rawSql"), "neither rawSql nor expr"),
    ("alerting/rules", lambda c: rule(c)["data"][0].update(datasourceUid="clickhaus"), "no datasource clickhaus"),
    ("alerting/rules", lambda c: rule(c)["labels"].update(agent="{{ $labels.agent_id }}"), "write $$ for $"),
    ("alerting/rules", lambda c: rule(c)["annotations"].update(url="${URL}/x"), "expand from the environment"),
    ("alerting/rules", lambda c: rule(c).update(dashboardUid="agent"), "go together"),
    ("alerting/rules", lambda c: c["groups"][0].update(interval="15s"), "interval: String should match"),
    ("alerting/rules", lambda c: c["groups"][0]["rules"].append(rule(c)), "the rule slow is there twice"),
]


@pytest.mark.parametrize(("name", "breaks", "problem"), BROKEN)
def test_a_mistake_is_said(files: Path, name: str, breaks: Callable[[Any], object], problem: str) -> None:
    file = files / f"{name}.yaml"
    content = yaml.safe_load(file.read_text())
    breaks(content)
    file.write_text(yaml.safe_dump(content))
    assert problem in "\n".join(provisioning.problems(files))


def test_what_keeps_grafana_from_starting_is_not_there(files: Path) -> None:
    """Anything but YAML beside the rules; a receiver whose address is empty when a variable is not set."""
    (files / "alerting" / "notes.txt").touch()
    assert "notes.txt" in provisioning.problems(files)[0]
    content = yaml.safe_load((GRAFANA / "provisioning" / "alerting" / "contact-points.yaml").read_text())
    for point in content["contactPoints"]:
        for each in point["receivers"]:
            assert not re.fullmatch(r"\$\w+", each["settings"]["url"])


def test_the_plugin_does_not_ask_for_more_time_than_its_user_has() -> None:
    """clickhouse-go 2.47 asks for 5 s more than the plugin waits; what is beyond the user's limit is refused."""
    content = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "stack.yaml").read_text())
    limit = ElementTree.parse(FILES / "users.xml").findtext("profiles/reader/max_execution_time")
    assert int(source(content)["jsonData"]["queryTimeout"]) + 5 <= int(limit or 0)


def test_the_variables_are_documented() -> None:
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", (PROJECT / "docs" / "grafana.md").read_text(), re.MULTILINE))
    assert provisioning.variables(GRAFANA) == documented


def alert(status: str, **annotations: str) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": "AgentDurationOverObjective", "agent_id": "support", "severity": "critical"},
        "annotations": annotations,
        "startsAt": "2026-11-22T01:02:03Z",
    }


def rendered(tmp_path: Path, name: str, *alerts: dict[str, Any]) -> str:
    """The message template, as Alertmanager's own engine writes it."""
    content = yaml.safe_load((GRAFANA / "provisioning" / "alerting" / "templates.yaml").read_text())
    (tmp_path / "agents.tmpl").write_text(content["templates"][0]["template"])
    labels = {"alertname": "AgentDurationOverObjective", "agent_id": "support"}
    data = {"status": "firing", "receiver": "agents", "groupLabels": labels, "alerts": list(alerts)}
    (tmp_path / "data.json").write_text(json.dumps(data))
    text = f'--template.text={{{{ template "{name}" . }}}}'
    done = AMTOOL.run(
        "template", "render", f"--template.glob={tmp_path}/*.tmpl", f"--template.data={tmp_path}/data.json", text
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_message_has_what_one_needs_to_know(tmp_path: Path) -> None:
    slow = alert(
        "firing",
        summary="support: p95 14.2 s over its objective of 10 s",
        description="Runs take longer than promised.",
        value="14.2",
        objective="10",
        unit="s",
        trace_id="0af7651916cd43dd8448eb211c80319c",
        trace_url="http://127.0.0.1:6006/redirects/traces/0af7651916cd43dd8448eb211c80319c",
        dashboard_url="http://127.0.0.1:3000/d/agent?var-agent=support",
        runbook_url="https://example.com/docs/alerts.md#agentdurationoverobjective",
    )
    assert rendered(tmp_path, "agents.message", slow, alert("resolved")).splitlines() == [
        "CRITICAL: support: p95 14.2 s over its objective of 10 s",
        "Agent: support",
        "Value: 14.2 s, objective: 10",
        "What it means: Runs take longer than promised.",
        "Worst trace: 0af7651916cd43dd8448eb211c80319c http://127.0.0.1:6006/redirects/traces/0af7651916cd43dd8448eb211c80319c",
        "Dashboard: http://127.0.0.1:3000/d/agent?var-agent=support",
        "Runbook: https://example.com/docs/alerts.md#agentdurationoverobjective",
        "Since: 2026-11-22 01:02:03 UTC",
        "",
        "RESOLVED: AgentDurationOverObjective",
        "Agent: support",
        "Since: 2026-11-22 01:02:03 UTC",
    ]


def test_a_title_says_what_and_who(tmp_path: Path) -> None:
    assert rendered(tmp_path, "agents.title", alert("firing")) == "1 firing: AgentDurationOverObjective of support"
    assert (
        rendered(tmp_path, "agents.title", alert("resolved")).strip()
        == "resolved: AgentDurationOverObjective of support"
    )
