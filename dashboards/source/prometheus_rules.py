"""The same rules for those who scrape /api/metrics: dashboards/prometheus/rules.yaml."""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

from dashboards.source.agent_rules import FAST, FEWEST, MOST_FAILED, SLOW
from dashboards.source.grafana_rules import FORMATS, board, summary
from dashboards.source.metric import Metric
from dashboards.source.objectives import Objectives
from dashboards.source.rules import Rule
from dashboards.source.stack_rules import MISSING_SECONDS
from telemetry.catalogue import BY_NAME

Alert = tuple[str, int]  # expression, seconds for which it must hold

COMMENT = """\
# Made by `make generate` out of dashboards/objectives.toml and dashboards/source: edit those.
#
# The rules that Grafana and the page evaluate on ClickHouse, as far as /api/metrics knows them:
# - No trace_id: a sample has no trace. The panels of the board that is linked have exemplars, and its lists the runs.
# - Quantiles are estimated within buckets: an objective beyond the last one (of runs 409.6 s) is not watched here.
# - What lasts (RunStuckInProgress, ApprovalsWaiting) is counted in minutes up to its objective, no further.
# - Where ClickHouse has the label service, there is Prometheus' job.
"""
_UNITS = {"s": "_seconds", "By": "_bytes"}
_FEW = FEWEST - 0.5  # increase() extrapolates: 3 may be 2.9
_ENDED = 'status=~"completed|error"'
_FAILED = 'status="error"'


def exposed(name: str) -> str:
    """The name on /api/metrics (telemetry/exposition.py); of a histogram without _bucket, _count, _sum."""
    instrument = BY_NAME[name]
    total = "_total" if instrument.kind == "counter" else ""
    return name.replace(".", "_") + _UNITS.get(instrument.unit, "") + total


def rules_file(rules: Sequence[Rule], objectives: Objectives) -> dict[str, Any]:
    alerts = Expressions(objectives).all()
    groups = groupby(sorted(rules, key=lambda rule: rule.group), key=lambda rule: rule.group)
    return {
        "groups": [
            {"name": "agents: recorded", "interval": "30s", "rules": _recorded()},
            *(
                {
                    "name": name,
                    "interval": "30s",
                    "rules": [_alert(rule, objectives, *alerts[rule.name]) for rule in members],
                }
                for name, members in groups
            ),
        ]
    }


def _recorded() -> list[dict[str, str]]:
    """What is dear to compute, once for all alerts and dashboards."""
    ratios = [
        {
            "record": f"agno:run_errors:ratio_{minutes}m",
            "expr": f"{_runs(f'{minutes}m', _FAILED)}\n/ {_runs(f'{minutes}m', _ENDED)}",
        }
        for minutes in (5, 10, 30, 60, 360)
    ]
    return [
        {"record": "agno:run_duration_seconds:p95_10m", "expr": _quantile("agno.agent.duration", _ENDED)},
        {"record": "agno:queue_wait_seconds:p95_10m", "expr": _quantile("agno.queue.wait")},
        *ratios,
    ]


