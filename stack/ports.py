"""Which TCP ports the services get on this machine."""

import random
import socket
from collections.abc import Mapping

import psutil

from stack.errors import StackError
from stack.settings import Settings

DEFAULTS: Mapping[str, int] = {
    "runtime": 7777,
    "dashboards": 3000,
    "phoenix": 6006,
    "phoenix_grpc": 4319,  # Phoenix's own default is the collector's 4317
    "otlp_grpc": 4317,
    "otlp_http": 4318,
    "collector_health": 13133,
    "collector_metrics": 8888,
    "clickhouse_http": 8123,
    "clickhouse_tcp": 9000,
    "postgres": 5432,
}


def is_free(port: int) -> bool:
    """True when a server could listen there, on loopback and on all interfaces (as Phoenix's gRPC does)."""
    for host in ("127.0.0.1", "0.0.0.0"):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True


def find_free(taken: set[int]) -> int:
    """A free port below those that the kernel hands to outgoing connections, so that it stays free."""
    for _ in range(1000):
        port = random.randrange(20000, 32000)
        if port not in taken and is_free(port):
            return port
    raise StackError("no free TCP port between 20000 and 32000", "close some servers, then try again")


def holder(port: int) -> str:
    """The process that listens on the port, as far as the system lets us know."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
                if connection.pid is None:
                    break
                process = psutil.Process(connection.pid)
                return f"process {connection.pid} ({' '.join(process.cmdline())[:100] or process.name()})"
    except psutil.Error:
        pass
    return "another process (of another user, so its name is not known)"


def choose(settings: Settings, previous: Mapping[str, int]) -> dict[str, int]:
    """One port per service: what the user set, else the default, else the previous one, else a free one.

    Raises StackError when a port that the user set is busy.
    """
    chosen: dict[str, int] = {}
    for name in DEFAULTS:
        wanted = settings.port(name)
        if wanted:
            variable = f"STACK_{name.upper()}_PORT"
            if wanted in chosen.values():
                raise StackError(f"port {wanted} is set twice", f"set {variable} to another port")
            if not is_free(wanted):
                raise StackError(
                    f"port {wanted} ({variable}) is held by {holder(wanted)}",
                    f"stop that process, or set {variable} to another port, or unset it to get a free one",
                )
            chosen[name] = wanted
    reserved = {port for port in map(settings.port, DEFAULTS) if port}
    for name, default in DEFAULTS.items():
        if name in chosen:
            continue
        taken = set(chosen.values()) | reserved
        candidates = [] if settings.port(name) == 0 else [default, previous.get(name, 0)]
        usable = (port for port in candidates if port and port not in taken and is_free(port))
        chosen[name] = next(usable, 0) or find_free(taken)
    return {name: chosen[name] for name in DEFAULTS}
