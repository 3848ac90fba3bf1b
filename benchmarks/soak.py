"""Minutes at half of the maximum rate through the collector: does anything grow, and does anything get lost?

Starts its own Postgres, ClickHouse and collector (no Phoenix: its branch of the collector samples and drops), a sender
that makes spans with the runtime's own telemetry, and a runtime that takes five webhooks a second and executes them.
A short ramp finds the maximum: the highest rate at which, after some seconds, less than two seconds' spans wait.

*_growth: the slope of a process' resident memory, with its children's, after the first third of the time; of Postgres,
whose processes share theirs, what is private. parts: active parts of one table of ClickHouse, the most at any time.
"""

import argparse
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import clickhouse_connect
import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from benchmarks import webhooks
from benchmarks.figures import Figure
from benchmarks.load import Load, loading
from benchmarks.sender import Sender, sender
from benchmarks.services import use_collector
from benchmarks.stored import in_clickhouse, in_postgres
from stack import postgres
from stack.alone import running, temporary_home
from stack.home import Home
from stack.services import migrate as migrate_runtime
from telemetry import pipeline
from telemetry.clickhouse.migrate import migrate

MINUTES, QUICK_MINUTES = 10.0, 1.0
FIRST_RATE, STEP, STEP_SECONDS, QUICK_STEP_SECONDS = 500, 1.5, 12.0, 5.0
BEHIND_SECONDS = 2.0
SAMPLE_SECONDS = 2.0
WEBHOOKS = 5  # a second
DRAIN_SECONDS = 120.0
WARM_UP = 1 / 3  # of the time

Samples = dict[str, list[tuple[float, float]]]  # by what is measured: (seconds, value)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, help=f"default {MINUTES:.0f}, {QUICK_MINUTES:.0f} with --quick")
    parser.add_argument("--rate", type=int, help="spans a second, instead of half of what the ramp finds")


def run(arguments: argparse.Namespace) -> Iterator[Figure]:
    minutes = arguments.minutes or (QUICK_MINUTES if arguments.quick else MINUTES)
    with temporary_home() as home, ExitStack() as parts:
        use_collector(home)
        postgres.prepare(home)
        watched = {name: parts.enter_context(running(home, name)).pid for name in ("postgres", "clickhouse")}
        postgres.create_database(home)
        migrate_runtime(home, "runtime").check_returncode()
        migrate(home.clickhouse_url)
        watched["collector"] = parts.enter_context(running(home, "collector")).pid
        (home.path / "agents").mkdir()
        (home.path / "agents" / "echo.py").write_text(webhooks.AGENT)
        port, runtime = parts.enter_context(
            webhooks.runtime(
                home, "soak", home.ports["otlp_grpc"], RUN_CONCURRENCY="8", OTEL_METRIC_EXPORT_INTERVAL="5000"
            )
        )
        load = parts.enter_context(loading(_settings(home)))
        client = parts.enter_context(sender())
        watched |= {"runtime": runtime.pid, "sender": load.pid}
        processes = {name: psutil.Process(pid) for name, pid in watched.items()}
        rate = arguments.rate
        if rate is None:
            most = ramp(load, QUICK_STEP_SECONDS if arguments.quick else STEP_SECONDS)
            yield Figure("soak", "maximum_rate", most, "span/s", 1)
            rate = most // 2
        over = threading.Event()
        sending = threading.Thread(target=send_webhooks, args=(client, port, over))
        sending.start()
        since, lost = datetime.now(UTC), load.state()["lost"]  # the ramp ends where spans are lost
        try:
            yield from measure(home, load, processes, port, rate, minutes * 60)
        finally:
            over.set()
            sending.join()
        yield from agreement(home, load, port, since, lost)


def ramp(load: Load, seconds: float) -> int:
    """The highest rate at which the sender does not fall behind, and nothing piles up."""
    rate, best = float(FIRST_RATE), 0
    while True:
        load.rate(rate)
        before, began = load.state(), time.monotonic()
        time.sleep(seconds)
        state, elapsed = load.state(), time.monotonic() - began
        made = (state["spans"] - before["spans"]) / elapsed
        print(f"at {rate:,.0f} a second: {made:,.0f} made, {state['queued']:,} wait", file=sys.stderr)
        if state["queued"] > BEHIND_SECONDS * rate or made < 0.9 * rate or state["lost"]:
            break
        rate, best = rate * STEP, int(rate)
    load.rate(0)
    while load.state()["queued"]:
        time.sleep(0.5)
    return best or int(made)


