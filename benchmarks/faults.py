"""Faults, each caused for real while spans are made: what was sent, and what each store has lost or doubled of it.

A sender makes runs with telemetry.pipeline as the runtime does, and writes down the id of each span that has ended.
Meanwhile services are killed (-9) and started again, slowed down or cut off. Then the ids in each store are compared.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import causes
from benchmarks.causes import Bench
from benchmarks.figures import Figure
from benchmarks.runs import Felt, send
from benchmarks.services import use_collector
from benchmarks.stored import in_clickhouse, in_phoenix, in_postgres
from stack import postgres
from stack.alone import temporary_home
from stack.services import migrate as migrate_runtime
from telemetry import pipeline
from telemetry.clickhouse.migrate import migrate

RATE = 500  # spans a second
WITH_PHOENIX = 40  # Phoenix stores under 100 in a second
SECONDS, QUICK_SECONDS = 60.0, 12.0
ARRIVAL_SECONDS = 45.0  # without any more, until what is not there is lost


@dataclass(frozen=True)
class Fault:
    """`cause` is called once, after a quarter of the load, with the seconds of load that are left."""

    name: str
    cause: Callable[[Bench, float], None]
    direct: bool = False
    phoenix: bool = False


FAULTS = (
    Fault("collector killed", causes.kill("collector")),
    Fault("ClickHouse killed", causes.kill("clickhouse")),
    Fault("Postgres killed", causes.kill("postgres")),
    Fault("Phoenix killed", causes.kill("phoenix"), phoenix=True),
    Fault("all four killed at once", causes.kill("collector", "clickhouse", "postgres", "phoenix"), phoenix=True),
    Fault("collector killed while ClickHouse is away", causes.kill_collector_with_its_queue),
    Fault("exporter process killed", causes.kill_exporter),
    Fault("exporter process hangs", causes.hang_exporter),
    Fault("runtime killed", causes.kill_sender),
    Fault("ClickHouse answers after 3 s", causes.slow),
    Fault("ClickHouse stores, then the connection breaks", causes.hide_what_is_stored),
    Fault("the same without a collector", causes.hide_what_is_stored, direct=True),
    Fault("ClickHouse's disk is full", causes.fill_disk),
)


@dataclass
class Result:
    sent: int
    stores: dict[str, tuple[int, int]] = field(default_factory=dict)  # lost, doubled
    felt: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", default="", help="faults whose name contains this")
    parser.add_argument("--seconds", type=float, help=f"of load for each fault, default {SECONDS:.0f}")


def run(arguments: argparse.Namespace) -> Iterator[Figure]:
    seconds = arguments.seconds or (QUICK_SECONDS if arguments.quick else SECONDS)
    table = Table("fault", "sent", "Postgres", "ClickHouse", "Phoenix", "the sender", title="lost / doubled")
    os.environ["PHOENIX_SPANS_PER_SECOND"] = "100000"  # the collector keeps all for Phoenix, so that all is compared
    with temporary_home() as home, causes.disk(home.path / "clickhouse"):
        use_collector(home)
        postgres.prepare(home)
        bench = Bench(home)
        try:
            bench.services.start("postgres", "clickhouse")
            postgres.create_database(home)
            migrate_runtime(home, "runtime").check_returncode()
            migrate(home.clickhouse_url)
            bench.services.start("collector")
            for fault in FAULTS:
                if arguments.only in fault.name:
                    found = measure(bench, fault, seconds)
                    print(fault.name, found, file=sys.stderr)
                    stores = [found.stores.get(store) for store in ("postgres", "clickhouse", "phoenix")]
                    cells = ["-" if it is None else f"{it[0]:,} / {it[1]:,}" for it in stores]
                    table.add_row(fault.name, f"{found.sent:,}", *cells, found.felt)
                    yield from figures(fault, found)
        finally:
            bench.close()
            Console(file=sys.stderr, width=160).print(table)


def figures(fault: Fault, found: Result) -> Iterator[Figure]:
    for store, (lost, doubled) in found.stores.items():
        yield Figure("faults", f"{fault.name}: {store} lost", lost, "span", found.sent)
        yield Figure("faults", f"{fault.name}: {store} doubled", doubled, "span", found.sent)


def measure(bench: Bench, fault: Fault, seconds: float) -> Result:
    if fault.phoenix:
        bench.services.start("phoenix")
        bench.services.kill("collector")  # with what it has kept for Phoenix, which was not there
        bench.services.start("collector")
    else:
        bench.services.stop("phoenix")
    home = bench.home
    ids = home.path / "ids"
    ids.unlink(missing_ok=True)
    rate = WITH_PHOENIX if fault.phoenix else RATE
    settings = pipeline.Settings(
        service_name="agent-runtime",
        environment="benchmark",
        mode="direct" if fault.direct else "collector",
        otlp_endpoint=f"http://127.0.0.1:{home.ports['otlp_grpc']}",
        database_url=home.database_url,
        clickhouse_url=home.clickhouse_url.replace(f":{home.ports['clickhouse_http']}", f":{bench.http_proxy.port}"),
    )
    context = multiprocessing.get_context("spawn")
    felt: list[Felt] = []

    def load(seconds: float, cause: Callable[[], None] | None) -> None:
        mine, theirs = context.Pipe(duplex=False)
        bench.sender = context.Process(target=send, args=(settings, rate, seconds, str(ids), theirs), daemon=True)
        bench.sender.start()
        theirs.close()
        if cause is not None:
            time.sleep(seconds / 4)
            cause()
        try:
            felt.append(mine.recv())
        except EOFError:  # it was killed
            load(seconds / 2, None)
        bench.sender.join()

    load(seconds, lambda: fault.cause(bench, seconds * 3 / 4))
    bench.heal()
    sent = {line for line in Path(ids).read_text().split("\n") if len(line) == 16}
    result = Result(len(sent), felt=f"{max(it.longest for it in felt) * 1000:.0f} ms at most; {felt[-1].lost} lost")
    result.stores["postgres"] = compared(sent, lambda: in_postgres(home))
    result.stores["clickhouse"] = compared(sent, lambda: in_clickhouse(home))
    if fault.phoenix:
        result.stores["phoenix"] = compared(sent, lambda: in_phoenix(home, "agent-runtime"))
    return result


def compared(sent: set[str], read: Callable[[], Counter[str]]) -> tuple[int, int]:
    """How many of those sent are lost once no more arrive, and how many rows are too many."""
    before, changed = -1, time.monotonic()
    while True:
        found = read()
        lost = sum(span not in found for span in sent)
        if lost != before:
            before, changed = lost, time.monotonic()
        if not lost or time.monotonic() - changed > ARRIVAL_SECONDS:
            return lost, sum(found[span] - 1 for span in sent if span in found)
        time.sleep(1)
