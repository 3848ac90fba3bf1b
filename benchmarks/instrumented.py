"""`python -m benchmarks.instrumented VARIANT ...`: agno under one instrumentation, which runs an agent when told to.

One run is two model calls and one tool call, with messages of a few hundred characters. The model answers at once.
Orders come as JSON lines on stdin (`{"mode", "runs", "rate"}`), answers go as JSON lines to stdout.
"""

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import agno.models.base
import psutil
from agno.agent import Agent
from agno.metrics import MessageMetrics
from agno.models.base import Model
from agno.models.message import Message
from agno.models.response import ModelResponse
from agno.team import Team as Team  # so that all that instrumentations wrap is imported before they are
from agno.workflow import Workflow as Workflow

from benchmarks.instrumentations import VARIANTS, Where

PROMPT = "Where is my order, and why has nobody told me anything about it? I ordered two weeks ago. " * 4
INSTRUCTIONS = "You answer questions about orders. Be brief, be polite, and look the order up before you answer. " * 8
FOUND = "order 4WQ150: packed on Monday, handed over to the carrier on Tuesday, delayed by a storm since. " * 10
ANSWER = "Your order left our house on Tuesday. A storm has delayed it, and it should reach you on Friday. " * 8
CHUNKS = 10
TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"order": "4WQ150"}'}}


def look_up(order: str) -> str:
    """Looks an order up."""
    return FOUND


@dataclass
class InstantModel(Model):
    """Calls the tool, then answers; streamed in pieces."""

    id: str = "instant"
    name: str | None = "InstantModel"
    provider: str | None = "Benchmark"

    def invoke(self, messages: list[Message], assistant_message: Message, **kwargs: Any) -> ModelResponse:
        self._ensure_message_metrics_initialized(assistant_message)
        answer = ModelResponse(role="assistant", response_usage=_usage())
        if messages[-1].role == "tool":
            answer.content = ANSWER
        else:
            answer.tool_calls = [TOOL_CALL]
        assistant_message.metrics.stop_timer()
        return answer

    async def ainvoke(self, *args: Any, **kwargs: Any) -> ModelResponse:
        return self.invoke(*args, **kwargs)

    def invoke_stream(
        self, messages: list[Message], assistant_message: Message, **kwargs: Any
    ) -> Iterator[ModelResponse]:
        self._ensure_message_metrics_initialized(assistant_message)
        if messages[-1].role == "tool":
            size = -(-len(ANSWER) // CHUNKS)
            for at in range(0, len(ANSWER), size):
                yield ModelResponse(role="assistant", content=ANSWER[at : at + size])
        else:
            yield ModelResponse(role="assistant", tool_calls=[TOOL_CALL])
        yield ModelResponse(response_usage=_usage())
        assistant_message.metrics.stop_timer()

    async def ainvoke_stream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ModelResponse]:
        for piece in self.invoke_stream(*args, **kwargs):
            yield piece

    def _parse_provider_response(self, response: ModelResponse, **kwargs: Any) -> ModelResponse:
        return response

    def _parse_provider_response_delta(self, response: ModelResponse) -> ModelResponse:
        return response


# OpenInference, and all that build on it, make spans only for models that they find in agno's own modules.
agno.models.base.InstantModel = InstantModel  # type: ignore[attr-defined]


def _usage() -> MessageMetrics:
    return MessageMetrics(input_tokens=812, output_tokens=154, total_tokens=966)


def make_agent(**options: Any) -> Agent:
    return Agent(
        id="orders",
        name="Orders",
        model=InstantModel(),
        tools=[look_up],
        instructions=INSTRUCTIONS,
        telemetry=False,
        **options,
    )


def sync(agent: Agent, runs: int, rate: float | None) -> list[int]:
    return _timed(lambda: agent.run(PROMPT), runs, rate)


def streaming(agent: Agent, runs: int, rate: float | None) -> list[int]:
    return _timed(lambda: list(agent.run(PROMPT, stream=True)), runs, rate)


def asynchronous(agent: Agent, runs: int, rate: float | None) -> list[int]:
    async def all_runs() -> list[int]:
        taken = []
        due = time.perf_counter()
        for _ in range(runs):
            began = time.perf_counter_ns()
            await agent.arun(PROMPT)
            taken.append(time.perf_counter_ns() - began)
            if rate:
                due += 1 / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
        return taken

    return asyncio.run(all_runs())


def _timed(run: Callable[[], Any], runs: int, rate: float | None) -> list[int]:
    taken = []
    due = time.perf_counter()
    for _ in range(runs):
        began = time.perf_counter_ns()
        run()
        taken.append(time.perf_counter_ns() - began)
        if rate:
            due += 1 / rate
            time.sleep(max(0.0, due - time.perf_counter()))
    return taken


MODES = {"sync": sync, "async": asynchronous, "streaming": streaming}


def cpu_seconds() -> float:
    """Of this process with all its threads, and of those that it started; to the nanosecond where the system can."""
    children = psutil.Process().children(recursive=True)
    if sys.platform == "linux":  # the clock of another process has this number: see clock_getcpuclockid
        return time.process_time() + sum(time.clock_gettime(~child.pid << 3 | 2) for child in children)
    times = [child.cpu_times() for child in children]
    return time.process_time() + sum(spent.user + spent.system for spent in times)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # some instrumentations greet on stdout

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    variant = VARIANTS[sys.argv[1]]
    began = time.perf_counter()
    prepared = variant.prepare(Where(*sys.argv[2:]))
    middle = time.perf_counter()
    flush = variant.install(prepared)
    answer(prepare=middle - began, install=time.perf_counter() - middle)
    sys.setswitchinterval(0.0005)  # this, and what is frozen, as runtime/processes.py has it
    agent = make_agent()
    for line in sys.stdin:
        order = json.loads(line)
        gc.collect()
        gc.freeze()
        busy = cpu_seconds()
        taken = MODES[order["mode"]](agent, order["runs"], order["rate"])
        flush()
        answer(taken=taken, cpu=cpu_seconds() - busy)
    os._exit(0)  # without whatever an instrumentation does when a process ends


if __name__ == "__main__":
    main()
