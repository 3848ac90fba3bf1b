"""The rules, evaluated: which instances are over their objective, since when, and what there is to say about it."""

import json
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dashboards.viewer.history import History, Instance, read, remember, remove, save
from dashboards.viewer.links import Links
from dashboards.viewer.queries import ClickHouse, Limits, QueryError, Unavailable
from dashboards.viewer.rules import Found, Rule, found

log = logging.getLogger(__name__)

LIMITS = Limits(seconds=10, rows=1000)
GONE_AFTER = 2  # evaluations without a breach, so that one late row does not end an alert
REPEAT_SECONDS = 4 * 3600  # an alert that still fires is posted again

# Of the evaluation itself: what it would say it cannot find out. A restart of ClickHouse is no reason to call anybody.
BLIND = Rule(
    name="AlertsNotEvaluated",
    title="Alerts are not evaluated",
    group="telemetry",
    severity="critical",
    sql="",
    for_seconds=60,
    summary="{value} alert rules cannot be evaluated",
    description="ClickHouse does not answer, or refuses the queries of rules: nobody would be told of what they watch.",
    board="alerts",
    runbook="docs/dashboards.md#alertsnotevaluated",
)


@dataclass(frozen=True)
class Current:
    """The last evaluation. `errors` and `found` by rule; `error` is what kept all of them from being evaluated."""

    at: float | None = None
    error: str | None = None
    errors: Mapping[str, str] = field(default_factory=dict)
    found: Mapping[str, Mapping[str, Found]] = field(default_factory=dict)


class Evaluation:
    """`current` is replaced as a whole, so that any thread may read it. `posts`: somebody is told."""

    def __init__(
        self, rules: Sequence[Rule], clickhouse: ClickHouse, history: History, links: Links, *, posts: bool
    ) -> None:
        self.rules = (*rules, BLIND) if rules else ()
        self.current = Current()
        self._clickhouse = clickhouse
        self._history = history
        self._links = links
        self._posts = posts

    def run(self, now: float) -> None:
        """Evaluates every rule once. What goes wrong is in `current`, and changes no state."""
        errors: dict[str, str] = {}
        all_found: dict[str, dict[str, Found]] = {}
        away: Unavailable | None = None
        for rule in self.rules:
            if rule is BLIND:
                continue
            try:
                if away is not None:
                    raise away  # it would only time out again
                all_found[rule.name] = found(rule, self._clickhouse.query(rule.sql, {}, LIMITS))
            except QueryError as error:
                errors[rule.name] = str(error)
                away = error if isinstance(error, Unavailable) else away
            except KeyError as error:
                errors[rule.name] = f"the query answers no column {error}"
            except (TypeError, ValueError) as error:
                errors[rule.name] = f"the query answers what is no number: {error}"
        if self.rules:
            blind = Found(BLIND, {}, len(errors), 0, "")
            all_found[BLIND.name] = {blind.key: blind}
        said = str(away) if away else None
        try:
            self._settle(all_found, now)
        except sqlite3.Error as error:
            said = f"the states of alerts cannot be written: {error}"
        self._say(said, errors)
        self.current = Current(now, said, errors, all_found)

    def _say(self, error: str | None, errors: Mapping[str, str]) -> None:
        """Once, not at every evaluation."""
        if error and error != self.current.error:
            log.warning("alerts are not evaluated: %s", error)
        for name, why in {} if error else dict(errors).items():
            if self.current.errors.get(name) != why:
                log.warning("the alert %s cannot be evaluated: %s", name, why)

    def _settle(self, all_found: Mapping[str, Mapping[str, Found]], now: float) -> None:
        existing = {rule.name for rule in self.rules}
        with self._history.transaction() as connection:
            known = {(instance.rule, instance.key): instance for instance in read(connection)}
            for name, instances in all_found.items():
                for key, one in instances.items():
                    if one.is_over:
                        self._breach(connection, known.pop((name, key), None), one, now)
            for instance in known.values():
                if instance.rule in all_found or instance.rule not in existing:  # not those whose query failed
                    self._recover(connection, instance, now)

    def _breach(self, connection: sqlite3.Connection, known: Instance | None, one: Found, now: float) -> None:
        instance = known or _pending(one, now)
        if instance.state == "resolved":  # its end was not posted: it goes on, and that is posted
            instance.state, instance.ended, instance.due, instance.posted = "firing", None, False, None
            remember(connection, instance, now, one.rule.unit)
        instance.missing = 0
        instance.value, instance.objective, instance.summary = one.value, one.objective, one.summary
        instance.trace_id = one.trace_id or instance.trace_id
        if instance.state == "pending" and now - instance.since >= one.rule.for_seconds:
            instance.state, instance.fired = "firing", now
            remember(connection, instance, now, one.rule.unit)
        again = instance.posted is None or now - instance.posted >= REPEAT_SECONDS
        if instance.state == "firing" and self._posts and not instance.due and again:
            instance.notice, instance.due = json.dumps(self._links.alert(one.rule, instance)), True
        save(connection, instance)

    def _recover(self, connection: sqlite3.Connection, instance: Instance, now: float) -> None:
        if instance.state == "pending":
            remove(connection, instance)
        if instance.state != "firing":
            return
        instance.missing += 1
        if instance.missing >= GONE_AFTER:
            instance.state, instance.ended = "resolved", now
            rule = next((rule for rule in self.rules if rule.name == instance.rule), None)
            remember(connection, instance, now, rule.unit if rule else "none")
            if not instance.notice or not self._posts:
                remove(connection, instance)
                return
            instance.notice, instance.due = json.dumps(self._links.resolved(instance)), True
        save(connection, instance)


def _pending(one: Found, now: float) -> Instance:
    return Instance(
        one.rule.name, one.key, one.key, "pending", now, one.value, one.objective, one.trace_id, one.summary
    )
