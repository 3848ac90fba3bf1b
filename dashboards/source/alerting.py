"""Everything that alerts are made of, as the files that are committed."""

import json
from pathlib import Path
from typing import Any

import yaml

from dashboards.source import agent_rules, stack_rules
from dashboards.source.grafana_rules import provisioning
from dashboards.source.objectives import Objectives, load
from dashboards.source.prometheus_rules import COMMENT, rules_file
from dashboards.source.rules import Rule

_MADE = "# Made by `make generate` out of dashboards/objectives.toml and dashboards/source: edit those.\n"


def all_rules(objectives: Objectives) -> list[Rule]:
    return [*agent_rules.rules(objectives), *stack_rules.rules(objectives)]


def files(objectives: Objectives | None = None) -> dict[Path, str]:
    """The texts by their paths below dashboards/. Raises InvalidObjectives, and KeyError for what no instrument is."""
    objectives = objectives or load()
    rules = all_rules(objectives)
    alerts = [rule.as_json() for rule in rules]
    return {
        Path("alerts.json"): json.dumps(alerts, indent=2, ensure_ascii=False) + "\n",
        Path("grafana/provisioning/alerting/rules.yaml"): _MADE + _yaml(provisioning(rules, objectives.links)),
        Path("prometheus/rules.yaml"): COMMENT + _yaml(rules_file(rules, objectives)),
    }


class _Dumper(yaml.SafeDumper):
    """Queries as blocks, in the order in which they are given, without anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _yaml(value: dict[str, Any]) -> str:
    found: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return found
