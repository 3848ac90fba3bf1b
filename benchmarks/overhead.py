"""What instrumentation adds to an agent's run of two model calls and one tool call: ours, OpenInference and others.

Everything is on this machine: a Postgres with agno's tables, and a receiver of OTLP that keeps nothing. The model
answers at once, so that a run's time is agno's own and the instrumentation's. Content is recorded in full. Each variant
has a process of its own, since instrumentations replace agno's functions (benchmarks/instrumentations.py says how each
is set up). Peers that the project does not have get an environment of their own, which uv makes: openlit, mlflow and
traceloop need other versions of libraries, and logfire loads itself into every process that imports pydantic.

Rounds take turns, and within a round the variants do: a few dozen runs, one after the other, then all is flushed. One
process is at work at a time. A round's value is the median of its runs less the median of the runs of `nothing` in the
same round; a figure is the median of its rounds. `nothing_again` is a second process of `nothing`: how far it is from
zero is what a difference must exceed to mean anything. Garbage is collected before each round, and as usual during it.

added_us_MODE_VARIANT: time added to one run in the thread that runs it; its baseline is the run without anything. MODE
is sync (`agent.run`), async (`agent.arun`) or streaming (`agent.run(stream=True)`).
added_vs_openinference_MODE: ours, to Postgres and OTLP, beside OpenInference with a batch processor to OTLP alone.
cpu_us_VARIANT: processor time added to one run, flush included, of all threads and of the processes that were started
(our exporter's); mean of the modes. cpu_vs_openinference_MODE: beside OpenInference, as above.
off_vs_openinference_off: TELEMETRY_MODE=off beside OTEL_SDK_DISABLED=true; unsampled_vs_openinference_unsampled: both
with OTEL_TRACES_SAMPLER=always_off; means of the modes.
p99_vs_untraced_MODE: 200 runs a second, each timed alone, while what was recorded is exported: the 99th percentile.
added_at_200_a_second_MODE: the median of the same runs less that of untraced ones; ours, beside OpenInference's.
install_ms_VARIANT: to import and install the instrumentation, with agno imported, and with the providers and exporters
made before where they are not a part of it; prepare_ms_VARIANT: those. Of processes that do nothing else, with Python's
caches warm. `--quick` leaves out the peers that need environments of their own.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from statistics import mean, median
from typing import Any

from agno.db.postgres import PostgresDb

from benchmarks.figures import Figure
from benchmarks.instrumentations import VARIANTS
from benchmarks.receiver import Receiver, receiver
from stack import postgres
from stack.alone import running, temporary_home
from stack.home import Home
from stack.process import PROJECT

MODES = ("sync", "async", "streaming")
ROUNDS, QUICK_ROUNDS = 9, 2
RUNS = 60  # of a round
TAIL_ROUNDS, QUICK_TAIL_ROUNDS = 4, 1
TAIL_RUNS, TAIL_RATE = 400, 200.0
NEEDED = ("nothing", "ours", "openinference")  # without these there is nothing to say; of these the tail is measured
STARTS, QUICK_STARTS = 3, 1
SILENT = ("nothing", "off", "unsampled")  # in the names of those that send nothing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only", nargs="+", choices=VARIANTS, default=[], help="these beside nothing and openinference"
    )


def run(arguments: argparse.Namespace) -> Iterator[Figure]:
    quick = arguments.quick
    names = [
        name
        for name, variant in VARIANTS.items()
        if not (quick and (variant.requirements or variant.runs < 1))
        and (not arguments.only or name in {"nothing_again", *NEEDED, *arguments.only})
    ]
    with temporary_home() as home, receiver() as received, ExitStack() as parts:
        postgres.prepare(home)
        parts.enter_context(running(home, "postgres"))
        make_tables(home)
        yield from installation(names, received, home, QUICK_STARTS if quick else STARTS)
        started: dict[str, Process] = {}
        for name in names:
            try:
                started[name] = parts.enter_context(process(name, received, home))
            except OSError as error:  # there is no uv
                yield not_measured(name, error)
        measured, missing = measure(started, QUICK_ROUNDS if quick else ROUNDS, received)
        yield from missing
        yield from figures(measured)
        yield from tails(started, QUICK_TAIL_ROUNDS if quick else TAIL_ROUNDS)


class Process:
    """One variant, which runs when told to. What it answers raises RuntimeError when its process has died."""

    def __init__(self, popen: "subprocess.Popen[str]", log: Path) -> None:
        self._popen = popen
        self._log = log

    @cached_property
    def installed(self) -> dict[str, float]:
        """The seconds that `prepare` and `install` took. Waits until they are done."""
        return self._answer()

    def run(self, mode: str, runs: int, rate: float | None = None) -> tuple[list[float], float]:
        """Microseconds of each run, and of all processors for one run."""
        assert self.installed and self._popen.stdin
        with suppress(BrokenPipeError):  # _answer says what became of it
            print(json.dumps({"mode": mode, "runs": runs, "rate": rate}), file=self._popen.stdin, flush=True)
        answer = self._answer()
        return [taken / 1e3 for taken in answer["taken"]], answer["cpu"] * 1e6 / runs

    def _answer(self) -> dict[str, Any]:
        assert self._popen.stdout
        line = self._popen.stdout.readline()
        if not line:
            said = self._log.read_text(errors="replace").strip().splitlines()
            raise RuntimeError(f"its process ended ({self._popen.wait()}): {said[-1] if said else ''}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def process(name: str, received: Receiver, home: Home) -> Iterator[Process]:
    variant = VARIANTS[name]
    command = [sys.executable]
    if variant.requirements:
        uv = shutil.which("uv") or str(PROJECT / ".uv" / "bin" / "uv")
        command = [uv, "run", "--quiet", "--no-project", "--python", sys.executable, "--with", "psutil"]
        command += [part for needed in variant.requirements for part in ("--with", needed)] + ["python"]
    environment = {**os.environ, "AGNO_TELEMETRY": "false", **variant.environment}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # imports are to take as long as they do in a service
    log = home.logs / f"{name}.log"
    with log.open("ab") as output:
        started = subprocess.Popen(
            [*command, "-m", "benchmarks.instrumented", name, received.grpc, received.http, home.database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            env=environment,
            cwd=PROJECT,
            text=True,
        )
    try:
        yield Process(started, log)
    finally:
        with suppress(BrokenPipeError):
            started.communicate()


def make_tables(home: Home) -> None:
    postgres.create_database(home)
    url = home.database_url.replace("postgresql://", "postgresql+psycopg://")
    db = PostgresDb(db_url=url, db_schema="agno")
    for table in ("traces", "spans"):
        db._get_table(table_type=table, create_table_if_not_found=True)
    db.db_engine.dispose()


def not_measured(name: str, error: Exception) -> Figure:
    return Figure("overhead", f"added_us_{name}", 0, f"not measured: {error}"[:200], 0)


def installation(names: list[str], received: Receiver, home: Home, starts: int) -> Iterator[Figure]:
    """Of the variants that differ in it; the first start is for the caches."""
    for name in names:
        if name.startswith("nothing") or "_" in name:
            continue
        peer = bool(VARIANTS[name].requirements)
        found: list[dict[str, float]] = []
        try:
            for _ in range(1 + (1 if peer else starts)):
                with process(name, received, home) as started:
                    found.append(started.installed)
        except (OSError, RuntimeError):
            continue  # it is said when it is to be measured
        for step in ("install",) if peer else ("install", "prepare"):
            taken = [seconds[step] * 1000 for seconds in found[1:]]
            yield Figure("overhead", f"{step}_ms_{name}", round(median(taken), 1), "ms", len(taken))


class Measured:
    """Per mode and variant a value for each round: `time` of a run and `cpu` for one, in microseconds."""

    def __init__(self) -> None:
        self.time: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.cpu: dict[tuple[str, str], list[float]] = defaultdict(list)

    def add(self, mode: str, name: str, taken: list[float], cpu: float) -> None:
        self.time[mode, name].append(median(taken))
        self.cpu[mode, name].append(cpu)

    def names(self) -> list[str]:
        return [name for name in VARIANTS if ("sync", name) in self.time]

    def added(self, mode: str, name: str) -> float:
        return _beyond(self.time[mode, name], self.time[mode, "nothing"])

    def cpu_added(self, mode: str, name: str) -> float:
        return _beyond(self.cpu[mode, name], self.cpu[mode, "nothing"])


def _beyond(values: list[float], baseline: list[float]) -> float:
    return round(median(value - base for value, base in zip(values, baseline, strict=True)), 1)


def measure(started: dict[str, Process], rounds: int, received: Receiver) -> tuple[Measured, list[Figure]]:
    """Leaves out of `started` what fails, or what should send something and does not, but for what is needed."""
    measured = Measured()
    missing: list[Figure] = []

    def turn(mode: str, name: str, keep: bool) -> None:
        before = received.bytes
        try:
            result = started[name].run(mode, max(5, int(RUNS * VARIANTS[name].runs)))
            if received.bytes == before and not any(part in name for part in SILENT):
                raise RuntimeError("it sent nothing")
        except RuntimeError as error:
            if name in NEEDED:
                raise
            missing.append(not_measured(name, error))
            del started[name]
            for values in (measured.time, measured.cpu):
                for key in [key for key in values if key[1] == name]:
                    del values[key]
        else:
            if keep:
                measured.add(mode, name, *result)

    for number in range(-1, rounds):  # the first round is for the caches
        for mode in MODES:
            names = list(started)
            at = number % len(names)
            for name in names[at:] + names[:at]:
                turn(mode, name, keep=number >= 0)
    return measured, missing


def figures(measured: Measured) -> Iterator[Figure]:
    rounds = len(measured.time["sync", "nothing"])

    def figure(name: str, value: float, baseline: float | None = None) -> Figure:
        return Figure("overhead", name, value, "us", rounds, baseline)

    for mode in MODES:
        base = round(median(measured.time[mode, "nothing"]), 1)
        for name in measured.names()[1:]:
            yield figure(f"added_us_{mode}_{name}", measured.added(mode, name), base)
    for name in measured.names()[1:]:
        yield figure(f"cpu_us_{name}", round(mean(measured.cpu_added(mode, name) for mode in MODES), 1))
    for mode in MODES:
        ours, theirs = measured.added(mode, "ours"), measured.added(mode, "openinference")
        yield figure(f"added_vs_openinference_{mode}", ours, theirs)
        ours, theirs = measured.cpu_added(mode, "ours"), measured.cpu_added(mode, "openinference")
        yield figure(f"cpu_vs_openinference_{mode}", ours, theirs)
    for state in ("off", "unsampled"):
        if {f"ours_{state}", f"openinference_{state}"} <= set(measured.names()):
            both = [
                round(mean(measured.added(mode, f"{name}_{state}") for mode in MODES), 1)
                for name in ("ours", "openinference")
            ]
            yield figure(f"{state}_vs_openinference_{state}", *both)


def tails(started: dict[str, Process], rounds: int) -> Iterator[Figure]:
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    usual: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(rounds):
        for mode in MODES:
            for name in NEEDED:
                taken, _cpu = started[name].run(mode, TAIL_RUNS, TAIL_RATE)
                found[mode, name].append(sorted(taken)[int(0.99 * (len(taken) - 1))] / 1000)
                usual[mode, name].append(median(taken))
    for mode in MODES:
        base = round(median(found[mode, "nothing"]), 3)
        for name, suffix in (("ours", ""), ("openinference", "_openinference")):
            value = round(median(found[mode, name]), 3)
            yield Figure("overhead", f"p99_vs_untraced_{mode}{suffix}", value, "ms", rounds, base)
        ours, theirs = (_beyond(usual[mode, name], usual[mode, "nothing"]) for name in ("ours", "openinference"))
        yield Figure("overhead", f"added_at_200_a_second_{mode}", ours, "us", rounds, theirs)
