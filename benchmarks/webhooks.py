"""Webhooks over HTTP: accepted in a second, beside an empty FastAPI endpoint; and how long they take at half that rate.

Starts its own Postgres, with fsync on, and a collector that swallows. Signed deliveries of 200 bytes, each another one,
come over 64 kept connections from one process. The empty endpoint gets the same requests on the same server settings
(uvicorn, uvloop, httptools, one process). Rounds take turns.

accepted_vs_empty_endpoint: the default telemetry; each is verified, deduplicated and committed with its ticket.
The runtime executes nothing meanwhile: that is what `python -m runtime work` is for.
accepted_without_telemetry: the same with TELEMETRY_MODE=off, which says what spans and metrics cost.
p99_ms: at half the rate of the first, from the time at which a request was due; 8 runs at a time are executed all the
while by a process beside (`python -m runtime work`), which wait for their model for half a second to one and a half.
p99_in_process_ms: the same when the serving process executes the runs itself.
"""

import argparse
import base64
import hashlib
import hmac
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import psycopg
import uvicorn
from fastapi import FastAPI

from benchmarks.figures import Figure
from benchmarks.ingest import cpu_seconds
from benchmarks.sender import Sender, sender
from stack import postgres
from stack.alone import running, temporary_home
from stack.home import Home
from stack.ports import find_free
from stack.process import PROJECT
from stack.services import migrate

ROUNDS, QUICK_ROUNDS = 7, 3
SECONDS, QUICK_SECONDS = 5.0, 2.0  # of a round
LATENCY_SECONDS, QUICK_LATENCY_SECONDS = 30.0, 8.0
CONNECTIONS = 64
MOST = 12_000  # requests a second that are made before a round
CONCURRENCY = 8
KEY = b"0123456789abcdef0123456789abcdef"
AGENT = """
from agno.agent import Agent

from runtime.offline import OfflineModel

echo = Agent(id="echo", model=OfflineModel(latency=0.0))
"""


def add_arguments(parser: argparse.ArgumentParser) -> None: ...


def run(arguments: argparse.Namespace) -> Iterator[Figure]:
    rounds = QUICK_ROUNDS if arguments.quick else ROUNDS
    seconds = QUICK_SECONDS if arguments.quick else SECONDS
    with temporary_home() as home, ExitStack() as parts:
        postgres.prepare(home)
        parts.enter_context(running(home, "postgres"))
        postgres.create_database(home)
        migrate(home, "runtime").check_returncode()
        (home.path / "agents").mkdir()
        (home.path / "agents" / "echo.py").write_text(AGENT)
        collector = parts.enter_context(process(swallow))
        client = parts.enter_context(sender())
        servers = {
            "empty": Server(parts.enter_context(process(empty))),
            "accepting": Server(*parts.enter_context(runtime(home, "accepting", collector))),
            "without telemetry": Server(
                *parts.enter_context(runtime(home, "without", collector, TELEMETRY_MODE="off"))
            ),
        }
        yield from throughput(client, servers, home, rounds, seconds)
        rate = statistics.median(servers["accepting"].rates) / 2
        seconds = QUICK_LATENCY_SECONDS if arguments.quick else LATENCY_SECONDS
        working = {"RUN_CONCURRENCY": str(CONCURRENCY)}
        yield Figure("webhooks", "p99_at_rate", round(rate), "request/s", 1)
        with process_of_workers(home, collector, **working):
            yield from latency(client, servers["accepting"], home, rate, seconds, "ms")
        with runtime(home, "working", collector, **working) as (port, started):
            yield from latency(client, Server(port, started), home, rate, seconds, "in_process_ms")


class Server:
    """`path` takes the requests; `answer` is the status that counts."""

    def __init__(self, port: int, process: psutil.Process | None = None) -> None:
        self.port = port
        self.process = process
        self.path = "/api/webhooks/echo" if process else "/empty"
        self.answer = 202 if process else 200
        self.rates: list[float] = []
        self.busy: list[float] = []  # cores of the server's process

    def settle(self) -> None:
        """Until the spans of the last round are sent."""
        if self.process is not None:
            while any(d["queued"] for d in self._telemetry().values()):
                time.sleep(0.1)

    def dropped(self) -> int:
        return sum(d["dropped"] + d["failed"] for d in self._telemetry().values())

    def _telemetry(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"http://127.0.0.1:{self.port}/api/telemetry", trust_env=False).json()
        return found


def throughput(client: Sender, servers: dict[str, Server], home: Home, rounds: int, seconds: float) -> Iterator[Figure]:
    for server in servers.values():  # a first round is for the caches
        client.send(server.port, requests(server.path, MOST), 1.0, CONNECTIONS)
    for _ in range(rounds):
        for name, server in servers.items():
            server.settle()
            empty_the_queue(home)
            made = requests(server.path, int(MOST * seconds))
            busy = cpu_seconds(server.process) if server.process else 0.0
            result = client.send(server.port, made, seconds, CONNECTIONS)
            server.rates.append(result.per_second(server.answer))
            if server.process:
                server.busy.append((cpu_seconds(server.process) - busy) / result.elapsed)
            if result.statuses.keys() != {server.answer}:
                print(f"{name} answered {dict(result.statuses)}", file=sys.stderr)
    baseline = statistics.median(servers["empty"].rates)
    for figure, name in (
        ("accepted_vs_empty_endpoint", "accepting"),
        ("accepted_without_telemetry", "without telemetry"),
    ):
        yield Figure("webhooks", figure, statistics.median(servers[name].rates), "request/s", rounds, baseline)
    yield Figure("webhooks", "accepting_cores", round(statistics.median(servers["accepting"].busy), 2), "core", rounds)
    yield Figure("webhooks", "spans_dropped", servers["accepting"].dropped(), "span", rounds)


