"""What happened, as rows of ClickHouse, and what a rule says of it."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from clickhouse_connect.driver.client import Client

from dashboards.source.grafana_rules import projections
from dashboards.source.objectives import Objectives, parse
from dashboards.source.rules import Rule
from telemetry.catalogue import BY_NAME

SECOND = 10**9
MINUTE = 60
HOUR = 3600
OBJECTIVES = """
[defaults]
duration_p95 = 10
error_rate = 0.05
queue_wait_p95 = 5
cost_per_day = 2
stuck_after = 1800
approval_wait = 7200
[agents.patient]
duration_p95 = 100
error_rate = 0.5
queue_wait_p95 = 50
cost_per_day = 100
stuck_after = 7200
approval_wait = 28800
[stack]
queue_age = 300
silence = 180
[links]
dashboards = "https://boards.example/"
runbook = "https://docs.example/alerts"
"""
_TABLES = {"counter": "sum", "up_down_counter": "sum", "observable_gauge": "gauge", "histogram": "histogram"}


def objectives() -> Objectives:
    return parse(OBJECTIVES)


@dataclass
class Past:
    """Seeds rows whose times are seconds before `now`; `write` inserts them, each twice and in two batches."""

    client: Client
    now: int = field(default_factory=lambda: int(time.time()))
    spans: list[tuple[object, ...]] = field(default_factory=list)
    points: dict[str, list[tuple[object, ...]]] = field(default_factory=dict)

    def at(self, ago: float) -> int:
        """Unix nanoseconds."""
        return round((self.now - ago) * SECOND)

    def span(
        self, agent: str, ended: float, seconds: float, name: str = "x", run: str | None = None, **attributes: object
    ) -> str:
        """One span that ended so many seconds ago. Answers its trace id, which is its run's id, too."""
        run = run or uuid.uuid4().hex
        given = {"gen_ai.agent.id": agent, "agno.run.id": run}
        given |= {key.replace("__", "."): str(value) for key, value in attributes.items()}
        error = given.get("agno.run.status") == "error"
        started, nanoseconds = self.at(ended + seconds), round(seconds * SECOND)
        status = "Error" if error else "Ok"
        self.spans.append((started, run, uuid.uuid4().hex[:16], name, "agent-runtime", given, nanoseconds, status))
        return run

    def run(
        self,
        agent: str,
        ended: float,
        seconds: float = 1.0,
        status: str = "completed",
        wait: float | None = None,
        run: str | None = None,
    ) -> str:
        """A run that ended so many seconds ago. Answers its trace id."""
        waited = {} if wait is None else {"agno__queue__wait": wait}
        outcome = {"agno__run__kind": "agent", "agno__run__status": status, "gen_ai__operation__name": "invoke_agent"}
        return self.span(agent, ended, seconds, f"invoke_agent {agent}", run, **outcome, **waited)

    def metric(
        self,
        name: str,
        values: Sequence[tuple[float, float]],
        process: str = "one",
        service: str = "agent-runtime",
        **attributes: str,
    ) -> None:
        """Points (seconds ago, value) of one series. `process` is its service.instance.id."""
        began = self.at(max(ago for ago, _ in values))
        resource = {"service.name": service, "service.instance.id": process}
        table = f"otel_metrics_{_TABLES[BY_NAME[name].kind]}"
        assert list(BY_NAME[name].problems(attributes)) == []
        self.points.setdefault(table, []).extend(
            (resource, service, name, attributes, began, self.at(ago), float(value)) for ago, value in values
        )

    def write(self) -> None:
        """Everything, and once more in other batches: what is sent again must change nothing."""
        span = ["Timestamp", "TraceId", "SpanId", "SpanName", "ServiceName", "SpanAttributes", "Duration", "StatusCode"]
        point = ["ResourceAttributes", "ServiceName", "MetricName", "Attributes", "StartTimeUnix", "TimeUnix", "Value"]
        for table, rows in {"otel_traces": self.spans, **self.points}.items():
            columns = span if table == "otel_traces" else point
            for batch in (rows, rows[::2], rows[1::2]):
                if batch:
                    self.client.insert(table, batch, column_names=columns)


def steady(value: float, since: float, until: float = 0.0) -> list[tuple[float, float]]:
    """A point each 30 s, from `since` seconds ago on."""
    return [(ago, value) for ago in range(int(since), int(until) - 1, -30)]


@dataclass(frozen=True)
class Instance:
    value: float
    objective: float
    trace_id: str

    @property
    def fires(self) -> bool:
        return self.value > self.objective


def evaluate(reader: Client, rule: Rule, now: int, uptime: int = 86_400) -> dict[str, Instance]:
    """By the values of the rule's labels: what the page reads, and that Grafana's queries say the same."""

    def rows(sql: str) -> list[tuple[object, ...]]:
        sql = sql.replace("now()", f"toDateTime({now})").replace("uptime()", f"toUInt32({uptime})")
        return list(map(tuple, reader.query(sql).result_rows))

    n = len(rule.labels)
    key = lambda row: "/".join(map(str, row[:n]))  # noqa: E731
    found = {key(row): Instance(*row[n:]) for row in rows(rule.sql)}  # type: ignore[arg-type]
    asked = projections(rule)
    assert {key(row): row[n:] for row in rows(asked["A"])} == {k: (i.value,) for k, i in found.items()}
    assert {key(row): row[n:] for row in rows(asked["O"])} == {k: (i.objective,) for k, i in found.items()}
    assert {key(row): row[n:] for row in rows(asked["W"])} == {k: (i.trace_id, i.value) for k, i in found.items()}
    return found


def firing(found: dict[str, Instance]) -> set[str]:
    return {label for label, instance in found.items() if instance.fires}
