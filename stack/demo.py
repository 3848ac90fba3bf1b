"""`stack demo`: a minute of believable traffic, with duplicates, failures, slow runs and a pause."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any
from uuid import uuid4

import psycopg
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from stack.delivery import Receipt, Refused, Sender
from stack.home import Home
from stack.replay import bars, told
from stack.runs import ENDED, Runs

SAMPLE_SECONDS = 6.0
RETRY_SECONDS = 20.0  # a shorter demo has no time for a failed run's second attempt
END_SECONDS = 60.0  # how long the last runs may take
PER_SECOND = 1.5

# What people ask. What is in brackets is an order to the offline model (runtime/offline.py).
PROMPTS = {
    "support": (
        "Where is order A-1001? Please tell me its status.",
        "Which orders does customer C-1 have?",
        "How many armchairs are in stock?",
        "What is the status of order A-9999?",  # there is no such order: the tool fails, the run does not
    ),
    "research": (
        "Search the notes about a histogram.",
        "Read note N-3, please.",
        "What is a trace? [tool search_notes]",
    ),
    "newsroom": ("Write an article about the harbour, with the facts.", "Write about the library and count the words."),
    "digest": ("The events of Monday, please.", "What were the events of Tuesday?"),
}
SLOW = ("support", "[slow 4] Where is order A-1002? Its status, please.")
FAILING = ("research", "[fail 503] Search the notes about deliveries.")
FAILING_ONCE = ("support", "[fail-once] How much is in stock?")
PAUSING = ("refunds", "[tool refund] Order A-1002 came broken, I want a refund.")


@dataclass(frozen=True)
class Action:
    """One delivery at `at` seconds after the start, sent `copies` times."""

    at: float
    agent: str
    prompt: str
    session: str
    user: str
    copies: int = 1

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"input": self.prompt, "session_id": self.session, "user_id": self.user}
        if (self.agent, self.prompt) == FAILING:
            body["metadata"] = {"retryable": False}  # agno's queue takes this as: do not try it again
        return body


@dataclass
class Summary:
    """`receipts`: agent -> one receipt for each delivery; `statuses`: agent -> status -> runs."""

    receipts: dict[str, list[Receipt]] = field(default_factory=dict)
    statuses: dict[str, Counter[str]] = field(default_factory=dict)
    duplicates: int = 0
    resent: int = 0
    approved: int = 0
    refused: list[str] = field(default_factory=list)

    def run_ids(self) -> list[str]:
        return [receipt.run_id for receipts in self.receipts.values() for receipt in receipts]

    def as_json(self) -> dict[str, Any]:
        return {
            "deliveries": len(self.run_ids()),
            "duplicates": self.duplicates,
            "resent": self.resent,
            "approved": self.approved,
            "refused": self.refused,
            "runs": {agent: dict(statuses) for agent, statuses in sorted(self.statuses.items())},
            "run_ids": self.run_ids(),
        }

    def render(self, console: Console) -> None:
        columns = ["completed", "failed", "paused", "cancelled", "running", "queued"]
        seen = [name for name in columns if any(statuses[name] for statuses in self.statuses.values())]
        table = Table("agent", "deliveries", *seen)
        for agent, receipts in sorted(self.receipts.items()):
            statuses = self.statuses.get(agent, Counter())
            table.add_row(agent, str(len(receipts)), *(str(statuses[name] or "") for name in seen))
        console.print(table)
        console.print(
            f"{self.duplicates} deliveries came twice and were answered with the first one's run, "
            f"{self.approved} paused runs were approved."
        )
        for text in self.refused:
            console.print(text, style="red", markup=False)


def script(seconds: float) -> list[Action]:
    """The traffic, the same for the same length: always with something slow, failing, doubled and pausing."""
    chance = random.Random(7)
    name = uuid4().hex[:8]
    special = [PAUSING, SLOW, FAILING, *([FAILING_ONCE] if seconds >= RETRY_SECONDS else [])]
    number = max(len(special) + len(PROMPTS), round(seconds * PER_SECOND))
    plain = [(agent, prompt) for agent, prompts in PROMPTS.items() for prompt in prompts]
    chosen = [*special, *((agent, prompts[0]) for agent, prompts in PROMPTS.items())]
    chosen += [chance.choice(plain if chance.random() < 0.85 else special[1:]) for _ in range(number - len(chosen))]
    actions = []
    for position, (agent, prompt) in enumerate(chosen):
        user = f"user-{chance.randrange(8)}"
        # the pause comes early, so that there is time to approve it; a paused run holds its session
        at = 0.0 if position == 0 else chance.uniform(0, seconds * 0.9)
        session = f"demo-{name}-{agent}-{'pause' if position == 0 else user}"
        copies = chance.choice((2, 3)) if position % 8 == 1 else 1
        actions.append(Action(at, agent, prompt, session, user, copies))
    return sorted(actions, key=lambda action: action.at)


async def traffic(home: Home, actions: Sequence[Action], seconds: float, progress: Progress) -> Summary:
    """Sends the actions at their times, approves what paused, waits for the end. Raises StackError."""
    summary = Summary()
    name = uuid4().hex[:12]
    bar = progress.add_task("sent", total=sum(action.copies for action in actions))
    runs = Runs(home.database_url)
    try:
        async with Sender(home) as sender:

            async def act(number: int, action: Action) -> None:
                await asyncio.sleep(action.at)
                delivery = f"demo-{name}-{number}"
                try:
                    copies = [sender.send(action.agent, delivery, action.body()) for _ in range(action.copies)]
                    receipts = await asyncio.gather(*copies)
                except Refused as error:
                    summary.refused.append(str(error))
                    return
                finally:
                    progress.advance(bar, action.copies)
                summary.receipts.setdefault(action.agent, []).append(receipts[0])
                summary.duplicates += sum(receipt.duplicate for receipt in receipts)

            async def approve() -> None:
                await asyncio.sleep(seconds * 0.8)
                summary.approved = await _approve(summary, sender, runs)

            await asyncio.gather(approve(), *(act(number, action) for number, action in enumerate(actions)))
            summary.resent = sender.resent
        await _end(summary, runs, progress)
        for agent, receipts in summary.receipts.items():
            summary.statuses[agent] = runs.statuses([receipt.run_id for receipt in receipts])
    finally:
        runs.close()
    return summary


async def _approve(summary: Summary, sender: Sender, runs: Runs) -> int:
    """Approves the demo's paused refunds. Gives a run that has not come so far ten seconds."""
    agent = PAUSING[0]
    deadline = time.monotonic() + 10.0
    while not (paused := [r for r in summary.receipts.get(agent, []) if runs.statuses([r.run_id])["paused"]]):
        if time.monotonic() > deadline:
            return 0  # a real model may have decided not to call the tool
        await asyncio.sleep(0.5)
    for receipt in paused:
        try:
            await sender.approve(receipt)
        except Refused as error:
            summary.refused.append(str(error))
            return 0
    return len(paused)


