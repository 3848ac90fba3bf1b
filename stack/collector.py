"""The OpenTelemetry Collector as a service of the stack. Where its binary comes from: stack/collector_build.py."""

import os

from stack.errors import StackError
from stack.health import require_ok
from stack.home import Home
from stack.process import PROJECT, Command

CONFIG = PROJECT / "otel-collector.yaml"


def environment(home: Home) -> dict[str, str]:
    """The variables of otel-collector.yaml. PHOENIX_SLOW_MS and the like, set by the user, go through."""
    ports = home.ports
    sampling = {name: value for name, value in os.environ.items() if name.startswith("PHOENIX_")}
    return {
        "PHOENIX_DECISION_WAIT": "5s",  # one machine: spans arrive within seconds
        **sampling,
        "OTLP_GRPC_ENDPOINT": f"127.0.0.1:{ports['otlp_grpc']}",
        "OTLP_HTTP_ENDPOINT": f"127.0.0.1:{ports['otlp_http']}",
        "HEALTH_ENDPOINT": f"127.0.0.1:{ports['collector_health']}",
        "OWN_METRICS_ENDPOINT": f"http://127.0.0.1:{ports['otlp_http']}",
        "METRICS_HOST": "127.0.0.1",
        "METRICS_PORT": str(ports["collector_metrics"]),
        "CLICKHOUSE_ENDPOINT": f"tcp://127.0.0.1:{ports['clickhouse_tcp']}",
        "CLICKHOUSE_DATABASE": "otel",
        "CLICKHOUSE_USER": "otel",
        "CLICKHOUSE_PASSWORD": home.secrets.clickhouse,
        "PHOENIX_ENDPOINT": home.phoenix_url,
        "PHOENIX_API_KEY": home.phoenix_api_key,
        "QUEUE_DIRECTORY": str(home.path / "collector"),
    }


def command(home: Home) -> Command:
    if not home.state.collector:
        raise StackError("no collector has been found or built yet", "`stack up`")
    return Command([home.state.collector, "--config", str(CONFIG)], environment(home))


def check(home: Home) -> None:
    require_ok(home.ports["collector_health"], "/")
