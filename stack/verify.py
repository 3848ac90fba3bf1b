"""`stack verify`: is everything that was accepted everywhere, once?"""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from stack.evidence import Evidence, Run, Span, StoreDown, Stores, Ticket
from stack.home import Home
from stack.repair import Repair, repair
from stack.replay import told

DAY = timedelta(days=1)
POLL_SECONDS = 1.0
DOWN_SECONDS = 10.0  # a store may be restarting
RUN_STATUS = {"completed": "completed", "failed": "error", "cancelled": "cancelled", "paused": "paused"}

# What a runtime that is killed may lose (DESIGN, "When something fails"): the spans of its last second. A batch
# leaves within half a second, and the supervisor notes the end up to half a second later.
LOST_BEFORE_KILL = timedelta(seconds=1.5)
LOST_AFTER_KILL = timedelta(seconds=0.5)


@dataclass
class Line:
    """One comparison. The lists name ids; `allowed` counts what the failure table lets go."""

    name: str
    expected: int
    found: int
    missing: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    allowed: int = 0
    note: str = ""

    @property
    def ok(self) -> bool:
        return not (self.missing or self.doubled or self.unknown)


@dataclass
class Report:
    lines: list[Line]
    since: datetime
    kills: int = 0

    @property
    def ok(self) -> bool:
        return all(line.ok for line in self.lines)

    def as_json(self) -> dict[str, Any]:
        lines = [{**asdict(line), "ok": line.ok} for line in self.lines]
        return {"ok": self.ok, "since": self.since.isoformat(), "kills": self.kills, "lines": lines}

    def render(self, console: Console) -> None:
        table = Table("", box=None, pad_edge=False)
        for column in ("found", "of", "missing", "doubled", "unknown", "allowed"):
            table.add_column(column, justify="right")
        for line in self.lines:
            numbers = (line.found, line.expected, len(line.missing), len(line.doubled), len(line.unknown), line.allowed)
            table.add_row(line.name, *map(str, numbers), style=None if line.ok else "red")
        console.print(table)
        for line in self.lines:
            if line.note:
                console.print(line.note, style="dim", highlight=False)
        for line in self.lines:
            for what in ("missing", "doubled", "unknown"):
                if ids := getattr(line, what):
                    more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
                    console.print(
                        f"{line.name}, {what}: {', '.join(ids[:5])}{more}", style="red", highlight=False, soft_wrap=True
                    )
        if self.ok:
            console.print("Everything is everywhere, once.", style="green")


def compare(evidence: Evidence) -> Report:
    lines = [
        _deliveries(evidence),
        _tickets(evidence),
        _runs(evidence),
        _run_spans(evidence),
        *_spans(evidence),
    ]
    if evidence.phoenix is not None:
        lines.append(_phoenix(evidence))
    return Report(lines, evidence.since, len([kill for kill in evidence.kills if kill >= evidence.since]))


def _deliveries(evidence: Evidence) -> Line:
    missing = [run_id for run_id in evidence.deliveries if run_id not in evidence.tickets]
    doubled = [run_id for run_id, number in evidence.deliveries.items() if number > 1]
    found = len(evidence.deliveries) - len(missing)
    return Line("deliveries with a ticket", evidence.deliveries.total(), found, missing, doubled)


def _tickets(evidence: Evidence) -> Line:
    open_ = [f"{run_id} ({ticket.status})" for run_id, ticket in evidence.tickets.items() if not _has_ended(ticket)]
    return Line("tickets that ended", len(evidence.tickets), len(evidence.tickets) - len(open_), missing=open_)


def _runs(evidence: Evidence) -> Line:
    ended = _ended(evidence)
    missing = [run_id for run_id in ended if run_id not in evidence.runs]
    unknown = [
        f"{run_id} (ticket {ticket.status}, run {evidence.runs[run_id].status})"
        for run_id, ticket in ended.items()
        if run_id in evidence.runs and evidence.runs[run_id].status != RUN_STATUS[ticket.status]
    ]
    found = len(ended) - len(missing) - len(unknown)
    return Line("runs as their ticket says", len(ended), found, missing, unknown=unknown)