async def _end(summary: Summary, runs: Runs, progress: Progress) -> None:
    run_ids = summary.run_ids()
    bar = progress.add_task("ended", total=len(run_ids))
    deadline = time.monotonic() + END_SECONDS
    ended = 0
    while ended < len(run_ids) and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
        try:
            statuses = await asyncio.to_thread(runs.statuses, run_ids)
        except psycopg.OperationalError:
            continue  # restarting
        ended = sum(number for status, number in statuses.items() if status in ENDED)
        progress.update(bar, completed=ended)


def send_sample(home: Home, console: Console) -> None:
    """About ten seconds of the demo, for `stack up --sample`. Raises StackError."""
    with bars(console) as progress:
        summary = asyncio.run(traffic(home, script(SAMPLE_SECONDS), SAMPLE_SECONDS, progress))
    summary.render(console)


def demo(
    seconds: Annotated[float, typer.Option(min=1.0, help="How long deliveries keep coming.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Send believable traffic to the sample agents: an agent with tools, a team, a workflow, a confirmation.

    Some deliveries come twice or three times (one run each), some runs fail
    (the model's provider answers with an error), some are slow, and a refund
    waits until the demo approves it near the end. What fails or is slow says
    so in brackets in its prompt: that is for the offline model, a real model
    takes it as text.

    Exit code 1: a delivery was refused.

    Example:  stack demo --seconds 20
    """
    console = Console(stderr=as_json)
    with told(console), bars(console) as progress:
        summary = asyncio.run(traffic(Home.open(), script(seconds), seconds, progress))
    if as_json:
        typer.echo(json.dumps(summary.as_json()))
    else:
        summary.render(console)
    if summary.refused:
        raise typer.Exit(1)
