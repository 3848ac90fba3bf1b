"""Our spans beside those of openinference-instrumentation-agno, of the same agents: docs/openinference.md has every
difference, with its reason, and no other.
"""

import contextvars
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from agno.agent import Agent
from agno.models.openai import OpenAIChat
from agno.team import Team
from agno.workflow import Step, Workflow
from openinference.instrumentation.agno import AgnoInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.unit.conftest import Recorded, record

TABLE = Path(__file__).parents[2] / "docs" / "openinference.md"


def provider(request: httpx.Request) -> httpx.Response:
    """Answers as OpenAI does: first with a call of the tool that it is offered, then with a sentence."""
    asked = json.loads(request.content)
    if "fail" in asked["messages"][-1]["content"]:
        return httpx.Response(400, json={"error": {"message": "no", "type": "invalid_request_error"}})
    if asked["messages"][-1]["role"] == "tool" or "tools" not in asked:
        message: dict[str, Any] = {"role": "assistant", "content": "It is sunny."}
    else:
        tool = asked["tools"][0]["function"]["name"]
        arguments = {"lookup": '{"city": "Oslo"}'}.get(tool, '{"member_id": "weather", "task": "look"}')
        function = {"name": tool, "arguments": arguments}
        message = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function"}]}
        message["tool_calls"][0]["function"] = function
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    answer = {"id": "x", "object": "chat.completion", "created": 1, "model": "gpt-4o-2024-08-06"}
    return httpx.Response(200, json={**answer, "choices": [choice], "usage": usage})


def model() -> OpenAIChat:
    client = httpx.Client(transport=httpx.MockTransport(provider))
    return OpenAIChat(id="gpt-4o", api_key="none", http_client=client, temperature=0.5)


def lookup(city: str) -> str:
    """Looks a city up."""
    if city != "Oslo":
        raise LookupError(city)
    return f"{city}: sunny"


def agent() -> Agent:
    return Agent(id="weather", name="Weather", model=model(), tools=[lookup], instructions="Be brief.", telemetry=False)


def an_agent() -> None:
    agent().run("weather in Oslo?", session_id="s1", user_id="ann", run_id="r1")


def a_failure() -> None:
    agent().run("fail", session_id="s1", user_id="ann", run_id="r1")


def a_team() -> None:
    team = Team(id="desk", name="Desk", members=[agent()], model=model(), telemetry=False)
    team.run("weather in Oslo?", session_id="s1", user_id="ann", run_id="r1")


def a_workflow() -> None:
    workflow = Workflow(id="flow", name="Flow", steps=[Step(name="one", agent=agent())], telemetry=False)
    workflow.run("weather in Oslo?", session_id="s1", user_id="ann", run_id="r1")


def theirs(run: Callable[[], None]) -> list[ReadableSpan]:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = AgnoInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        contextvars.copy_context().run(run)  # the span of a team's run stays current
    finally:
        instrumentor.uninstrument()
    return list(exporter.get_finished_spans())


def ours(run: Callable[[], None]) -> list[ReadableSpan]:
    recording: Iterator[Recorded] = record()
    recorded = next(recording)
    try:
        run()
        return recorded.all()
    finally:
        for _ in recording:
            pass


def differences(run: Callable[[], None]) -> Iterator[tuple[str, str]]:
    """(kind of span, attribute or what else differs): spans are compared in the order of their ends."""
    mine, other = ours(run), theirs(run)
    for kind in sorted({str(span.attributes["openinference.span.kind"]) for span in (*mine, *other)}):
        own, its = _of(kind, mine), _of(kind, other)
        if len(own) != len(its):
            yield kind, "number of spans"
        for a, b in zip(own, its, strict=False):
            for key in sorted({*a.attributes, *b.attributes}):
                if _read(a.attributes.get(key)) != _read(b.attributes.get(key)):
                    yield kind, re.sub(r"\.\d+\.", ".N.", key)
            if a.status.status_code != b.status.status_code:
                yield kind, "status"
            if a.name != b.name:
                yield kind, "name"
            if a.kind != b.kind:
                yield kind, "span kind"


def _read(value: Any) -> Any:
    """JSON by what it says, however it is spaced."""
    if isinstance(value, str) and value.startswith("{"):
        return json.loads(value)
    return value


def _of(kind: str, spans: list[ReadableSpan]) -> list[ReadableSpan]:
    return [span for span in spans if span.attributes["openinference.span.kind"] == kind]


def explained() -> set[tuple[str, str]]:
    """The rows of the table: | spans | attribute | OpenInference | ours | why |."""
    rows = re.findall(
        r"^\| ([A-Z, ]+) \| `?([^|`]+)`? \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", TABLE.read_text(), re.MULTILINE
    )
    return {(kind, name) for kinds, name, *_ in rows for kind in kinds.split(", ")}


@pytest.fixture(scope="module")
def found() -> set[tuple[str, str]]:
    return {one for run in (an_agent, a_failure, a_team, a_workflow) for one in differences(run)}


def test_every_difference_is_explained(found: set[tuple[str, str]]) -> None:
    assert sorted(found - explained()) == []


def test_nothing_is_explained_that_is_no_difference(found: set[tuple[str, str]]) -> None:
    assert sorted(explained() - found) == []