def _run_spans(evidence: Evidence) -> Line:
    """One span for each attempt that ended; a pause adds one more. A killed attempt may have none."""
    ended = _ended(evidence)
    spans: dict[str, list[Span]] = {}
    for span in evidence.postgres.values():
        if span.status and span.run_id in ended:
            spans.setdefault(span.run_id, []).append(span)
    line = Line("runs with their span", len(ended), 0)
    for run_id, ticket in ended.items():
        own = spans.get(run_id, [])
        wanted = RUN_STATUS[ticket.status]
        attempts = [span.attempt for span in own if span.status != "paused"]
        line.doubled.extend(f"{run_id} (attempt {n})" for n in sorted(set(attempts)) if attempts.count(n) > 1)
        if any(span.status == wanted for span in own):
            line.found += 1
            line.allowed += max(0, ticket.attempt - len({span.attempt for span in own}))
        elif _may_be_lost(evidence, ticket, evidence.runs.get(run_id), own):
            line.allowed += 1
        else:
            line.missing.append(f"{run_id} ({ticket.status})")
    return line


def _may_be_lost(evidence: Evidence, ticket: Ticket, run: Run | None, spans: list[Span]) -> bool:
    """A run that never ran has no span, nor has one whose last second was the runtime's.

    A runtime may be killed between the end of a run and that of its ticket: the next attempt only settles the ticket.
    """
    if ticket.status == "cancelled" and ticket.attempt == 0:
        return True
    if ticket.ended is None:
        return False
    if any(ticket.created <= kill <= ticket.ended for kill in evidence.kills):
        if ticket.status == "failed":
            return True  # it was killed, and its last attempt was used up
        began = run.attempt if run is not None and run.attempt is not None else ticket.attempt
        if began < ticket.attempt and began not in {span.attempt for span in spans}:
            return True
    return _near_kill(evidence, ticket.ended)


def _near_kill(evidence: Evidence, moment: datetime) -> bool:
    return any(kill - LOST_BEFORE_KILL <= moment <= kill + LOST_AFTER_KILL for kill in evidence.kills)


def _spans(evidence: Evidence) -> Iterable[Line]:
    """Both directions; what began in the window must be in the other store, whose window is a little wider."""
    here, there = evidence.postgres, evidence.clickhouse
    for name, one, other in (
        ("Postgres spans in ClickHouse", here, there),
        ("ClickHouse spans in Postgres", there, here),
    ):
        began = {span_id: span for span_id, span in one.items() if span.started >= evidence.since}
        absent = [span_id for span_id in began if span_id not in other]
        missing = [span_id for span_id in absent if not _near_kill(evidence, began[span_id].ended)]
        line = Line(name, len(began), len(began) - len(absent), missing, allowed=len(absent) - len(missing))
        if other is there:
            line.doubled = sorted(evidence.clickhouse_doubled)
            if evidence.clickhouse_raw_extra:
                line.note = f"{evidence.clickhouse_raw_extra} repeated rows await their merge; readers do not see them"
        yield line


def _phoenix(evidence: Evidence) -> Line:
    """Phoenix keeps a sample, so it may lack spans, but it has each one once and none that nobody else has."""
    found = evidence.phoenix or Counter()
    began = sum(span.started >= evidence.since for span in evidence.clickhouse.values())
    unknown = [span_id for span_id in found if span_id not in evidence.clickhouse and span_id not in evidence.postgres]
    doubled = [span_id for span_id, number in found.items() if number > 1]
    kept = f"Phoenix has {len(found)} of {began} spans so far; it samples, and is some seconds behind" if began else ""
    return Line("Phoenix spans known", len(found), len(found) - len(unknown), [], doubled, unknown, note=kept)


