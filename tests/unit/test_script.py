"""An agent that follows a script: tools are really called, what they answer comes back, failures can be caught."""

import asyncio
import json
from typing import Any

from agno.agent import Agent
from agno.run.base import RunStatus

from runtime.offline import MARK
from runtime.script import Script, ScriptedModel, ToolFailed


def weigh(item: str) -> str:
    """Weighs."""
    if item == "ghost":
        raise ValueError("it weighs nothing")
    return json.dumps({"grams": len(item)})


def say(text: str) -> str:
    """Says it again, which is no object."""
    return text


def script(prompt: str) -> Script:
    total = 0
    for item in prompt.split():
        total += (yield "weigh", {"item": item})["grams"]
    return f"{total} grams"


def careful(prompt: str) -> Script:
    try:
        yield "weigh", {"item": prompt}
    except ToolFailed as error:
        found = yield "weigh", {"item": "stone"}
        return f"{error}; a stone weighs {found['grams']}"
    return "never"


def run(chosen: Any, prompt: str, **more: Any) -> Any:
    agent = Agent(model=ScriptedModel(script=chosen, latency=0.0), tools=[weigh, say], telemetry=False, **more)
    return asyncio.run(agent.arun(prompt))


def test_tools_are_called_one_after_the_other_and_make_the_answer() -> None:
    done = run(script, "pear fig")
    assert done.content == f"{MARK} 7 grams"
    assert [call.tool_args for call in done.tools] == [{"item": "pear"}, {"item": "fig"}]
    assert len({call.tool_call_id for call in done.tools}) == 2


def test_a_script_that_calls_nothing_answers_at_once() -> None:
    done = run(script, "")
    assert done.content == f"{MARK} 0 grams" and not done.tools


def test_a_tool_that_fails_is_the_answer_or_caught() -> None:
    done = run(script, "fig ghost pear")
    assert done.status is RunStatus.completed
    assert done.content == f"{MARK} The tool weigh failed: it weighs nothing"
    assert run(careful, "ghost").content == f"{MARK} it weighs nothing; a stone weighs 5"


def test_an_answer_that_is_no_object_is_a_failure() -> None:
    def odd(prompt: str) -> Script:
        yield "say", {"text": prompt}
        return "never"

    for text in ("plain", "[1]", "7"):
        assert run(odd, text).content == f"{MARK} The tool say failed: {text}"


def test_errors_on_demand_and_streams_work_as_with_the_offline_model() -> None:
    assert run(script, "[fail] fig").status is RunStatus.error
    agent = Agent(model=ScriptedModel(script=script, latency=0.0), tools=[weigh], telemetry=False)
    assert list(agent.run("fig", stream=True, stream_events=True))[-1].content == f"{MARK} 3 grams"
