"""Plays back a recorded conversation, one user turn per run. `stack replay FILE` sends the recordings.

The run's metadata carries the recording of the turn:

    {"replay": {"system": str | None, "messages": [assistant and tool messages], "speed": float}}

Each recorded assistant message is one model call, each recorded tool call is one tool call, and nothing else is: a
turn that was never answered ends without a model call, a turn that breaks off after a tool call ends there.
"""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from agno.agent import Agent
from agno.models.message import Message
from agno.models.response import ModelResponse
from agno.run import RunContext
from agno.tools.function import Function, FunctionCall

from runtime.offline import MARK, OfflineModel, Reply, last_turn, tokens

SECONDS_PER_CALL = 0.3
SECONDS_PER_TOKEN = 0.01


def recording(run: Any) -> dict[str, Any] | None:
    """From a RunOutput or a RunContext; None when the run was not sent by a replay."""
    return ((run.metadata if run is not None else None) or {}).get("replay")


def finished(messages: list[Message], run: Any) -> bool:
    replay = recording(run)
    return replay is not None and position(messages) >= len(answers(replay))


def answers(replay: dict[str, Any]) -> list[dict[str, Any]]:
    return [message for message in replay["messages"] if message["role"] == "assistant"]


def position(messages: list[Message]) -> int:
    """How many answers this turn has had. Taken from the messages: a second attempt at the run begins anew."""
    return sum(message.role == "assistant" for message in last_turn(messages)[1])


@dataclass
class ReplayModel(OfflineModel):
    id: str = "replay"
    name: str | None = "ReplayModel"

    def reply(self, messages: list[Message], tools: Any, response_format: Any, tool_choice: Any, run: Any) -> Reply:
        replay = recording(run)
        if replay is None:
            return Reply(content=f"{MARK} This run carries no recording. `stack replay FILE` sends runs that do.")
        recorded = answers(replay)[position(messages)]
        written = tokens(f"{recorded['content']}{recorded.get('tool_calls', '')}")
        speed = replay.get("speed", 1.0)
        return Reply(
            content=recorded["content"] or None,
            tool_calls=recorded.get("tool_calls", []),
            seconds=(SECONDS_PER_CALL + SECONDS_PER_TOKEN * written) / speed if speed else 0.0,
        )

    # agno calls these four once per run; they call the model until an answer has no tool calls.

    def response(self, messages: list[Message], *rest: Any, run_response: Any = None, **more: Any) -> ModelResponse:
        if finished(messages, run_response):
            return ModelResponse(content="")
        return super().response(messages, *rest, run_response=run_response, **more)

    async def aresponse(
        self, messages: list[Message], *rest: Any, run_response: Any = None, **more: Any
    ) -> ModelResponse:
        if finished(messages, run_response):
            return ModelResponse(content="")
        return await super().aresponse(messages, *rest, run_response=run_response, **more)

    def response_stream(
        self, messages: list[Message], *rest: Any, run_response: Any = None, **more: Any
    ) -> Iterator[Any]:
        if not finished(messages, run_response):
            yield from super().response_stream(messages, *rest, run_response=run_response, **more)

    async def aresponse_stream(
        self, messages: list[Message], *rest: Any, run_response: Any = None, **more: Any
    ) -> AsyncIterator[Any]:
        if not finished(messages, run_response):
            async for event in super().aresponse_stream(messages, *rest, run_response=run_response, **more):
                yield event


def tools(run_context: RunContext) -> list[Function]:
    """The tools that the recording uses, each with the parameters that were seen."""
    replay = recording(run_context) or {"messages": []}
    results = {m["tool_call_id"]: m["content"] for m in replay["messages"] if m["role"] == "tool"}
    calls = [call for message in answers(replay) for call in message.get("tool_calls", [])]
    end = replay["messages"][-1] if replay["messages"] else {}
    breaks_off = end.get("role") == "tool" or "tool_calls" in end
    last = calls[-1]["id"] if breaks_off else None

    def answer(fc: FunctionCall, **arguments: Any) -> str:
        if fc.call_id == last:
            fc.function.stop_after_tool_call = True
        result = str(results.get(fc.call_id or "", ""))
        if result.startswith("Error"):
            raise RuntimeError(result)
        return result

    seen: dict[str, dict[str, Any]] = {}
    for call in calls:
        seen.setdefault(call["function"]["name"], {}).update(json.loads(call["function"]["arguments"]))
    return [
        Function(
            name=name,
            description="A recorded tool.",
            parameters={"type": "object", "properties": {argument: {} for argument in arguments}},
            entrypoint=answer,
            skip_entrypoint_processing=True,
        )
        for name, arguments in seen.items()
    ]


def instructions(run_context: RunContext) -> list[str]:
    """The recorded system message, and nothing around it. (agno gives its `system_message` no run context.)"""
    system = (recording(run_context) or {}).get("system")
    return [system] if system else []


replay = Agent(
    id="replay",
    name="Replay",
    model=ReplayModel(),
    tools=tools,
    cache_callables=False,  # agno would reuse the tools of the session's first run
    instructions=instructions,
    resolve_in_context=False,  # braces in the recorded text are text
    add_history_to_context=True,
    num_history_runs=5,
)
