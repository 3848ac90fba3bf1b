"""Objectives and what is made of them: a mistake is named, and every file says the same of every rule."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.source import prometheus_rules
from dashboards.source.alerting import all_rules, files
from dashboards.source.metric import Metric, text
from dashboards.source.objectives import Agent, InvalidObjectives, Stack, load, parse
from dashboards.source.prometheus_rules import exposed
from telemetry.catalogue import INSTRUMENTS
from tests.integration.alerts import OBJECTIVES, objectives
from tests.unit.conftest import Recorded
from tests.unit.test_exposition import everything
from tests.validators.tools import PROMTOOL

ROOT = Path(__file__).parents[3]
PROMETHEUS = ROOT / "dashboards" / "prometheus"
RULES = {rule.name: rule for rule in all_rules(objectives())}


@cache
def of_file(name: str) -> Any:
    (found,) = [text for path, text in files(objectives()).items() if str(path) == name]
    return yaml.load(found, yaml.CSafeLoader)


def grafanas() -> dict[str, Any]:
    groups = of_file("grafana/provisioning/alerting/rules.yaml")["groups"]
    return {rule["title"]: rule for group in groups for rule in group["rules"]}


def prometheus() -> dict[str, Any]:
    groups = of_file("prometheus/rules.yaml")["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def test_an_agent_has_the_defaults_but_for_what_it_says() -> None:
    found = objectives()
    assert found.agents["patient"].duration_p95 == 100
    assert found.differing("duration_p95") == {"patient": 100.0}
    only = parse(OBJECTIVES.replace("duration_p95 = 100\n", ""))
    assert only.agents["patient"].duration_p95 == 10 and only.differing("duration_p95") == {}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("duration_p95 = 100", "duration = 100", "agents.patient.duration: Extra inputs"),
        ("duration_p95 = 100", 'duration_p95 = "100"', "agents.patient.duration_p95: Input should be a valid number"),
        ("error_rate = 0.5", "error_rate = 5", "agents.patient.error_rate: Input should be less than 1"),
        ("cost_per_day = 2\n", "", "defaults.cost_per_day: Field required"),
        ("cost_per_day = 2\n", "cost_per_day = nan\n", "defaults.cost_per_day: Input should be a finite number"),
        ("queue_age = 300", "queue_age = 0", "stack.queue_age: Input should be greater than 0"),
        ("[agents.patient]", '[agents."it\'s"]', "agents: Value error, \"it's\" is no agent's id"),
        ("[agents.patient]", "[agent.patient]", "agent: Extra inputs"),
        ("https://docs.example/alerts", "docs", "links.runbook: Value error, is no address"),
        ("[stack]", "[stack", "objectives.toml: "),
    ],
)
def test_a_mistake_names_its_key(old: str, new: str, said: str) -> None:
    assert old in OBJECTIVES
    with pytest.raises(InvalidObjectives, match=re.escape(said)):
        parse(OBJECTIVES.replace(old, new))


def test_names_are_of_the_catalogue() -> None:
    for wrong in (
        lambda: Metric("agno.agent.run"),
        lambda: Metric("agno.agent.runs").attribute("agent"),
        lambda: Metric("agno.agent.runs").value("status", "failed"),
    ):
        with pytest.raises(KeyError):
            wrong()
    assert text("it's a \\") == r"'it\'s a \\'"


def test_prometheus_names_are_those_that_are_exposed(recorded: Recorded) -> None:
    shown = set(re.findall(r"^# TYPE (\S+)", everything(recorded).prometheus()[0].decode(), re.MULTILINE))
    assert {exposed(instrument.name) for instrument in INSTRUMENTS} == shown
    used = set(re.findall(r"\bagno_\w+", "\n".join(rule["expr"] for rule in prometheus().values())))
    assert used and {re.sub("_(bucket|count)$", "", name) for name in used} <= shown


def test_every_rule_is_in_every_file_alike() -> None:
    assert {alert["name"] for alert in of_file("alerts.json")} == set(RULES) == set(grafanas()) == set(prometheus())
    for name, rule in RULES.items():
        for found in (grafanas()[name], prometheus()[name]):
            assert found["labels"] == {"severity": rule.severity, "group": rule.group}
            notes = found["annotations"]
            assert (
                notes["runbook_url"] == f"https://docs.example/alerts#{rule.anchor}"
                and rule.board in notes["dashboard_url"]
            )
            assert {"summary", "description", "value", "objective", "unit"} <= notes.keys()
            assert ("agent" in notes) == ("agent_id" in rule.labels)
            assert not re.search(r"(?<!\{)\{(?!\{)|\$\{", notes["summary"] + notes["objective"]), name


def test_grafanas_rules_compare_two_projections_and_know_the_trace() -> None:
    uids = [rule["uid"] for rule in grafanas().values()]
    assert len(set(uids)) == len(uids) and all(re.fullmatch(r"[a-z-]{1,40}", uid) for uid in uids)
    for name, rule in grafanas().items():
        queries = {query["refId"]: query["model"] for query in rule["data"]}
        assert rule["condition"] == "C" and queries["C"]["expression"] == "$A > $O"
        assert (rule["noDataState"], rule["execErrState"]) == ("OK", "Error")
        for ref in "AOW":
            assert RULES[name].sql in queries[ref]["rawSql"] and "$" not in queries[ref]["rawSql"]
        assert rule["annotations"]["trace_id"] == "{{ $values.W.Labels.trace_id }}"
        assert rule["annotations"]["trace_url"].startswith(
            "{{ with $values.W.Labels.trace_id }}{{ externalURL }}d/run?var-run_id="
        )


def test_every_rule_has_its_section_in_the_runbook_and_every_objective_its_line() -> None:
    page = (ROOT / "docs" / "alerts.md").read_text()
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert headings[:2] == ["How they are evaluated", "Change an objective"]
    assert sorted(headings[2:]) == sorted(RULES)
    for section in page.split("\n## ")[3:]:
        for part in ("**What it means.**", "**Look first**", "**Usual causes.**", "**What to do.**", "**Objective:**"):
            assert part in section, section.split("\n")[0]
    assert re.findall(r"^\| `(\w+)`", page, re.MULTILINE) == [*Agent.model_fields, *Stack.model_fields]
    assert set(re.findall(r"\(#(\w+)\)", page)) <= {rule.anchor for rule in RULES.values()}


def test_the_agents_that_have_objectives_are_there() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "agents").glob("*.py"))
    assert {name for name in load().agents if f'id="{name}"' not in sources} == set()


@pytest.mark.timeout(600)  # hours of samples, evaluated: seconds on a quiet machine
def test_prometheus_rules_fire_and_do_not_fire() -> None:
    assert PROMTOOL.run("check", "rules", "rules.yaml", cwd=PROMETHEUS).returncode == 0
    tested = PROMTOOL.run("test", "rules", "tests.yaml", cwd=PROMETHEUS)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    cases = yaml.safe_load((PROMETHEUS / "tests.yaml").read_text())["tests"]
    asked = [test for case in cases for test in case["promql_expr_test"]]
    fired = {re.findall('alertname="([^"]+)"', test["expr"])[0] for test in asked if test["exp_samples"]}
    assert fired == set(RULES), "each fires in a test"


def test_what_prometheus_says_of_an_alert(tmp_path: Path) -> None:
    """An agent's own objective is in its texts."""
    rules = files(objectives())[Path("prometheus/rules.yaml")]
    (tmp_path / "rules.yaml").write_text(rules)
    annotations = {
        "summary": "patient: 100% of the runs fail, the objective is 50 %",
        "description": prometheus()["AgentErrorRate"]["annotations"]["description"],
        "value": "1",
        "objective": "50 %",
        "unit": "percentunit",
        "runbook_url": "https://docs.example/alerts#agenterrorrate",
        "dashboard_url": "https://boards.example/agent?var-agent=patient",
        "agent": "patient",
    }
    labels = {"severity": "warning", "group": "agents", "agent_id": "patient"}
    alert = {"exp_labels": labels, "exp_annotations": annotations}
    test = {
        "interval": "1m",
        "input_series": [{"series": 'agno_agent_runs_total{agent_id="patient", status="error"}', "values": "0+2x20"}],
        "alert_rule_test": [{"eval_time": "15m", "alertname": "AgentErrorRate", "exp_alerts": [alert]}],
    }
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": [test]}))
    tested = PROMTOOL.run("test", "rules", "tests.yaml", cwd=tmp_path)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_an_objective_that_no_bucket_reaches_is_not_watched_by_prometheus() -> None:
    far = parse(OBJECTIVES.replace("duration_p95 = 100", "duration_p95 = 5000"))
    expression, _ = prometheus_rules.Expressions(far).all()["AgentDurationOverObjective"]
    assert 'agent_id=~"patient"' not in expression and 'agent_id!~"patient"' in expression
