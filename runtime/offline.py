"""A deterministic model for machines without an API key. It behaves like a provider and says what it is.

The same messages give the same answer, tool calls, token counts and latency. A prompt can ask for trouble:

    [fail]  [fail 429]     the provider answers with an error of that status (500 when none is named)
    [fail-once]            as [fail], but only on the first attempt of the ticket
    [slow 3]               the first call of the turn takes 3 seconds longer
    [tool NAME]            the model calls this tool (several: one after the other)
"""

import asyncio
import hashlib
import json
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agno.exceptions import ModelProviderError
from agno.metrics import MessageMetrics
from agno.models.base import Model
from agno.models.message import Message
from agno.models.response import ModelResponse
from agno.run.agent import RunOutput
from agno.run.team import TeamRunOutput

from runtime.toolcalls import example, pick_tool
from telemetry.semconv import TICKET_CONTEXT

MARK = "[offline model]"
DIRECTIVE = re.compile(r"\[(fail-once|fail|slow|tool)(?:\s+([\w.-]+))?\]")
CHARACTERS_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4
CACHE_BLOCK = 128  # providers cache a prompt's prefix in blocks of 128 tokens ...
CACHE_MINIMUM = 1024  # ... once it is this long (OpenAI's prompt caching guide)

Tools = Sequence[Mapping[str, Any]]
RunResult = RunOutput | TeamRunOutput | None


@dataclass
class Reply:
    """What the model is going to answer: the text, the tool calls (OpenAI's shape) and the seconds it takes."""

    content: str | None = None
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    usage: MessageMetrics = field(default_factory=MessageMetrics)

    def chunks(self) -> list[ModelResponse]:
        """The reply as a provider streams it: a few words at a time, then the tool calls, then the usage."""
        words = re.findall(r"\S+\s*", self.content or "")
        parts = ["".join(words[at : at + 4]) for at in range(0, len(words), 4)]
        stream = [ModelResponse(role="assistant", content=part) for part in parts]
        if self.tool_calls:
            stream.append(ModelResponse(role="assistant", tool_calls=self.tool_calls))
        return [*stream, ModelResponse(response_usage=self.usage)]


