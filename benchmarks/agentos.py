"""AgentOS over HTTP under each instrumentation: requests per second, and how long the event loop is held.

`POST /agents/{id}/runs` to an AgentOS with its sessions in Postgres, under uvicorn in a process of its own; the run is
that of `benchmarks overhead`, its model answers at once. The app is the benchmark's own (benchmarks/served.py): agno's
`tracing=True` and OpenInference cannot be put into the runtime. One process sends, over kept connections, each request
with a session of its own. Ours exports to Postgres and to a receiver of OTLP, both on this machine; rounds take turns,
one server is at work at a time, and what a round left to export is flushed before the next begins.

requests_vs_untraced_WAY_CLIENTS: answered requests a second; WAY is plain (`stream=false`) or streaming, with 1 and
with 8 clients; the median of the rounds. The same for the others, by their names.
loop_blocked_ms: how late a task of the server's loop that sleeps for 2 ms wakes, at worst, with 8 clients: the median
of the rounds, beside the same without telemetry. loop_blocked_worst_ms: the worst of all rounds. This on agno's
asynchronous database: the synchronous one holds the loop for a tenth of a second itself. `tracing=True` is left out
there, since it deadlocks.
"""

import argparse
import os
import subprocess
import sys
import urllib.parse
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from statistics import median

import httpx

from benchmarks.figures import Figure
from benchmarks.instrumentations import VARIANTS
from benchmarks.instrumented import PROMPT
from benchmarks.overhead import make_tables
from benchmarks.receiver import Receiver, receiver
from benchmarks.sender import Sender, sender
from benchmarks.webhooks import wait_for
from stack import postgres
from stack.alone import running, temporary_home
from stack.home import Home
from stack.ports import find_free
from stack.process import PROJECT

ROUNDS, QUICK_ROUNDS = 7, 1
SECONDS, QUICK_SECONDS = 1.5, 1.0  # of a round
MOST = 400  # requests a second that are made before a round
NAMES = ("nothing", "ours", "openinference", "agno_tracing")
PROBED = ("nothing", "ours", "openinference")
WAYS = [(way, clients) for way in ("plain", "streaming") for clients in (1, 8)]


def add_arguments(parser: argparse.ArgumentParser) -> None: ...


def run(arguments: argparse.Namespace) -> Iterator[Figure]:
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS) if arguments.quick else (ROUNDS, SECONDS)
    with temporary_home() as home, receiver() as received, ExitStack() as parts:
        postgres.prepare(home)
        parts.enter_context(running(home, "postgres"))
        make_tables(home)
        client = parts.enter_context(sender())
        ways = WAYS[::3] if arguments.quick else WAYS
        servers = [
            Server(name, kind, parts.enter_context(started(name, kind, received, home)))
            for kind, names in (("sync", NAMES), ("async", PROBED[:2] if arguments.quick else PROBED))
            for name in names
        ]
        for server in servers:
            wait_for(server.port, home.logs / f"{server.name}-{server.kind}.log")
            for way, clients in ways:  # for the caches
                client.send(server.port, requests(way, 200), 0.5, clients)
        yield from rates(client, [server for server in servers if server.kind == "sync"], ways, rounds, seconds)
        yield from probes(client, [server for server in servers if server.kind == "async"], rounds, seconds)


@dataclass
class Server:
    name: str
    kind: str
    port: int

    def round(self, client: Sender, way: str, clients: int, seconds: float) -> tuple[float, float]:
        """Requests a second, and the milliseconds by which the loop was late at worst; when all is flushed."""
        made = requests(way, int(MOST * seconds))
        httpx.get(f"http://127.0.0.1:{self.port}/begin", trust_env=False).raise_for_status()
        result = client.send(self.port, made, seconds, clients)
        answer = httpx.get(f"http://127.0.0.1:{self.port}/end", trust_env=False, timeout=120).raise_for_status()
        if result.statuses.keys() != {200}:
            print(f"{self.name} answered {dict(result.statuses)}", file=sys.stderr)
        return result.per_second(200), answer.json() * 1000


def rates(
    client: Sender, servers: list[Server], ways: list[tuple[str, int]], rounds: int, seconds: float
) -> Iterator[Figure]:
    found: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    for number in range(rounds):
        for way, clients in ways:
            for server in _turned(servers, number):
                found[way, clients, server.name].append(server.round(client, way, clients, seconds)[0])
    for way, clients in ways:
        baseline = round(median(found[way, clients, "nothing"]), 1)
        for server in servers[1:]:
            figure = f"requests_vs_untraced_{way}_{clients}{_suffix(server.name)}"
            value = round(median(found[way, clients, server.name]), 1)
            yield Figure("agentos", figure, value, "request/s", rounds, baseline)


def probes(client: Sender, servers: list[Server], rounds: int, seconds: float) -> Iterator[Figure]:
    late: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds):
        for way in ("plain", "streaming"):
            for server in _turned(servers, number):
                late[server.name].append(server.round(client, way, 8, seconds)[1])
    for server in servers[1:]:
        for figure, chosen in (("loop_blocked_ms", median), ("loop_blocked_worst_ms", max)):
            value, baseline = round(chosen(late[server.name]), 1), round(chosen(late["nothing"]), 1)
            yield Figure("agentos", figure + _suffix(server.name), value, "ms", len(late["nothing"]), baseline)


def _turned(servers: list[Server], number: int) -> list[Server]:
    at = number % len(servers)
    return servers[at:] + servers[:at]


def _suffix(name: str) -> str:
    return "" if name == "ours" else f"_{name}"


_number = count()


def requests(way: str, amount: int) -> list[bytes]:
    made = []
    for _ in range(amount):
        form = {"message": PROMPT, "stream": str(way == "streaming").lower(), "session_id": f"s-{next(_number)}"}
        body = urllib.parse.urlencode(form).encode()
        made.append(
            b"POST /agents/orders/runs HTTP/1.1\r\nhost: 127.0.0.1\r\n"
            b"content-type: application/x-www-form-urlencoded\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
    return made


@contextmanager
def started(name: str, kind: str, received: Receiver, home: Home) -> Iterator[int]:
    """The port at which it is going to listen."""
    port = find_free(set())
    variant = VARIANTS.get(name)
    environment = {**os.environ, "AGNO_TELEMETRY": "false", **(variant.environment if variant else {})}
    command = [sys.executable, "-m", "benchmarks.served", name, str(port), kind]
    command += [received.grpc, received.http, home.database_url]
    with (home.logs / f"{name}-{kind}.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, cwd=PROJECT, stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.kill()
        process.wait()