def latency(client: Sender, server: Server, home: Home, rate: float, seconds: float, name: str) -> Iterator[Figure]:
    empty_the_queue(home)
    client.send(server.port, requests(server.path, int(rate)), 2.0, CONNECTIONS, rate)  # the runs begin
    before = completed(home)
    result = client.send(server.port, requests(server.path, int(rate * seconds)), seconds, CONNECTIONS, rate)
    runs = completed(home) - before
    if result.statuses.keys() != {server.answer}:
        print(f"at {rate:.0f} a second it answered {dict(result.statuses)}", file=sys.stderr)
    answered = result.statuses[server.answer]
    for percent in (50, 99):
        value = round(result.percentile(percent / 100) * 1000, 2)
        yield Figure("webhooks", f"p{percent}_{name}", value, "ms", answered)
    yield Figure("webhooks", f"runs_{name.removesuffix('ms')}per_second", round(runs / seconds, 1), "run/s", runs)


def empty_the_queue(home: Home) -> None:
    """As it is where runs keep up with what is accepted: a queue's depth is counted as far as its limit."""
    with psycopg.connect(home.database_url) as connection:
        connection.execute("TRUNCATE tickets, deliveries")


def completed(home: Home) -> int:
    with psycopg.connect(home.database_url) as connection:
        row = connection.execute("SELECT count(*) FROM tickets WHERE status = 'completed'").fetchone()
    return int(row[0]) if row else 0


_number = count()


def requests(path: str, amount: int) -> list[bytes]:
    """Signed now, each with an id and a session of its own."""
    timestamp = str(int(time.time()))
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: benchmark\r\ncontent-type: application/json\r\n"
    made = []
    for _ in range(amount):
        number = next(_number)
        body = json.dumps(
            {
                "input": f"[slow {0.5 + number % 11 / 10}] {'where is the order that I have been waiting for? ' * 3}",
                "session_id": f"s-{number}",
            }
        ).encode()
        delivery_id = f"msg_{os.getpid()}_{number}"
        mac = hmac.digest(KEY, f"{delivery_id}.{timestamp}.".encode() + body, hashlib.sha256)
        signature = "v1," + base64.b64encode(mac).decode()
        made.append(
            f"{head}content-length: {len(body)}\r\nwebhook-id: {delivery_id}\r\nwebhook-timestamp: {timestamp}\r\n"
            f"webhook-signature: {signature}\r\n\r\n".encode()
            + body
        )
    return made


@contextmanager
def runtime(home: Home, name: str, collector: int, **settings: str) -> Iterator[tuple[int, psutil.Process]]:
    """A serving runtime; executes nothing unless `settings` say so."""
    port = find_free(set())
    with _started("serve", home, name, collector, RUNTIME_PORT=str(port), **settings) as (process, log):
        wait_for(port, log)
        yield port, process


@contextmanager
def process_of_workers(home: Home, collector: int, **settings: str) -> Iterator[None]:
    with _started("work", home, "workers", collector, **settings) as (_, log):
        while "executing runs" not in log.read_text():
            time.sleep(0.1)
        yield


@contextmanager
def _started(
    command: str, home: Home, name: str, collector: int, **settings: str
) -> Iterator[tuple[psutil.Process, Path]]:
    environment = {
        **os.environ,
        "DATABASE_URL": home.database_url,
        "AGENTS_DIR": str(home.path / "agents"),
        "WEBHOOK_SECRET": "whsec_" + base64.b64encode(KEY).decode(),
        "WEBHOOK_RATE": "1000000/second",
        "QUEUE_MAX_DEPTH": "100000",
        "RUN_CONCURRENCY": "0",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector}",
        **settings,
    }
    log = home.logs / f"runtime-{name}.log"
    with log.open("ab") as output:
        started = subprocess.Popen(
            [sys.executable, "-m", "runtime", command], env=environment, cwd=PROJECT, stdout=output, stderr=output
        )
    try:
        yield psutil.Process(started.pid), log
    finally:
        started.terminate()
        try:
            started.wait(30)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextmanager
def process(target: Any) -> Iterator[int]:
    """`target(port)` in a process of its own, once it listens."""
    port = find_free(set())
    started = multiprocessing.get_context("spawn").Process(target=target, args=(port,), daemon=True)
    started.start()
    try:
        wait_for(port)
        yield port
    finally:
        started.terminate()
        started.join(10)


def wait_for(port: int, log: Path | None = None) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False, timeout=1)
            return
        except httpx.RemoteProtocolError:  # gRPC
            return
        except httpx.TransportError as error:
            if time.monotonic() > deadline:
                raise RuntimeError(log.read_text() if log else f"nothing listens on {port}") from error
            time.sleep(0.1)


def empty(port: int) -> None:
    """What anybody would write, on the server settings of the runtime."""
    app = FastAPI()

    @app.post("/empty")
    async def empty() -> dict[str, str]:
        return {}

    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_config=None)


def swallow(port: int) -> None:
    """A collector that answers at once and keeps nothing."""

    class Everything(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(lambda request, context: b"")

    server = grpc.server(ThreadPoolExecutor(4), handlers=[Everything()])
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()