@dataclass
class OfflineModel(Model):
    """`latency`: mean seconds of one call; each prompt has its own, between half and one and a half of it."""

    id: str = "offline"
    name: str | None = "OfflineModel"
    provider: str | None = "Offline"
    supports_native_structured_outputs: bool = True
    latency: float = 0.2

    def reply(
        self, messages: list[Message], tools: Tools, response_format: Any, tool_choice: Any, run: RunResult
    ) -> Reply:
        """Decides the answer. Raises ModelProviderError where the prompt asks for it."""
        prompt, turn = last_turn(messages)
        directives = DIRECTIVE.findall(prompt)
        self._fail_on_demand(directives, run)
        asked = DIRECTIVE.sub("", prompt).strip()
        seconds = self.pause(prompt)
        if not turn:
            seconds += sum(float(value or 1) for name, value in directives if name == "slow")
        called = [call["function"]["name"] for message in turn for call in message.tool_calls or []]
        wanted = [value for name, value in directives if name == "tool"]
        name = None if tool_choice == "none" else pick_tool(tools, asked, wanted, called)
        if name is not None:
            return Reply(tool_calls=[self._tool_call(name, tools, asked, len(called))], seconds=seconds)
        return Reply(content=self._answer(asked, turn, response_format), seconds=seconds)

    def pause(self, prompt: str) -> float:
        """Seconds this prompt takes, always the same for the same prompt."""
        return self.latency * (0.5 + hashlib.sha256(prompt.encode()).digest()[0] / 255)

    def _fail_on_demand(self, directives: list[tuple[str, str]], run: RunResult) -> None:
        ticket = ((run.metadata if run is not None else None) or {}).get(TICKET_CONTEXT) or {}
        for name, value in directives:
            if name == "fail" or (name == "fail-once" and int(ticket.get("attempt") or 1) == 1):
                raise ModelProviderError(
                    f"{MARK} The prompt asked for this error ([{name}]).",
                    status_code=int(value) if value.isdigit() else 500,
                    model_name=self.name,
                    model_id=self.id,
                )

    def _tool_call(self, name: str, tools: Tools, prompt: str, position: int) -> dict[str, Any]:
        schema = next((t["function"].get("parameters") for t in tools if t["function"]["name"] == name), None)
        arguments = json.dumps(example(schema or {"type": "object"}, prompt))
        digest = hashlib.sha256(f"{name}{arguments}{position}{prompt}".encode()).hexdigest()
        function = {"name": name, "arguments": arguments}
        return {"id": f"call_{digest[:24]}", "type": "function", "function": function}

    def _answer(self, prompt: str, turn: list[Message], response_format: Any) -> str:
        schema = response_format.model_json_schema() if hasattr(response_format, "model_json_schema") else None
        if schema is not None:
            return json.dumps(example(schema, f"{MARK} {prompt}"))
        results = [(m.tool_name, m.get_content_string()) for m in turn if m.role == "tool"]
        if not results:
            return f"{MARK} You said: {shorten(prompt, 200)}"
        return f"{MARK} " + " ".join(f"{name} says: {shorten(text, 300)}." for name, text in results)

    def _prepare(
        self, answer: Message, messages: list[Message], tools: Any, response_format: Any, choice: Any, run: Any
    ) -> Reply:
        self._ensure_message_metrics_initialized(answer)
        reply = self.reply(messages, tools or [], response_format, choice, run)
        reply.usage = usage(messages, tools or [], reply)
        return reply

    def invoke(
        self,
        messages: list[Message],
        assistant_message: Message,
        response_format: Any = None,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: Any = None,
        run_response: RunResult = None,
        compress_tool_results: bool = False,
    ) -> ModelResponse:
        reply = self._prepare(assistant_message, messages, tools, response_format, tool_choice, run_response)
        time.sleep(reply.seconds)
        assistant_message.metrics.stop_timer()
        return self._parse_provider_response(reply)

    async def ainvoke(
        self,
        messages: list[Message],
        assistant_message: Message,
        response_format: Any = None,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: Any = None,
        run_response: RunResult = None,
        compress_tool_results: bool = False,
    ) -> ModelResponse:
        reply = self._prepare(assistant_message, messages, tools, response_format, tool_choice, run_response)
        await asyncio.sleep(reply.seconds)
        assistant_message.metrics.stop_timer()
        return self._parse_provider_response(reply)

    def invoke_stream(
        self,
        messages: list[Message],
        assistant_message: Message,
        response_format: Any = None,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: Any = None,
        run_response: RunResult = None,
        compress_tool_results: bool = False,
    ) -> Iterator[ModelResponse]:
        reply = self._prepare(assistant_message, messages, tools, response_format, tool_choice, run_response)
        chunks = reply.chunks()
        for chunk in chunks:
            time.sleep(reply.seconds / len(chunks))
            yield self._parse_provider_response_delta(chunk)
        assistant_message.metrics.stop_timer()

    async def ainvoke_stream(
        self,
        messages: list[Message],
        assistant_message: Message,
        response_format: Any = None,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: Any = None,
        run_response: RunResult = None,
        compress_tool_results: bool = False,
    ) -> AsyncIterator[ModelResponse]:
        reply = self._prepare(assistant_message, messages, tools, response_format, tool_choice, run_response)
        chunks = reply.chunks()
        for chunk in chunks:
            await asyncio.sleep(reply.seconds / len(chunks))
            yield self._parse_provider_response_delta(chunk)
        assistant_message.metrics.stop_timer()

    def _parse_provider_response(self, response: Reply, **kwargs: Any) -> ModelResponse:
        return ModelResponse(
            role="assistant",
            content=response.content,
            tool_calls=response.tool_calls,
            response_usage=response.usage,
        )

    def _parse_provider_response_delta(self, response: ModelResponse) -> ModelResponse:
        return response


def last_turn(messages: list[Message]) -> tuple[str, list[Message]]:
    """The last user message's text and the messages after it: the same for every attempt at the turn."""
    for at in range(len(messages) - 1, -1, -1):
        if messages[at].role == "user":
            return messages[at].get_content_string(), messages[at + 1 :]
    return "", messages


def shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def tokens(text: str) -> int:
    """An estimate that depends on nothing but the text."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def usage(messages: Sequence[Message], tools: Tools, reply: Reply) -> MessageMetrics:
    """Token counts as a provider reports them. Cached: what an earlier call of the conversation sent before."""

    def size(part: Sequence[Message]) -> int:
        calls = sum(tokens(json.dumps(message.tool_calls)) for message in part if message.tool_calls)
        return calls + sum(TOKENS_PER_MESSAGE + tokens(message.get_content_string()) for message in part)

    answers = [at for at, message in enumerate(messages) if message.role == "assistant"]
    sent_before = messages[: answers[-1]] if answers else []
    declared = tokens(json.dumps(list(tools))) if tools else 0
    sent = size(messages) + declared
    known = size(sent_before) + declared if sent_before else 0
    written = tokens(reply.content or "") + (tokens(json.dumps(reply.tool_calls)) if reply.tool_calls else 0)
    return MessageMetrics(
        input_tokens=sent,
        output_tokens=written,
        total_tokens=sent + written,
        cache_read_tokens=known // CACHE_BLOCK * CACHE_BLOCK if known >= CACHE_MINIMUM else 0,
    )
