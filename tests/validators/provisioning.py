"""Provisioning files against the types that Grafana reads them into, and against each other.

Grafana ignores unknown keys, so a misspelt one does nothing; here it is a problem, like a wrong type and a name that is
nowhere.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tests.validators.provisioning_types import VARIABLE, Alerting, Dashboards, Datasources, Strict

KINDS: dict[str, type[Strict]] = {"datasources": Datasources, "dashboards": Dashboards, "alerting": Alerting}


def variables(path: Path) -> set[str]:
    """The names that the files below it take from the environment; of rules and templates nothing counts."""
    found = set()
    for file in path.rglob("*.yaml"):
        content = yaml.safe_load(file.read_text())
        for part in ("datasources", "providers", "contactPoints", "policies"):
            found |= {a or b for a, b in VARIABLE.findall(yaml.safe_dump(content.get(part, []), width=10_000))}
    return found


def problems(provisioning: Path, optional: Path | None = None) -> list[str]:
    """`optional` holds files that people add to provisioning/datasources and provisioning/alerting."""
    found: list[str] = []
    read: list[Any] = []
    for kind, model in KINDS.items():
        for file in sorted((provisioning / kind).iterdir()):
            if file.suffix != ".yaml":
                found.append(f"{kind}/{file.name}: Grafana does not start with other than YAML files in alerting")
                continue
            found += _parse(file, model, read)
    for file in sorted(optional.glob("*.yaml")) if optional else ():
        kind = "datasources" if "datasources" in yaml.safe_load(file.read_text()) else "alerting"
        found += _parse(file, KINDS[kind], read)
    return found + list(_together(read))


def _parse(file: Path, model: type[Strict], read: list[Any]) -> Iterator[str]:
    try:
        read.append(model.model_validate(yaml.safe_load(file.read_text())))
    except (ValidationError, yaml.YAMLError) as error:
        errors = error.errors() if isinstance(error, ValidationError) else [{"loc": (), "msg": str(error)}]
        for each in errors:
            yield f"{file.name}, {'.'.join(map(str, each['loc']))}: {each['msg']}"


def _together(read: list[Any]) -> Iterator[str]:
    """What one file says of another."""
    sources = [source for file in read if isinstance(file, Datasources) for source in file.datasources]
    alerting = [file for file in read if isinstance(file, Alerting)]
    points = [point for file in alerting for point in file.contactPoints]
    rules = [rule for file in alerting for group in file.groups for rule in group.rules]
    policies = [policy for file in alerting for policy in file.policies]
    uids = [source.uid for source in sources]
    for kind, names in (
        ("datasource", uids),
        ("receiver", [receiver.uid for point in points for receiver in point.receivers]),
        ("rule", [rule.uid for rule in rules]),
        ("title of a rule", [rule.title for rule in rules]),
    ):
        yield from (f"the {kind} {name} is there twice" for name in sorted({n for n in names if names.count(n) > 1}))
    if sum(source.isDefault for source in sources) != 1:
        yield "not exactly one datasource is the default"
    if len(policies) > 1:
        yield "there are two trees of policies, and the later one wins"
    yield from (
        f"the policy's receiver {policy.receiver} is no contact point"
        for policy in policies
        if policy.receiver not in {point.name for point in points}
    )
    for rule in rules:
        for query in rule.data:
            if query.datasourceUid not in {*uids, "__expr__"}:
                yield f"{rule.title}: there is no datasource {query.datasourceUid}"
    defined = {
        name for file in alerting for t in file.templates for name in re.findall(r'define "([^"]+)"', t.template)
    }
    used = set(
        re.findall(r'template "([^"]+)"', "".join(point.model_dump_json() for point in points).replace("\\", ""))
    )
    yield from (f"the template {name} is not defined" for name in sorted(used - defined))