class Expressions:
    """Each rule's expression, which names the agents whose objectives differ."""

    def __init__(self, objectives: Objectives) -> None:
        self._objectives = objectives

    def all(self) -> dict[str, Alert]:
        stack = self._objectives.stack
        age, missing = exposed("agno.queue.oldest.age"), exposed("agno.telemetry.missing")
        clickhouse = Metric("agno.telemetry.missing").value("destination", "clickhouse").strip("'")
        sent, cost = exposed("agno.telemetry.queue.size"), exposed("agno.model.cost")
        spans = _risen("agno.telemetry.spans", 'outcome=~"dropped|failed"', "destination")
        logs = _risen("agno.telemetry.logs", 'outcome=~"dropped|failed"', "")
        return {
            "AgentDurationOverObjective": self._slow("duration_p95", "agno.agent.duration", _ENDED),
            "AgentErrorRate": self._each(
                "error_rate",
                lambda chosen, rate: (
                    f"agno:run_errors:ratio_10m{{{chosen}}} > {rate:g} and {_runs('10m', _FAILED, chosen)} > {_FEW}"
                ),
            ),
            "AgentErrorBudgetBurnFast": self._burn(FAST),
            "AgentErrorBudgetBurnSlow": self._burn(SLOW),
            "RunStuckInProgress": self._lasting("stuck_after", "agno.agent.in_progress", exposed("agno.agent.runs")),
            "CostOverBudget": self._each(
                "cost_per_day", lambda chosen, usd: f"sum by (agent_id) (increase({cost}{{{chosen}}}[1d])) > {usd:g}"
            ),
            "QueueTooOld": (f"max by (queue) ({age}) > {stack.queue_age:g}", 0),
            "QueueWaitOverObjective": self._slow("queue_wait_p95", "agno.queue.wait"),
            "DeadLetters": (f"{_risen('agno.queue.dead_letters', '', 'agent_id')} > 0", 0),
            "ApprovalsWaiting": self._lasting(
                "approval_wait", "agno.approvals.pending", exposed("agno.approval.wait") + "_count"
            ),
            "AgentFailedToLoad": (f"max by (job) ({exposed('agno.agents.broken')}) > 0", 0),
            "TelemetryLost": (f'{spans} > 0\nor label_replace({logs}, "destination", "logs", "", "") > 0', 0),
            "TelemetryMissing": (
                f'max by (destination) ({missing}{{destination="{clickhouse}"}}) > 0',
                MISSING_SECONDS,
            ),
            "TelemetrySilent": (
                f"group by (job) (last_over_time({sent}[1d])) unless group by (job) ({sent})",
                int(stack.silence),
            ),
        }

    def _each(self, key: str, expression: Callable[[str, float], str]) -> Alert:
        """`expression` of each objective `key` and the agents that have it."""
        return "\nor ".join(filter(None, (expression(*each) for each in self._chosen(key)))), 0

    def _chosen(self, key: str) -> list[tuple[str, float]]:
        """(selector of agents, their objective), the default last."""
        differing = self._objectives.differing(key)
        values = sorted(set(differing.values()))
        found = [(f'agent_id=~"{_any(n for n, v in differing.items() if v == value)}"', value) for value in values]
        others = f'agent_id!~"{_any(differing)}"' if differing else ""
        return [*found, (others, float(getattr(self._objectives.defaults, key)))]

    def _slow(self, key: str, histogram: str, status: str = "") -> Alert:
        """Over the objective, and so many beyond the bucket in which it lies that one alone is not the reason."""
        recorded = (
            f"{exposed(histogram).replace('agno_', 'agno:', 1).replace('agent_duration', 'run_duration')}:p95_10m"
        )
        buckets = BY_NAME[histogram].buckets

        def slow(chosen: str, seconds: float) -> str:
            if not buckets[0] <= seconds < buckets[-1]:
                return ""
            most = max(bound for bound in buckets if bound <= seconds)
            series = exposed(histogram)
            all_, quick = _selector(chosen, status), _selector(chosen, status, f'le="{most}"')
            return (
                f"{recorded}{{{chosen}}} > {seconds:g}\n"
                f"  and sum by (agent_id) (increase({series}_count{{{all_}}}[10m]))\n"
                f"    - sum by (agent_id) (increase({series}_bucket{{{quick}}}[10m])) > {_FEW}"
            )

        return self._each(key, slow)

    def _burn(self, windows: tuple[int, int, float]) -> Alert:
        short, long = (f"{seconds // 60}m" for seconds in windows[:2])

        def burn(chosen: str, rate: float) -> str:
            speed = min(windows[2], MOST_FAILED / rate)
            return (
                f"agno:run_errors:ratio_{short}{{{chosen}}} / {rate:g} > {speed:g}\n"
                f"  and agno:run_errors:ratio_{long}{{{chosen}}} / {rate:g} > {speed:g}\n"
                f"  and {_runs(short, _FAILED, chosen)} > {_FEW}"
            )

        return self._each("error_rate", burn)

    def _lasting(self, key: str, gauge: str, ends: str) -> Alert:
        """Minutes in which the gauge was above zero, as seconds; a process that is gone has none."""
        return self._each(
            key,
            lambda chosen, seconds: (
                f"60 * sum_over_time((sum by (agent_id) ({exposed(gauge)}{{{chosen}}}) > bool 0)[{seconds:.0f}s:1m])"
                f" >= {seconds:g}\n  unless sum by (agent_id) (increase({ends}{{{chosen}}}[{seconds:.0f}s])) > 0"
            ),
        )


