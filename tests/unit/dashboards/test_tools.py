"""promtool and amtool are there and do their work; where they cannot be had, a test fails and says why."""

from pathlib import Path

import pytest

from tests.validators import tools
from tests.validators.tools import AMTOOL, PROMTOOL

RULES = """
groups:
  - name: agents
    rules:
      - alert: QueueTooOld
        expr: max(agno_queue_oldest_age_seconds) > 60
        for: 1m
"""
CASES = """
rule_files: [rules.yaml]
tests:
  - interval: 1m
    input_series:
      - series: agno_queue_oldest_age_seconds{queue="default"}
        values: 10 30 90 120 150
    alert_rule_test:
      - {eval_time: 1m, alertname: QueueTooOld}
      - {eval_time: 4m, alertname: QueueTooOld, exp_alerts: [{}]}
"""


def test_promtool_checks_and_tests_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "cases.yaml").write_text(CASES)
    assert PROMTOOL.run("check", "rules", "rules.yaml", cwd=tmp_path).returncode == 0
    assert PROMTOOL.run("test", "rules", "cases.yaml", cwd=tmp_path).returncode == 0
    (tmp_path / "rules.yaml").write_text(RULES.replace("> 60", "> 600"))
    assert "QueueTooOld" in PROMTOOL.run("test", "rules", "cases.yaml", cwd=tmp_path).stderr
    (tmp_path / "rules.yaml").write_text(RULES.replace("max(", "maximum("))
    assert PROMTOOL.run("check", "rules", "rules.yaml", cwd=tmp_path).returncode != 0


def test_amtool_checks_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "good.yml").write_text("route: {receiver: agents}\nreceivers: [{name: agents}]\n")
    (tmp_path / "bad.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: agents}]\n")
    assert AMTOOL.run("check-config", "good.yml", cwd=tmp_path).returncode == 0
    assert AMTOOL.run("check-config", "bad.yml", cwd=tmp_path).returncode != 0


def test_a_tool_that_cannot_be_had_is_an_error_with_all_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No programs, no cache, no Go."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setattr(tools, "CACHE", tmp_path / "validators")
    with pytest.raises(RuntimeError, match=r"install Debian's package prometheus\n.*apt-get(.|\n)*no Go"):
        PROMTOOL.path()