def measure(
    home: Home, load: Load, processes: dict[str, psutil.Process], port: int, rate: int, seconds: float
) -> Iterator[Figure]:
    samples: Samples = defaultdict(list)
    busy = {name: busy_seconds(process) for name, process in processes.items()}
    began, spans = time.monotonic(), load.state()["spans"]
    load.rate(rate)
    while (now := time.monotonic() - began) < seconds:
        for name, value in _sample(home, load, processes, port):
            samples[name].append((now, value))
        time.sleep(SAMPLE_SECONDS)
    cores = {name: (busy_seconds(process) - busy[name]) / now for name, process in processes.items()}
    made = load.state()["spans"] - spans
    load.rate(0)

    def figure(name: str, value: float, unit: str) -> Figure:
        return Figure("soak", name, round(value, 2), unit, made)

    yield figure("minutes", now / 60, "min")
    yield figure("spans_per_second", made / now, "span/s")
    for name, taken in samples.items():
        values = [value for _, value in taken]
        if name.endswith("_memory"):
            late = [(at, value) for at, value in taken if at > WARM_UP * seconds] or taken
            yield figure(name, statistics.median(value for _, value in late), "MB")
            yield figure(name.replace("_memory", "_growth"), 60 * slope(late), "MB/min")
        else:
            yield figure(f"{name}_max", max(values), name.partition("_")[0].removesuffix("s"))
    for name, used in cores.items():
        yield figure(f"{name}_cores", used, "core")


def _sample(home: Home, load: Load, processes: dict[str, psutil.Process], port: int) -> Iterator[tuple[str, float]]:
    for name, process in processes.items():
        yield f"{name}_memory", memory(process, private=name == "postgres") / 1e6
    yield "spans_that_wait_in_the_sender", load.state()["queued"]
    telemetry = httpx.get(f"http://127.0.0.1:{port}/api/telemetry", trust_env=False).json()
    yield "spans_that_wait_in_the_runtime", max(its["queued"] for name, its in telemetry.items() if name != "logs")
    metrics = httpx.get(home.collector_metrics_url, trust_env=False).text
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            if sample.name.startswith("otelcol_exporter_queue_size") and "clickhouse" in sample.labels.get(
                "exporter", ""
            ):
                yield "items_that_wait_in_the_collector", sample.value
    for (parts,) in query(home, "SELECT max(parts) FROM (" + _PARTS + ")"):
        yield "parts", parts


_PARTS = "SELECT table, count() AS parts FROM system.parts WHERE active AND database = currentDatabase() GROUP BY table"


def agreement(home: Home, load: Load, port: int, since: datetime, lost: int) -> Iterator[Figure]:
    """Span by span: what the one store has and the other has not, once no more arrive; of those since the ramp."""
    began = time.monotonic()
    while time.monotonic() - began < DRAIN_SECONDS:
        telemetry = httpx.get(f"http://127.0.0.1:{port}/api/telemetry", trust_env=False).json()
        if not (load.state()["queued"] or any(its["queued"] for its in telemetry.values())):
            break
        time.sleep(0.5)
    made = load.state()
    here, there = in_postgres(home, since), in_clickhouse(home, since)
    while here.keys() != there.keys() and time.monotonic() - began < DRAIN_SECONDS:
        time.sleep(2)
        here, there = in_postgres(home, since), in_clickhouse(home, since)

    def figure(name: str, value: float) -> Figure:
        return Figure("soak", name, value, "span", len(here))

    yield figure("spans_in_postgres", len(here))
    yield figure("missing_in_clickhouse", len(here.keys() - there.keys()))
    yield figure("missing_in_postgres", len(there.keys() - here.keys()))
    yield figure("doubled_in_clickhouse", sum(there.values()) - len(there))
    yield figure("lost_by_the_sender", made["lost"] - lost)
    yield figure("lost_by_the_runtime", sum(i["dropped"] + i["failed"] for i in telemetry.values()))


def memory(process: psutil.Process, private: bool) -> float:
    """Bytes, with its children's."""
    total = 0
    for its in (process, *process.children(recursive=True)):
        try:
            total += its.memory_full_info().uss if private else its.memory_info().rss
        except psutil.NoSuchProcess:  # it has ended meanwhile
            continue
    return float(total)


def busy_seconds(process: psutil.Process) -> float:
    """Of processor time, with its children's and theirs: Postgres has one for each connection."""
    times = [its.cpu_times() for its in (process, *process.children(recursive=True))]
    return float(sum(its.user + its.system for its in times))


def slope(samples: list[tuple[float, float]]) -> float:
    """Of the straight line that fits best, by second."""
    if len(samples) < 2:
        return 0.0
    return statistics.linear_regression(*zip(*samples, strict=True)).slope


def send_webhooks(client: Sender, port: int, over: threading.Event) -> None:
    while not over.is_set():
        client.send(port, webhooks.requests("/api/webhooks/echo", WEBHOOKS * 5), 5.0, 4, WEBHOOKS)


def query(home: Home, statement: str) -> list[Any]:
    client = clickhouse_connect.get_client(dsn=home.clickhouse_readonly_url)
    try:
        return list(client.query(statement).result_rows)
    finally:
        client.close()


def _settings(home: Home) -> pipeline.Settings:
    return pipeline.Settings(
        service_name="agent-runtime",
        environment="benchmark",
        mode="collector",
        otlp_endpoint=f"http://127.0.0.1:{home.ports['otlp_grpc']}",
        database_url=home.database_url,
    )
