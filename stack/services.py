"""The services of the stack, in the order in which they start; they stop in the reverse order."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version

from stack import alerts, clickhouse, collector, phoenix, postgres
from stack.health import require_ok
from stack.home import Home, write
from stack.process import PROJECT, Command


@dataclass(frozen=True)
class Service:
    """`check` raises while the service is not healthy. Seconds: `ready` is how long `up` waits for it."""

    name: str
    title: str
    command: Callable[[Home], Command]
    check: Callable[[Home], None]
    url: Callable[[Home], str]
    ready: float
    stop_signal: str = "TERM"
    stop_seconds: int = 20
    orphan_signal: str = "KILL"  # sent by the kernel when supervisord is gone


def _clickhouse(home: Home) -> Command:
    directory = home.path / "clickhouse"
    clickhouse.prepare(
        directory,
        http_port=home.ports["clickhouse_http"],
        tcp_port=home.ports["clickhouse_tcp"],
        otel_password=home.secrets.clickhouse,
        readonly_password=home.secrets.clickhouse_readonly,
    )
    return Command(clickhouse.command(directory))


def _runtime(home: Home) -> Command:
    """What runtime/settings.py reads. What the user has set (MODEL, OPENAI_API_KEY, OTEL_*) goes through."""
    environment = {
        "DATABASE_URL": home.database_url,
        "RUNTIME_HOST": "127.0.0.1",
        "RUNTIME_PORT": str(home.ports["runtime"]),
        "WEBHOOK_SECRET": home.webhook_secret,
        "TELEMETRY_MODE": home.mode,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{home.ports['otlp_grpc']}",
        "CLICKHOUSE_URL": home.clickhouse_url,
        "WEBHOOK_SECRETS": alerts.webhook_secrets(home),
        "CLICKHOUSE_READONLY_URL": home.clickhouse_readonly_url,
    }
    if home.state.phoenix:
        environment |= {"PHOENIX_URL": home.phoenix_url, "PHOENIX_API_KEY": home.phoenix_api_key}
    defaults = {
        "AGENTS_DIR": str(PROJECT / "agents"),
        "OTEL_SERVICE_NAME": "agent-runtime",
        "DEPLOYMENT_ENVIRONMENT": "local",
        "AGNO_TELEMETRY": "false",
        "DASHBOARDS_URL": home.dashboards_url,
    }
    return Command([sys.executable, "-m", "runtime", "serve"], environment, defaults, inherit_all=True)


def _dashboards(home: Home) -> Command:
    """What dashboards/viewer/settings.py reads. GRAFANA_URL of the user goes through."""
    environment = {
        "CLICKHOUSE_READONLY_URL": home.clickhouse_readonly_url,
        "RUNTIME_URL": home.runtime_url,
        "DASHBOARDS_PORT": str(home.ports["dashboards"]),
        "DASHBOARDS_STATE": str(home.path / "dashboards" / "alerts.sqlite"),
        **alerts.receiver(home),
    }
    if home.state.phoenix:
        environment["PHOENIX_URL"] = home.phoenix_url
    defaults = {"DASHBOARDS_URL": home.dashboards_url, "DEPLOYMENT_ENVIRONMENT": "local"}
    return Command([sys.executable, "-m", "dashboards.viewer"], environment, defaults)


SERVICES: dict[str, Service] = {
    service.name: service
    for service in (
        Service(
            "postgres",
            "PostgreSQL",
            postgres.command,
            postgres.check,
            lambda home: f"postgresql://agents@127.0.0.1:{home.ports['postgres']}/agents",
            ready=60,
            stop_signal="INT",  # fast shutdown: clients are disconnected, nothing is lost
            orphan_signal="INT",
        ),
        Service(
            "clickhouse",
            "ClickHouse",
            _clickhouse,
            lambda home: require_ok(home.ports["clickhouse_http"], "/ping"),
            lambda home: f"http://127.0.0.1:{home.ports['clickhouse_http']}/play",
            ready=60,
        ),
        Service(
            "phoenix",
            "Phoenix",
            phoenix.command,
            phoenix.check,
            lambda home: home.phoenix_url,
            ready=180,
            stop_seconds=10,
        ),
        Service(
            "collector",
            "Collector",
            collector.command,
            collector.check,
            lambda home: f"http://127.0.0.1:{home.ports['otlp_grpc']} (OTLP gRPC)",
            ready=30,
        ),
        Service(
            "runtime",
            "Runtime",
            _runtime,
            lambda home: require_ok(home.ports["runtime"], "/health"),
            lambda home: f"{home.runtime_url}/docs",
            ready=90,
            stop_seconds=30,
        ),
        Service(
            "dashboards",
            "Dashboards",
            _dashboards,
            lambda home: require_ok(home.ports["dashboards"], "/dashboards/api/health"),
            lambda home: f"{home.dashboards_url}/dashboards",
            ready=60,
            stop_seconds=10,
        ),
    )
}


def write_command(home: Home, service: Service) -> None:
    """Leaves for stack.child what the service is to be started with, from now on."""
    directory = home.path / "commands"
    directory.mkdir(mode=0o700, exist_ok=True)
    plan = {"command": asdict(service.command(home)), "orphan_signal": f"SIG{service.orphan_signal}"}
    write(directory / f"{service.name}.json", plan)


def runtime_version() -> str:
    """Changes whenever `python -m runtime migrate` could have something to do."""
    digest = hashlib.sha256(version("agno").encode())
    for path in sorted((PROJECT / "runtime").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def migrate(home: Home, module: str) -> subprocess.CompletedProcess[str]:
    """Runs `python -m MODULE migrate`."""
    return subprocess.run(
        [sys.executable, "-m", module, "migrate"],
        env=_runtime(home).full_environment(),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