def _has_ended(ticket: Ticket) -> bool:
    return ticket.status in RUN_STATUS


def _ended(evidence: Evidence) -> dict[str, Ticket]:
    return {run_id: ticket for run_id, ticket in evidence.tickets.items() if _has_ended(ticket)}


def settle(
    stores: Stores, since: datetime, timeout: float, progress: Callable[[Report], None] = lambda report: None
) -> Report:
    """Compares until all is equal, or `timeout` seconds have passed. Raises StoreDown when a store stays away."""
    started = time.monotonic()
    while True:
        waited = time.monotonic() - started
        try:
            report = compare(stores.read(since))
        except StoreDown:
            if waited > min(timeout, DOWN_SECONDS):
                raise
        else:
            progress(report)
            if report.ok or waited > timeout:
                return report
        time.sleep(POLL_SECONDS)


def check(home: Home, since: datetime | None = None, timeout: float = 60.0, console: Console | None = None) -> Report:
    """The report of the last day. Raises StoreDown."""
    since = since or datetime.now(UTC) - DAY
    with (console or Console(quiet=True)).status("comparing ...") as status:

        def progress(report: Report) -> None:
            waiting = [line.name for line in report.lines if not line.ok]
            status.update(f"waiting for: {', '.join(waiting)}" if waiting else "all is equal")

        return settle(Stores.of(home), since, timeout, progress)


def moment(text: str) -> datetime:
    """ "90s", "10m", "2h" or "1d" ago, or an ISO 8601 time (local unless it names a zone)."""
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    if match := re.fullmatch(r"(\d+)([smhd])", text):
        return datetime.now(UTC) - timedelta(**{units[match[2]]: int(match[1])})
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError as error:
        raise typer.BadParameter("write 90s, 10m, 2h, 1d or a time such as 2026-11-21T09:30") from error


def verify(
    since: Annotated[
        str, typer.Option(help="Compare what began since then: 90s, 10m, 2h, 1d ago, or an ISO 8601 time.")
    ] = "1d",
    timeout: Annotated[
        float, typer.Option(min=0.0, help="Seconds to wait for running work and for telemetry on its way.")
    ] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, with all ids.")] = False,
    repairs: Annotated[
        bool, typer.Option("--repair", help="Send ClickHouse the spans that it lacks, then verify again.")
    ] = False,
) -> None:
    """Compare deliveries, tickets, runs and spans across Postgres, ClickHouse and Phoenix.

    Each delivery has one ticket, each ended ticket a run of the same status with
    one span per attempt, and each span is in Postgres and in ClickHouse, once.
    Phoenix keeps a sample: it may lack spans, but not have one twice.
    Allowed, and counted: what a killed runtime may lose, the spans of its last
    second. It ends as soon as all is equal.

    With --repair, when all is not: spans that Postgres has and ClickHouse has not
    are sent again as they were (the runtime does the same every minute), and all
    is verified once more. To send one twice changes no count. Nothing else is
    changed: what only ClickHouse has stays.

    Exit code 1: something is missing, doubled or unknown; 2: a store cannot be read.

    Example:  stack verify --since 10m --json | jq '.lines[] | select(.ok | not)'
    Example:  stack verify --since 7d --timeout 5 --repair
    """
    console = Console(stderr=as_json)
    began = moment(since)
    repaired: Repair | None = None
    with told(console):
        home = Home.open()
        try:
            report = check(home, began, timeout, console)
            if repairs and not report.ok:
                repaired = repair(Stores.of(home), began)
                repaired.render(console)
                report = check(home, began, timeout, console)
        except StoreDown as error:
            console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(2) from error
    if as_json:
        typer.echo(json.dumps({**report.as_json(), "repair": repaired.as_json() if repaired else None}))
    else:
        report.render(console)
    raise typer.Exit(0 if report.ok else 1)
