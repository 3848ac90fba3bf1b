"""The committed alert rules (dashboards/alerts.json), and what one of their queries found."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from dashboards.viewer.units import written

COMMITTED = Path(__file__).resolve().parents[1] / "alerts.json"


class RulesError(ValueError):
    """The file holds no rules that can be evaluated."""


class Rule(BaseModel):
    """`sql` answers one row per instance: the labels, value, objective, trace_id. Firing: value over objective."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    title: str
    group: str
    severity: Literal["critical", "warning"]
    sql: str
    labels: tuple[str, ...] = ()
    for_seconds: int = 0
    unit: str = "none"
    summary: str
    description: str = ""
    board: str
    runbook: str

    @model_validator(mode="after")
    def _can_be_written(self) -> Self:
        fields = {name for _, name, _, _ in Formatter().parse(self.summary) if name is not None}
        if unknown := fields - {*self.labels, "value", "objective"}:
            raise ValueError(f"{self.name}: its summary names {', '.join(sorted(unknown))}")
        return self


@dataclass(frozen=True)
class Found:
    """One row: an instance as it is now. `trace_id` is the worst trace, "" when there is none."""

    rule: Rule
    labels: Mapping[str, str]
    value: float
    objective: float
    trace_id: str

    @property
    def key(self) -> str:
        """The same labels have the same key."""
        return json.dumps(self.labels, sort_keys=True, ensure_ascii=False)

    @property
    def is_over(self) -> bool:
        return self.value > self.objective

    @property
    def summary(self) -> str:
        unit = self.rule.unit
        return self.rule.summary.format(
            **self.labels, value=written(self.value, unit), objective=written(self.objective, unit)
        )


def load(path: Path = COMMITTED) -> tuple[Rule, ...]:
    """None without the file. Raises RulesError."""
    if not path.exists():
        return ()
    try:
        rules = TypeAdapter(tuple[Rule, ...]).validate_json(path.read_bytes())
    except ValidationError as error:
        raise RulesError(f"{path.name}: {error}") from error
    names = [rule.name for rule in rules]
    if len(set(names)) != len(names):
        raise RulesError(f"{path.name}: two rules have one name")
    return rules


def found(rule: Rule, answer: Mapping[str, Any]) -> dict[str, Found]:
    """The rows of an answer by key; of the same labels the worst. Raises KeyError for a column that is not there."""
    columns = {column["name"]: number for number, column in enumerate(answer["meta"])}
    instances: dict[str, Found] = {}
    for row in answer["data"]:
        value, objective = row[columns["value"]], row[columns["objective"]]
        if value is None or objective is None or not math.isfinite(value):
            continue  # no data is no breach
        labels = {label: str(row[columns[label]]) for label in rule.labels}
        one = Found(rule, labels, float(value), float(objective), str(row[columns["trace_id"]] or ""))
        if one.key not in instances or one.value > instances[one.key].value:
            instances[one.key] = one
    return instances
