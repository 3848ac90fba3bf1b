"""Agents whose tools a person has to confirm. What is executed is a line in the file that EXECUTED names."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

from agno.agent import Agent
from agno.models.message import Message
from agno.team import Team
from agno.workflow import Step, Workflow
from pydantic import Field

from runtime.approvals import allow, confirm, deny
from runtime.offline import OfflineModel, Reply, last_turn


def _executed(line: str) -> str:
    with Path(os.environ["EXECUTED"]).open("a") as file:
        file.write(f"{line}\n")
    return line


def look(order_id: str) -> str:
    """Looks an order up."""
    return _executed(f"looked {order_id}")


def pay(order_id: str, cents: Annotated[int, Field(ge=1, le=500)]) -> str:
    """Pays cents back for an order."""
    return _executed(f"paid {cents} {order_id}")


async def mail(address: str) -> str:
    """Mails somebody."""
    return _executed(f"mailed {address}")


def shell(command: str) -> str:
    """Runs a command."""
    return _executed(f"ran {command}")


class Both(OfflineModel):
    """Asks for two tools in one turn."""

    def reply(self, messages: list[Message], tools: Any, *rest: Any) -> Reply:
        prompt, turn = last_turn(messages)
        if turn:
            return super().reply(messages, [], *rest)
        calls = (("one", "pay", {"order_id": "A-1", "cents": 100}), ("two", "mail", {"address": "a@b.c"}))
        return Reply(
            tool_calls=[
                {
                    "id": f"call_{n}_{hash(prompt)}",
                    "type": "function",
                    "function": {"name": t, "arguments": json.dumps(a)},
                }
                for n, t, a in calls
            ]
        )


TOOLS = [allow(look), confirm(pay), confirm(mail), deny(shell)]
desk = Agent(id="desk", name="Desk", model=OfflineModel(latency=0.02), tools=TOOLS)
both = Agent(id="both", name="Both", model=Both(latency=0.02), tools=TOOLS)
front = Team(id="front", name="Front", model=OfflineModel(latency=0.02), members=[desk], delegate_to_all_members=True)
flow = Workflow(id="flow", name="Flow", steps=[Step(name="one", agent=desk)])
