"""allow, confirm and deny: what they make of a tool, and what an agent with it does."""

import asyncio
from typing import Any

import pytest
from agno.agent import Agent
from agno.run.base import RunStatus
from agno.tools import Function, Toolkit, tool
from pydantic import ValidationError

from runtime.approvals import allow, confirm, deny
from runtime.offline import OfflineModel
from runtime.settings import Settings

executed: list[str] = []


def shell(command: str) -> str:
    """Runs a command.

    Args:
        command: What to run.
    """
    executed.append(command)
    return "done"


async def shell_later(command: str) -> str:
    """Runs a command, some time."""
    return shell(command)


@tool(description="Runs a command, decorated.")
def decorated(command: str) -> str:
    return shell(command)


class Kit(Toolkit):
    def __init__(self) -> None:
        super().__init__(name="kit", tools=[self.shell, self.shell_later])

    def shell(self, command: str) -> str:
        """Runs a command."""
        return shell(command)

    async def shell_later(self, command: str) -> str:
        """Runs a command, some time."""
        return shell(command)


TOOLS = [
    (shell, "shell"),
    (shell_later, "shell_later"),
    (decorated, "decorated"),
    (Kit(), "shell"),
    (Kit(), "shell_later"),
]


def run(given: Any, name: str) -> Any:
    executed.clear()
    agent = Agent(model=OfflineModel(latency=0.0), tools=[given], telemetry=False)
    return asyncio.run(agent.arun(f"[tool {name}] list"))


@pytest.mark.parametrize(("given", "name"), TOOLS)
def test_an_allowed_tool_is_as_it_was(given: Any, name: str) -> None:
    assert allow(given) is given
    assert run(allow(given), name).status is RunStatus.completed
    assert executed == ["list"]


@pytest.mark.parametrize(("given", "name"), TOOLS)
def test_a_tool_to_confirm_pauses_the_run(given: Any, name: str) -> None:
    paused = run(confirm(given), name)
    assert paused.status is RunStatus.paused and executed == []
    assert [(call.tool_name, call.approval_type) for call in paused.tools] == [(name, "required")]
    assert run(given, name).status is RunStatus.completed, "the tool that was given is as it was"


@pytest.mark.parametrize(("given", "name"), TOOLS)
def test_a_denied_tool_is_called_in_vain(given: Any, name: str) -> None:
    done = run(deny(given), name)
    assert done.status is RunStatus.completed and executed == []
    assert [(call.tool_name, call.tool_call_error) for call in done.tools] == [(name, True)]
    assert "denied by policy" in done.content
    assert run(given, name).status is RunStatus.completed and executed == ["list"]


def test_the_model_sees_the_schema_of_a_denied_tool() -> None:
    denied = deny(shell)
    assert isinstance(denied, Function)
    assert denied.description == "Runs a command."
    assert denied.parameters["properties"]["command"]["description"] == "What to run."


def test_a_toolkit_that_learns_its_functions_later_is_refused() -> None:
    with pytest.raises(ValueError, match="no functions yet"):
        confirm(Toolkit(name="empty"))


def test_what_is_no_tool_is_refused() -> None:
    with pytest.raises(TypeError, match="not int"):
        deny(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["ftp://example.org", "https://", "nowhere", "https://example.org:0", "https://a b"])
def test_a_url_that_cannot_be_used_is_an_error_at_the_start(url: str) -> None:
    with pytest.raises(ValidationError, match="write it as https://host/path"):
        Settings(_env_file=None, webhook_secret="whsec_c2VjcmV0", approval_webhook_url=url)


def test_notices_are_signed_or_not_sent() -> None:
    with pytest.raises(ValidationError, match="set APPROVAL_WEBHOOK_SECRET or WEBHOOK_SECRET"):
        Settings(_env_file=None, webhook_secret=None, approval_webhook_url="https://example.org/hook")
