"""compose.yaml, as the client resolves it: what every service must have, and that its files and names are there."""

import copy
import json
import re
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from runtime.settings import Settings
from stack.process import PROJECT
from tests.validators import compose_model, compose_rules, provisioning
from tests.validators.tools import AMTOOL, PROMTOOL

COMPOSE = PROJECT / "compose.yaml"
DEPLOY = PROJECT / "deploy"


@pytest.fixture(scope="module")
def model() -> dict[str, Any]:
    return compose_model.resolve(COMPOSE)


def given(model: dict[str, Any], service: str) -> set[str]:
    """Names of the variables that a service gets."""
    return set(model["services"][service]["environment"])


def secrets(model: dict[str, Any], service: str) -> set[str]:
    return {Path(secret["target"]).name for secret in model["services"][service]["secrets"]}


def test_it_is_as_it_should_be(model: dict[str, Any]) -> None:
    assert compose_rules.problems(model, PROJECT) == []


def test_the_client_takes_it_where_there_is_one() -> None:
    try:
        has_plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        has_plugin = False
    if has_plugin:  # else its loader, which the other tests run, has to do
        argv = ["docker", "compose", "--file", str(COMPOSE), "--profile", "*", "config", "--quiet"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


BROKEN: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    ("runtime", lambda s: s["ports"][0].update(host_ip="0.0.0.0"), "port 7777 is published on 0.0.0.0"),
    ("postgres", lambda s: s.update(ports=[{"target": 5432, "host_ip": "127.0.0.1"}]), "port 5432 is published"),
    ("grafana", lambda s: s.update(image="grafana/grafana:latest"), "is not pinned"),
    ("grafana", lambda s: s.update(image="grafana/grafana"), "is not pinned"),
    ("grafana", lambda s: s["networks"].pop("outside"), "cannot be reached"),
    ("clickhouse", lambda s: s.update(networks={"outside": None}), "reaches the world"),
    ("clickhouse", lambda s: s.pop("healthcheck"), "has no health check"),
    ("clickhouse", lambda s: s.update(user="root"), "runs as root"),
    ("clickhouse", lambda s: s.pop("user"), "runs as root"),
    ("collector", lambda s: s.update(read_only=False), "can be written to"),
    ("collector", lambda s: s["deploy"]["resources"]["limits"].pop("memory"), "no limit of memory"),
    ("collector", lambda s: s["environment"].update(PHOENIX_API_KEY="s3cret"), "PHOENIX_API_KEY is a secret"),
    ("collector", lambda s: s["secrets"].pop(0), "of a secret that it has not"),
    ("migrate", lambda s: s["environment"].update(DATABASE_URL="postgresql://a:b@h/d"), "has a password in it"),
    ("migrate", lambda s: s.update(restart="unless-stopped"), "restart is unless-stopped"),
    ("phoenix", lambda s: s["volumes"][0].update(source="/etc/passwd"), "/etc/passwd is not in the repository"),
    ("phoenix", lambda s: s.update(cap_add=["SYS_ADMIN"]), "adds capabilities"),
    ("runtime", lambda s: s["depends_on"]["migrate"].update(condition="service_started"), "waits for migrate with"),
]


@pytest.mark.parametrize(("service", "breaks", "problem"), BROKEN)
def test_a_mistake_is_said(
    model: dict[str, Any], service: str, breaks: Callable[[dict[str, Any]], object], problem: str
) -> None:
    broken = copy.deepcopy(model)
    breaks(broken["services"][service])
    assert problem in "\n".join(compose_rules.problems(broken, PROJECT))


def test_what_is_no_compose_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {runtime: {image: x:1, port: ['7777:7777']}}")
    with pytest.raises(ValueError, match="port"):
        compose_model.resolve(tmp_path / "compose.yaml")


def test_agents_come_from_the_repository_that_git_sync_is_given() -> None:
    """From the checkout's own directory without one: what is empty is not set."""
    assert compose_model.resolve(COMPOSE)["services"]["runtime"]["environment"]["AGENTS_DIR"] == ""
    given = compose_model.resolve(COMPOSE, GIT_SYNC_REPO="https://example.com/agents", GIT_SYNC_DIRECTORY="src")
    assert given["services"]["runtime"]["environment"]["AGENTS_DIR"] == "/git/current/src"


def test_the_runtime_knows_what_it_is_given(model: dict[str, Any]) -> None:
    settings = {name.upper() for name in Settings.model_fields}
    for service in ("runtime", "migrate"):
        names = given(model, service) | {name.upper() for name in secrets(model, service)}
        unknown = {name for name in names - settings if not name.startswith("OTEL_EXPORTER_OTLP_")}
        assert unknown <= {"CLICKHOUSE_RETENTION_DAYS", "CLICKHOUSE_ROLLUP_DAYS"}


def test_the_collector_knows_what_it_is_given(model: dict[str, Any]) -> None:
    known = set(re.findall(r"\$\{env:(\w+)", (PROJECT / "otel-collector.yaml").read_text()))
    assert given(model, "collector") <= known


