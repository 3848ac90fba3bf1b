"""`stack replay`: sends recorded conversations through the webhook, one run for each user turn."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import psycopg
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from stack.delivery import Receipt, Sender
from stack.errors import StackError
from stack.home import Home
from stack.runs import ENDED, Calls, Runs
from stack.trajectories import Conversation, Counts, FormatError, counts, read

REPLAY_AGENT = "replay"
POLL_SECONDS = 0.5


@dataclass
class Result:
    """What was sent and what became of it; `expected` is computed from the file."""

    expected: Counts
    receipts: list[Receipt] = field(default_factory=list)
    resent: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    calls: Calls = field(default_factory=Calls)
    seconds: float = 0.0

    def ended(self) -> int:
        return sum(number for status, number in self.statuses.items() if status in ENDED)

    def complete(self) -> bool:
        """Whether every run completed and did exactly what was recorded."""
        calls = (self.calls.model_calls, self.calls.tool_calls, self.calls.tool_errors)
        recorded = (self.expected.model_calls, self.expected.tool_calls, self.expected.tool_errors)
        return self.statuses == Counter(completed=self.expected.runs) and calls == recorded

    def as_json(self) -> dict[str, Any]:
        return {
            "sessions": len({receipt.session_id for receipt in self.receipts}),
            "deliveries": len(self.receipts),
            "resent": self.resent,
            "duplicates": sum(receipt.duplicate for receipt in self.receipts),
            "runs": dict(self.statuses),
            "model_calls": self.calls.model_calls,
            "tool_calls": dict(sorted(self.calls.tool_calls.items())),
            "tool_errors": self.calls.tool_errors,
            "expected": {**vars(self.expected), "tool_calls": dict(sorted(self.expected.tool_calls.items()))},
            "seconds": round(self.seconds, 3),
            "run_ids": [receipt.run_id for receipt in self.receipts],
        }

    def render(self, console: Console, recorded: bool) -> None:
        table = Table("", "recorded" if recorded else "sent", "found", title=f"replay, {self.seconds:.1f} s")
        table.add_row("sessions", str(self.expected.sessions), str(len({r.session_id for r in self.receipts})))
        table.add_row("deliveries", str(self.expected.runs), str(len(self.receipts)))
        table.add_row("  sent again", "", str(self.resent))
        table.add_row("  answered as duplicates", "", str(sum(r.duplicate for r in self.receipts)))
        for status, number in sorted(self.statuses.items()):
            table.add_row(f"runs {status}", str(self.expected.runs) if status == "completed" else "", str(number))
        if self.calls.runs:
            expected = self.expected if recorded else Counts()
            table.add_row("model calls", str(expected.model_calls or ""), str(self.calls.model_calls))
            for name in sorted(expected.tool_calls | self.calls.tool_calls):
                table.add_row(f"tool {name}", str(expected.tool_calls[name] or ""), str(self.calls.tool_calls[name]))
            table.add_row("tool errors", str(expected.tool_errors or ""), str(self.calls.tool_errors))
        console.print(table)


class Pace:
    """Hands out moments that are at least 1/rate seconds apart; without a rate, now."""

    def __init__(self, rate: float | None) -> None:
        self._gap = 1.0 / rate if rate else 0.0
        self._next = 0.0

    async def wait(self) -> None:
        now = time.monotonic()
        self._next = max(now, self._next) + self._gap
        await asyncio.sleep(self._next - self._gap - now)


async def play(
    home: Home,
    conversations: Sequence[Conversation],
    progress: Progress,
    *,
    agent: str = REPLAY_AGENT,
    rate: float | None = None,
    speed: float = 1.0,
    repeat: int = 1,
    wait: bool = True,
    timeout: float = 600.0,
) -> Result:
    """Sends everything and waits for the runs. Raises StackError when something is refused or never ends."""
    result = Result(expected=counts(conversations, repeat))
    started = time.monotonic()
    invocation = uuid4().hex[:12]
    pace = Pace(rate)
    sent = progress.add_task("sent", total=result.expected.runs)

    async with Sender(home) as sender:

        async def session(name: str, conversation: Conversation) -> None:
            for number, turn in enumerate(conversation.turns, 1):
                await pace.wait()
                recording = {"system": conversation.system, "messages": turn.recording, "speed": speed}
                body = {"input": turn.input, "session_id": name, "metadata": {"replay": recording}}
                result.receipts.append(await sender.send(agent, f"{name}-{number}", body))
                progress.advance(sent)

        names = [
            (f"replay-{invocation}-{round_}-{number}", conversation)
            for round_ in range(1, repeat + 1)
            for number, conversation in enumerate(conversations, 1)
        ]
        try:
            async with asyncio.TaskGroup() as group:
                for name, conversation in names:
                    group.create_task(session(name, conversation))
                if wait:
                    group.create_task(_wait(home, result, progress, timeout))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        result.resent = sender.resent
    result.seconds = time.monotonic() - started
    return result


async def _wait(home: Home, result: Result, progress: Progress, timeout: float) -> None:
    """Until every run has ended; `timeout` seconds without any change are too long."""
    ended = progress.add_task("ended", total=result.expected.runs)
    runs = Runs(home.database_url)
    changed = time.monotonic()
    try:
        while result.ended() < result.expected.runs:
            await asyncio.sleep(POLL_SECONDS)
            try:
                found = await asyncio.to_thread(runs.statuses, [receipt.run_id for receipt in result.receipts])
            except psycopg.OperationalError:
                found = result.statuses  # restarting; the time without a change goes on
            if found != result.statuses:
                result.statuses, changed = found, time.monotonic()
                progress.update(ended, completed=result.ended())
            if time.monotonic() - changed > timeout:
                raise StackError(
                    f"nothing has changed for {timeout:.0f} s: {dict(result.statuses)}",
                    "`stack logs runtime` says more",
                )
        result.calls = await asyncio.to_thread(runs.calls, [receipt.run_id for receipt in result.receipts])
    finally:
        runs.close()


def bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )


@contextmanager
def told(console: Console) -> Iterator[None]:
    """What went wrong in words, with the next step; exit code 1."""
    try:
        yield
    except StackError as error:
        console.print(f"Error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        if error.hint:
            console.print(f"Next step: {error.hint}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error


def replay(
    file: Annotated[
        Path, typer.Argument(help="OpenAI chat format: a JSON list, or JSONL, of objects with `traj` or `messages`.")
    ],
    rate: Annotated[float | None, typer.Option(min=0.001, help="Deliveries per second. Default: no limit.")] = None,
    speed: Annotated[
        float,
        typer.Option(
            min=0.0,
            help="How fast the recorded answers come: 1 is a usual provider's pace (0.3 s and 10 ms per token; "
            "the format has no times), 10 is ten times that, 0 is at once.",
        ),
    ] = 1.0,
    repeat: Annotated[int, typer.Option(min=1, help="Play the file so many times, in new sessions.")] = 1,
    agent: Annotated[str, typer.Option(help="Who gets the turns. Any other agent answers them itself.")] = REPLAY_AGENT,
    wait: Annotated[bool, typer.Option(help="Wait until the runs have ended.")] = True,
    timeout: Annotated[float, typer.Option(min=1.0, help="Give up after so many seconds without progress.")] = 600.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Play recorded conversations as agent runs: one run for each user turn, in one session per conversation.

    The replay agent's model gives the recorded answers in order, its tools the
    recorded results: a run makes exactly the recorded model and tool calls.
    The file is checked first. When anything in it is not of the form, the entry
    and the field are named, and nothing is sent. While the runtime is busy or
    away, deliveries are sent again with the same id.

    Exit code 1: a run did not complete, or did something else than recorded;
    2: the file is not of the form.

    Example:  stack replay conversations.json --speed 10 --rate 20
    """
    console = Console(stderr=as_json)
    try:
        conversations = read(file)
    except (FormatError, OSError, UnicodeDecodeError) as error:
        console.print(
            f"{file}: {error}" if isinstance(error, ValueError) else str(error),
            style="red",
            markup=False,
            soft_wrap=True,
        )
        raise typer.Exit(2) from error
    options: dict[str, Any] = {"rate": rate, "speed": speed, "repeat": repeat, "wait": wait, "timeout": timeout}
    with told(console), bars(console) as progress:
        result = asyncio.run(play(Home.open(), conversations, progress, agent=agent, **options))
    if as_json:
        typer.echo(json.dumps(result.as_json()))
    else:
        result.render(console, recorded=agent == REPLAY_AGENT)
    if not wait:
        return
    as_wanted = (
        result.complete() if agent == REPLAY_AGENT else result.statuses == Counter(completed=result.expected.runs)
    )
    if not as_wanted:
        raise typer.Exit(1)