def _alert(rule: Rule, objectives: Objectives, expression: str, seconds: int) -> dict[str, Any]:
    objective = _objective(rule, objectives)
    value = f"more than {objective}" if rule.name == "TelemetrySilent" else FORMATS[rule.unit].format("$value")
    annotations = {
        "summary": summary(rule, value=value, objective=objective).replace("$labels.service", "$labels.job"),
        "description": rule.description.split(" The trace is ")[0],
        "value": "{{ $value }}",
        "objective": objective,
        "unit": rule.unit,
        "runbook_url": f"{objectives.links.runbook}#{rule.anchor}",
        "dashboard_url": board(rule, objectives.links.dashboards),
    }
    if "agent_id" in rule.labels:
        annotations["agent"] = "{{ $labels.agent_id }}"
    held = {"for": f"{seconds}s"} if seconds else {}
    labels = {"severity": rule.severity, "group": rule.group}
    return {"alert": rule.name, "expr": expression, **held, "labels": labels, "annotations": annotations}


_KEYS: dict[str, str] = {
    "AgentDurationOverObjective": "duration_p95",
    "AgentErrorRate": "error_rate",
    "RunStuckInProgress": "stuck_after",
    "CostOverBudget": "cost_per_day",
    "QueueWaitOverObjective": "queue_wait_p95",
    "ApprovalsWaiting": "approval_wait",
}
_TEXTS: dict[str, Callable[[float], str]] = {
    "s": lambda value: f"{value:g} s",
    "percentunit": lambda value: f"{100 * value:g} %",
    "currencyUSD": lambda value: f"{value:.2f} USD",
    "short": lambda value: f"{value:.3g}",
}


def _objective(rule: Rule, objectives: Objectives) -> str:
    """As a text; of an agent that differs, as a template that looks at its id."""
    text = _TEXTS[rule.unit]
    if rule.name in _KEYS:
        key = _KEYS[rule.name]
        default = text(getattr(objectives.defaults, key))
        differing = [
            f'if eq $labels.agent_id "{agent}" }}}}{text(value)}{{{{ else '
            for agent, value in objectives.differing(key).items()
        ]
        return f"{{{{ {''.join(differing)[:-1]} }}}}{default}{{{{ end }}}}" if differing else default
    if rule.name.startswith("AgentErrorBudgetBurn"):
        speed = FAST[2] if rule.name.endswith("Fast") else SLOW[2]
        return text(speed)
    fixed = {"QueueTooOld": objectives.stack.queue_age, "TelemetrySilent": objectives.stack.silence}
    return text(fixed.get(rule.name, 0))


def _runs(window: str, *selectors: str) -> str:
    return f"sum by (agent_id) (increase({exposed('agno.agent.runs')}{{{_selector(*selectors)}}}[{window}]))"


def _quantile(histogram: str, selector: str = "") -> str:
    return f"histogram_quantile(0.95, sum by (agent_id, le) (rate({exposed(histogram)}_bucket{{{selector}}}[10m])))"


def _risen(name: str, selector: str, by: str) -> str:
    """A series that is new in a process that was scraped before has risen by all that it has: increase() says 0."""
    series = f"{exposed(name)}{{{selector}}}" if selector else exposed(name)
    new = f"{series} unless {series} offset 10m and on (job, instance) up offset 10m == 1"
    return f"sum by ({by}) ({new} or increase({series}[10m]))"


def _selector(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _any(names: Iterable[str]) -> str:
    return "|".join(name.replace(".", "[.]") for name in names)
