"""The rules that alert: what Grafana, Prometheus, the page and the runbook are made of."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["critical", "warning"]


@dataclass(frozen=True)
class Rule:
    """One rule. `sql` answers a row for each instance: its `labels`, `value`, `objective`, `trace_id`.

    An instance fires when its value has been over its objective for `for_seconds`; without a row it does not.
    `summary` has {value}, {objective} and the labels in braces. `unit` is Grafana's name of it, `board` the name of the
    dashboard to look at first.
    """

    name: str
    title: str
    group: str
    severity: Severity
    sql: str
    labels: tuple[str, ...]
    for_seconds: int
    unit: str
    summary: str
    description: str
    board: str

    @property
    def anchor(self) -> str:
        """Of its section in the runbook."""
        return self.name.lower()

    def as_json(self) -> dict[str, Any]:
        """As alerts.json has it."""
        return {**asdict(self), "labels": list(self.labels), "runbook": f"docs/alerts.md#{self.anchor}"}


def tidy(sql: str) -> str:
    """Each line indented by the parentheses that are open, and by one step more where it goes on."""
    found, depth = [], 0
    for line in filter(None, map(str.strip, sql.splitlines())):
        closing = len(line) - len(line.lstrip(")"))
        goes_on = not line.startswith((")", *_CLAUSES))
        found.append("    " * (depth - closing + goes_on) + line)
        depth += line.count("(") - line.count(")")
    return "\n".join(found)


_CLAUSES = ("WITH ", "SELECT ", "FROM ", "WHERE ", "GROUP BY ", "HAVING ", "LEFT JOIN ", "UNION ALL ", "PARTITION BY ")
