"""Spans from OTLP through the collector into ClickHouse: sent, lost, doubled; the direct writer beside agno's own.

Starts its own ClickHouse and collector. One sender process sends `--rate` spans a second (0: as many as the collector
takes) over gRPC, and sends a refused batch again, as SDKs do. Without `--phoenix` nobody is there for its branch of the
collector: it samples, fills its queue and drops. Neither way may it hold back the other branch.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import httpx
import psutil

from benchmarks import direct
from benchmarks.figures import Figure
from benchmarks.services import use_collector
from benchmarks.traffic import SPANS_PER_RUN, Traffic
from stack.alone import running, temporary_home
from stack.home import Home
from telemetry.clickhouse.migrate import migrate

RATE = 5_000  # spans a second
SECONDS = 60.0
QUICK_SECONDS = 10.0
BATCH = 500  # spans in a request; the Python SDK's batch processor sends up to 512
DRAIN_SECONDS = 120.0
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
RETRYABLE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rate", type=int, default=RATE, help="spans a second, 0: no limit (default %(default)s)")
    parser.add_argument("--phoenix", action="store_true", help="with Phoenix, on the same machine")
    parser.add_argument("--direct", action="store_true", help="only the direct writer; needs no collector")
    parser.add_argument("--seconds", type=float, help=f"default {SECONDS:.0f}, {QUICK_SECONDS:.0f} with --quick")


def run(arguments: argparse.Namespace) -> Iterator[Figure]:
    seconds = arguments.seconds or (QUICK_SECONDS if arguments.quick else SECONDS)
    with temporary_home() as home:
        if arguments.direct:
            with running(home, "clickhouse"):
                migrate(home.clickhouse_url)
                yield from direct.compare(home, arguments.quick)
            return
        use_collector(home)
        with ExitStack() as services:
            names = ["clickhouse", "collector", *(["phoenix"] if arguments.phoenix else [])]
            processes = {name: psutil.Process(services.enter_context(running(home, name)).pid) for name in names}
            migrate(home.clickhouse_url)
            yield from measure(home, arguments.rate, seconds, processes)
            if arguments.phoenix:
                yield Figure("ingest", "phoenix_kept", in_phoenix(home), "span", 1)
            yield from direct.compare(home, arguments.quick)


def measure(home: Home, rate: int, seconds: float, services: dict[str, psutil.Process]) -> Iterator[Figure]:
    context = multiprocessing.get_context("spawn")
    answers: Any = context.SimpleQueue()
    sender = context.Process(target=send, args=(home.ports["otlp_grpc"], rate, seconds, answers), daemon=True)
    busy = {name: cpu_seconds(process) for name, process in services.items()}
    sender.start()
    sent = answers.get()
    sender.join()
    print(f"sent {sent['spans']:,} spans, waiting for the last", file=sys.stderr)
    began = time.monotonic()
    distinct = rows = 0
    while distinct < sent["spans"] and time.monotonic() - began < DRAIN_SECONDS:
        time.sleep(0.25)
        distinct, rows = stored(home, sent["first"], sent["spans"])
    drained = time.monotonic() - began

    def figure(name: str, value: float, unit: str) -> Figure:
        return Figure("ingest", name, value, unit, sent["spans"])

    yield figure("clickhouse_sent", sent["spans"], "span")
    yield figure("clickhouse_lost", sent["spans"] - distinct, "span")
    yield figure("clickhouse_doubled", rows - distinct, "span")
    yield figure("spans_per_second", round(sent["spans"] / sent["seconds"], 1), "span/s")
    yield figure("drain_seconds", round(drained, 2), "s")
    yield figure("requests_sent_again", sent["retries"], "request")
    for name, process in services.items():
        cores = (cpu_seconds(process) - busy[name]) / (sent["seconds"] + drained)
        yield figure(f"{name}_cores", round(cores, 2), "core")
        yield figure(f"{name}_rss", round(process.memory_info().rss / 1e6, 1), "MB")


def in_phoenix(home: Home) -> int:
    """Spans that Phoenix has stored, counted through its API."""
    client = httpx.Client(
        base_url=home.phoenix_url, headers={"authorization": f"Bearer {home.phoenix_api_key}"}, timeout=60
    )
    found, parameters = 0, {"limit": "1000"}
    with client:
        while True:
            answer = client.get("/v1/projects/default/spans", params=parameters).raise_for_status().json()
            found += len(answer["data"])
            if not answer["next_cursor"]:
                return found
            parameters["cursor"] = answer["next_cursor"]


def cpu_seconds(process: psutil.Process) -> float:
    """Of it and of the processes that it has started, as a runtime has one that sends its spans."""
    times = [its.cpu_times() for its in (process, *process.children())]
    return float(sum(its.user + its.system for its in times))


def send(port: int, rate: int, seconds: float, answers: Any) -> None:
    """In a process of its own. Puts {"spans", "first" (span id), "seconds", "retries"} when all is acknowledged."""
    traffic = Traffic(BATCH // SPANS_PER_RUN, seed=os.getpid())
    retries = spans = 0
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        grpc.channel_ready_future(channel).result(timeout=10)
        export = channel.unary_unary(EXPORT)  # bytes in, bytes out
        began = time.monotonic()
        while (now := time.monotonic()) < began + seconds:
            if rate and spans > (now - began) * rate:
                time.sleep(min(0.01, spans / rate - (now - began)))
                continue
            request = traffic.fresh()
            while True:
                try:
                    export(request, timeout=30)
                    break
                except grpc.RpcError as error:
                    if error.code() not in RETRYABLE:
                        raise
                    retries += 1
                    time.sleep(0.2)
            spans += BATCH
        elapsed = time.monotonic() - began
    answers.put({"spans": spans, "first": traffic.first, "seconds": elapsed, "retries": retries})


def stored(home: Home, first: int, count: int) -> tuple[int, int]:
    """Distinct spans of those sent, and rows, as the read-only user (and so every dashboard) sees them."""
    ids = "reinterpretAsUInt64(reverse(unhex(SpanId)))"
    query = f"SELECT uniqExact(SpanId), count() FROM otel_traces WHERE {ids} BETWEEN {first} AND {first + count - 1}"
    url = httpx.URL(home.clickhouse_readonly_url)
    parameters = {"database": url.path.strip("/"), "default_format": "JSONCompact"}
    answer = httpx.post(url.copy_with(path="/"), params=parameters, content=query, timeout=60)
    answer.raise_for_status()
    distinct, rows = json.loads(answer.text)["data"][0]
    return int(distinct), int(rows)
