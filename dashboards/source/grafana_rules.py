"""Grafana's file of alert rules (11.6): dashboards/grafana/provisioning/alerting/rules.yaml.

A rule asks ClickHouse for three projections of its query and compares two of them:

    A  labels + value       O  labels + objective       W  labels + trace_id + value       C  $A > $O

What makes that work, in Grafana's source:

- A table with exactly one number column, and otherwise strings, becomes a number for each row, with the strings as its
  labels (pkg/expr/converter.go: isNumberTable, extractNumberSet). So value and objective cannot come in one query, and
  no column may be a time, nor the number be missing: extractNumberSet makes 0 of a NULL.
- `$values` in an annotation holds each query whose labels are those of the condition, contain them or are contained in
  them (pkg/services/ngalert/eval/eval.go: queryDataResponseToExecutionResults). W's contain those of C and one more, so
  the trace is `$values.W.Labels.trace_id`, and is no label of the alert: a new worst trace is not a new alert.
- A query without rows is NoData, which is OK here. NaN would be Alerting: no rule answers one.
- Queries are taken from the file as they are, annotations without replacing `$labels` by variables of the environment
  (pkg/services/provisioning/alerting/rules_types.go); newer versions replace `${...}`, so there is none.
- Annotations have $labels, $values and Prometheus' functions (pkg/services/ngalert/state/template/template.go).
"""

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from dashboards.source.objectives import Links
from dashboards.source.query import DATASOURCE, target
from dashboards.source.rules import Rule

FOLDER = "Agents"
INTERVAL = "30s"

# How a number of a unit is written in an annotation.
FORMATS = {
    "s": "{{{{ humanizeDuration {} }}}}",
    "percentunit": "{{{{ humanizePercentage {} }}}}",
    "currencyUSD": '{{{{ printf "%.2f" {} }}}} USD',
    "short": '{{{{ printf "%.3g" {} }}}}',
}


def provisioning(rules: Sequence[Rule], links: Links) -> dict[str, Any]:
    groups = groupby(sorted(rules, key=lambda rule: rule.group), key=lambda rule: rule.group)
    return {
        "apiVersion": 1,
        "groups": [
            {
                "orgId": 1,
                "name": name,
                "folder": FOLDER,
                "interval": INTERVAL,
                "rules": [_rule(rule, links) for rule in members],
            }
            for name, members in groups
        ],
    }


def projections(rule: Rule) -> dict[str, str]:
    """The queries by their refId."""
    columns = {"A": ("value",), "O": ("objective",), "W": ("trace_id", "value")}
    return {
        ref: f"SELECT {', '.join((*rule.labels, *chosen))}\nFROM (\n{rule.sql}\n)" for ref, chosen in columns.items()
    }


def summary(rule: Rule, **values: str) -> str:
    """With each label as the templates of Grafana and Prometheus name it; `values` are what else is in braces."""
    return rule.summary.format(**{label: f"{{{{ $labels.{label} }}}}" for label in rule.labels} | values)


def _rule(rule: Rule, links: Links) -> dict[str, Any]:
    number = FORMATS[rule.unit]
    annotations = {
        "summary": summary(rule, value=number.format("$values.A.Value"), objective=number.format("$values.O.Value")),
        "description": rule.description,
        "value": "{{ $values.A.Value }}",
        "objective": "{{ $values.O.Value }}",
        "unit": rule.unit,
        "runbook_url": f"{links.runbook}#{rule.anchor}",
        "dashboard_url": "{{ externalURL }}" + board(rule, "d/"),
        "trace_id": "{{ $values.W.Labels.trace_id }}",
        "trace_url": "{{ with $values.W.Labels.trace_id }}{{ externalURL }}d/run?var-run_id={{ . }}{{ end }}",
    }
    if "agent_id" in rule.labels:
        annotations["agent"] = "{{ $labels.agent_id }}"
    return {
        "uid": re.sub(r"(?<=[a-z])(?=[A-Z])", "-", rule.name).lower(),
        "title": rule.name,
        "condition": "C",
        "data": [*(_query(ref, sql) for ref, sql in projections(rule).items()), _CONDITION],
        "noDataState": "OK",
        "execErrState": "Error",
        "for": f"{rule.for_seconds}s",
        "annotations": annotations,
        "labels": {"severity": rule.severity, "group": rule.group},
        "isPaused": False,
    }


def board(rule: Rule, path: str = "") -> str:
    """Where the rule's board is, below Grafana's address or the page's, with the agent chosen."""
    chosen = "?var-agent={{ $labels.agent_id | urlquery }}" if "agent_id" in rule.labels else ""
    return f"{path}{rule.board}{chosen}"


def _query(ref: str, sql: str) -> dict[str, Any]:
    return {
        "refId": ref,
        "queryType": "table",
        "relativeTimeRange": {"from": 600, "to": 0},  # it has to be there; the queries have their own
        "datasourceUid": DATASOURCE["uid"],
        "model": target(sql, ref=ref),
    }


_CONDITION = {
    "refId": "C",
    "queryType": "",
    "relativeTimeRange": {"from": 600, "to": 0},
    "datasourceUid": "__expr__",
    "model": {
        "refId": "C",
        "datasource": {"type": "__expr__", "uid": "__expr__"},
        "type": "math",
        "expression": "$A > $O",
    },
}