def test_clickhouse_gets_what_its_files_take(model: dict[str, Any]) -> None:
    files = "".join((DEPLOY / "clickhouse" / name).read_text() for name in ("config.xml", "users.xml"))
    made = set(re.findall(r"^(\w+)=", (DEPLOY / "clickhouse" / "start.sh").read_text(), re.MULTILINE))
    assert set(re.findall(r'from_env="(\w+)"', files)) == given(model, "clickhouse") | made


def test_grafana_gets_what_its_files_take(model: dict[str, Any]) -> None:
    wanted = provisioning.variables(PROJECT / "dashboards" / "grafana" / "provisioning")
    assert wanted <= given(model, "grafana") | {name.upper() for name in secrets(model, "grafana")}


def test_phoenix_knows_what_it_is_given(model: dict[str, Any]) -> None:
    spec = find_spec("phoenix")
    assert spec is not None and spec.origin is not None
    known = set(re.findall(r'"(PHOENIX_\w+)"', (Path(spec.origin).parent / "config.py").read_text()))
    assert given(model, "phoenix") | {name.upper() for name in secrets(model, "phoenix")} <= known
    assert f"version-{_locked('arize-phoenix')}-nonroot" in model["services"]["phoenix"]["image"]


def _locked(package: str) -> str:
    found = re.search(rf'^name = "{package}"\nversion = "([^"]+)"', (PROJECT / "uv.lock").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("tool", "service", "file", "argument"),
    [
        (PROMTOOL, "prometheus", "prometheus.yaml", ["check", "config"]),
        (AMTOOL, "alertmanager", "alertmanager.yaml", ["check-config"]),
    ],
)
def test_prometheus_files_are_valid(
    model: dict[str, Any], tmp_path: Path, tool: Any, service: str, file: str, argument: list[str]
) -> None:
    """As they are mounted: the files that they name are where they name them."""
    for mount in model["services"][service]["volumes"]:
        if mount["type"] == "bind":
            target = tmp_path / mount["target"].lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            text = Path(mount["source"]).read_text()
            target.write_text(text.replace("/run/", f"{tmp_path}/run/").replace("/etc/", f"{tmp_path}/etc/"))
    (tmp_path / "run" / "secrets").mkdir(parents=True)
    for name in secrets(model, service):
        (tmp_path / "run" / "secrets" / name).touch()
    (path,) = tmp_path.rglob(file)
    assert any(
        f"={path}".removeprefix(f"={tmp_path}") in argument for argument in model["services"][service]["command"]
    )
    done = tool.run(*argument, str(path))
    assert done.returncode == 0 and "FAILED" not in done.stdout, done.stdout + done.stderr


def test_prometheus_reads_the_generated_rules(model: dict[str, Any]) -> None:
    mounts = {mount["target"]: mount["source"] for mount in model["services"]["prometheus"]["volumes"]}
    assert mounts["/etc/prometheus/rules.yaml"] == str(PROJECT / "dashboards" / "prometheus" / "rules.yaml")
    assert "/etc/prometheus/rules.yaml" in Path(mounts["/etc/prometheus/prometheus.yaml"]).read_text()


def test_secrets_are_made_once_and_readable_by_nobody_else(model: dict[str, Any], tmp_path: Path) -> None:
    directory = tmp_path / "secrets"
    script = ["sh", str(DEPLOY / "secrets.sh"), str(directory)]
    subprocess.run(script, check=True, capture_output=True)
    made = {file.name: file.read_text() for file in directory.iterdir()}
    assert set(made) == set(model["secrets"])
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in directory.iterdir()} == {0o444}
    subprocess.run(script, check=True, capture_output=True)
    assert made == {file.name: file.read_text() for file in directory.iterdir()}

    values = [value for name, value in made.items() if name not in ("OPENAI_API_KEY", "webhook_secrets")]
    assert len(set(values)) == len(values) and all(len(value) >= 18 and "\n" not in value for value in values)
    assert json.loads(made["webhook_secrets"]) == dict.fromkeys(("grafana", "alertmanager"), made["alerts_secret"])
    assert made["OTEL_EXPORTER_OTLP_HEADERS"] == f"authorization=Bearer%20{made['otlp_token']}"
    Settings(
        _env_file=None,
        **{name: made[name] for name in secrets(model, "runtime") if name.islower()},  # type: ignore[arg-type]
    )


def test_a_secret_with_a_line_end_is_said(tmp_path: Path) -> None:
    """The collector would take it for a part of the secret."""
    (tmp_path / "clickhouse_password").write_text("mine\n")
    done = subprocess.run(
        ["sh", str(DEPLOY / "secrets.sh"), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "clickhouse_password ends with a line end" in done.stderr


def test_without_compose_the_next_step_is_said(tmp_path: Path) -> None:
    (tmp_path / "docker").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "docker").chmod(0o755)
    done = subprocess.run(
        ["make", "compose-up", "SHELL=/bin/sh"],
        cwd=PROJECT,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "needs Docker with its plugin compose" in done.stderr
    assert done.stdout == "", "it has begun all the same"
