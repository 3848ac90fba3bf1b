"""The replay agent gives back what was recorded, whichever way agno runs it."""

import asyncio
import runpy
from pathlib import Path
from typing import Any

import pytest
from agno.agent import Agent
from agno.db.in_memory import InMemoryDb
from agno.run.agent import RunOutput
from agno.run.base import RunStatus

from runtime.offline import MARK

FILE = Path(__file__).parents[2] / "agents" / "replay.py"


def call(identifier: str, name: str = "lookup", arguments: str = '{"key": "a {b}", "fc": 1}') -> dict[str, Any]:
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(*calls: dict[str, Any], content: str = "") -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def result(identifier: str, content: str = "found") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": identifier, "content": content}


ANSWER = {"role": "assistant", "content": "Here you are."}


@pytest.fixture
def agent() -> Agent:
    loaded: Agent = runpy.run_path(str(FILE))["replay"]
    loaded.db = InMemoryDb()
    loaded.telemetry = False
    return loaded


def play(agent: Agent, messages: list[dict[str, Any]], way: str = "async", **recording: Any) -> RunOutput:
    """Runs one turn in one of agno's four ways; the same session each time."""
    metadata = {"replay": {"system": "Policy {x}", "messages": messages, "speed": 0} | recording}
    options: dict[str, Any] = {"session_id": "s", "metadata": metadata}

    async def streamed() -> RunOutput:
        stream = agent.arun("Please", stream=True, yield_run_output=True, **options)
        return [event async for event in stream][-1]

    if way == "sync":
        return agent.run("Please", **options)
    if way == "sync stream":
        return list(agent.run("Please", stream=True, yield_run_output=True, **options))[-1]
    return asyncio.run(streamed() if way == "async stream" else agent.arun("Please", **options))


ways = pytest.mark.parametrize("way", ["sync", "async", "sync stream", "async stream"])


def spoken(run: RunOutput) -> list[tuple[str, str]]:
    return [(m.role, m.get_content_string()) for m in run.messages or [] if not m.from_history]


@ways
def test_answers_and_tool_results_come_back_in_order(agent: Agent, way: str) -> None:
    turn = [calling(call("1"), content="A moment."), result("1", "one"), calling(call("2")), result("2", "two"), ANSWER]
    for _ in range(2):  # the second time with history
        run = play(agent, turn, way)
        assert run.status is RunStatus.completed
        assert spoken(run) == [
            ("system", "Policy {x}"),
            ("user", "Please"),
            ("assistant", "A moment."),
            ("tool", "one"),
            ("assistant", ""),
            ("tool", "two"),
            ("assistant", "Here you are."),
        ]
        assert run.metrics is not None and run.metrics.output_tokens > 0


@ways
def test_a_recorded_tool_error_is_a_tool_error(agent: Agent, way: str) -> None:
    turn = [calling(call("1"), call("2", "save")), result("1", "Error: no seat"), result("2"), ANSWER]
    run = play(agent, turn, way)
    assert [(t.tool_name, t.result, t.tool_call_error) for t in run.tools or []] == [
        ("lookup", "Error: no seat", True),
        ("save", "found", False),
    ]
    assert run.status is RunStatus.completed


@ways
def test_an_unanswered_turn_makes_no_model_call(agent: Agent, way: str) -> None:
    run = play(agent, [], way)
    assert run.status is RunStatus.completed
    assert [role for role, _ in spoken(run)] == ["system", "user"]
    assert not run.content and not run.tools


@ways
@pytest.mark.parametrize("results", [[], [result("1")], [result("1"), result("2")]])
def test_a_turn_that_breaks_off_after_a_tool_call_ends_there(
    agent: Agent, way: str, results: list[dict[str, Any]]
) -> None:
    run = play(agent, [calling(call("1"), call("2")), *results], way)
    assert run.status is RunStatus.completed
    assert [role for role, _ in spoken(run)] == ["system", "user", "assistant", "tool", "tool"]
    assert [tool.result for tool in run.tools or []] == ["found"] * len(results) + [""] * (2 - len(results))


def test_the_pace_follows_the_speed(agent: Agent) -> None:
    slow, fast = (play(agent, [ANSWER], speed=speed).metrics for speed in (5, 50))
    assert slow is not None and fast is not None and slow.duration and fast.duration
    assert slow.duration > 0.06 > fast.duration


def test_without_a_recording_it_says_so(agent: Agent) -> None:
    assert MARK in str(asyncio.run(agent.arun("Hello")).content)
