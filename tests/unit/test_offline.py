"""The offline model, driven by agno's own Agent and Team: what a run reports when no provider is there."""

import asyncio
import json
from typing import Any, Literal

import pytest
from agno.agent import Agent
from agno.exceptions import ModelProviderError
from agno.models.message import Message
from agno.run.agent import RunEvent
from agno.run.base import RunStatus
from agno.team import Team
from agno.tools import tool
from pydantic import BaseModel

from runtime.offline import MARK, OfflineModel
from runtime.toolcalls import example
from telemetry.semconv import TICKET_CONTEXT


def order_status(order_id: str, detail: Literal["short", "long"] = "short") -> str:
    """Says where an order is."""
    return f"{order_id} is on its way"


def refund(order_id: str, cents: int) -> str:
    return f"{cents} cents of {order_id} refunded"


def agent(**options: Any) -> Agent:
    return Agent(model=OfflineModel(latency=0.0), tools=[order_status, refund], telemetry=False, **options)


def test_an_answer_is_marked_and_carries_tokens() -> None:
    run = agent().run("Hello there")
    assert run.content.startswith(MARK)
    assert run.model == "offline" and run.model_provider == "Offline"
    assert run.metrics.input_tokens > 0 and run.metrics.output_tokens > 0
    assert run.metrics.total_tokens == run.metrics.input_tokens + run.metrics.output_tokens
    assert run.metrics.details["model"][0].id == "offline"


def test_the_same_prompt_gives_the_same_answer_and_counts() -> None:
    first, second = agent().run("Where is order A-1001?"), agent().run("Where is order A-1001?")
    assert first.content == second.content
    assert first.metrics.input_tokens == second.metrics.input_tokens
    assert first.tools[0].tool_call_id == second.tools[0].tool_call_id


def test_a_tool_that_fits_the_prompt_is_called_with_valid_arguments() -> None:
    run = agent().run("What is the status of order A-1001?")
    assert [(call.tool_name, call.tool_args) for call in run.tools] == [("order_status", {"order_id": "A-1001"})]
    assert "A-1001 is on its way" in run.content


def test_named_tools_are_called_in_order() -> None:
    run = agent().run("[tool refund] [tool order_status] order A-7, 250 cents")
    assert [call.tool_name for call in run.tools] == ["refund", "order_status"]
    assert run.tools[0].tool_args == {"order_id": "A-7", "cents": 250}


def test_the_async_path_answers_alike() -> None:
    run = asyncio.run(agent().arun("status of order A-1001"))
    assert run.content == agent().run("status of order A-1001").content


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_stream_comes_in_chunks_and_ends_with_the_usage(asynchronous: bool) -> None:
    async def collect() -> list[Any]:
        stream = agent().arun("Tell me something long " * 5, stream=True, stream_events=True)
        return [event async for event in stream]

    if asynchronous:
        events = asyncio.run(collect())
    else:
        events = list(agent().run("Tell me something long " * 5, stream=True, stream_events=True))
    parts = [event.content for event in events if event.event == RunEvent.run_content.value]
    completed = events[-1]
    assert len(parts) > 3
    assert completed.content == "".join(parts) == agent().run("Tell me something long " * 5).content
    assert completed.metrics.output_tokens > 0
    assert completed.metrics.time_to_first_token is not None


@pytest.mark.parametrize(("prompt", "status"), [("[fail] please", 500), ("[fail 429]", 429)])
def test_an_error_on_demand_ends_the_run_as_a_providers_error_does(prompt: str, status: int) -> None:
    run = agent().run(prompt)
    assert run.status is RunStatus.error
    events = list(agent().run(prompt, stream=True, stream_events=True))
    assert events[-1].event == RunEvent.run_error.value
    assert events[-1].error_type == "model_provider_error"
    with pytest.raises(ModelProviderError) as error:
        OfflineModel(latency=0.0).invoke([Message(role="user", content=prompt)], Message(role="assistant"))
    assert error.value.status_code == status


def test_fail_once_fails_on_the_first_attempt_only() -> None:
    def status(attempt: int) -> RunStatus:
        return agent().run("[fail-once]", metadata={TICKET_CONTEXT: {"attempt": attempt}}).status

    assert (status(1), status(2)) == (RunStatus.error, RunStatus.completed)


def test_latency_follows_the_prompt_and_slow_adds_to_the_first_call() -> None:
    model = OfflineModel(latency=2.0)
    assert 1.0 <= model.pause("one") <= 3.0
    assert model.pause("one") == model.pause("one") != model.pause("two")
    run = agent().run("[slow 2] status of order A-1001")
    assert 2 <= run.metrics.duration < 4, "two model calls, one of them slow"


def test_a_long_conversation_reports_cached_tokens() -> None:
    run = Agent(
        model=OfflineModel(latency=0.0), tools=[order_status], system_message="policy " * 1000, telemetry=False
    ).run("status of order A-1001")
    assert run.metrics.cache_read_tokens % 128 == 0
    assert 0.4 < run.metrics.cache_read_tokens / run.metrics.input_tokens < 0.5, "all but new of the second call"


def test_an_output_schema_is_answered_with_an_instance() -> None:
    class Verdict(BaseModel):
        score: int
        reason: str

    run = Agent(model=OfflineModel(latency=0.0), output_schema=Verdict, telemetry=False).run("rate this: 7")
    assert isinstance(run.content, Verdict)
    assert run.content.score == 7 and MARK in run.content.reason


def test_a_tool_that_needs_confirmation_pauses_the_run_and_goes_on() -> None:
    @tool(requires_confirmation=True)
    def delete_account(account_id: str) -> str:
        return f"{account_id} deleted"

    careful = Agent(model=OfflineModel(latency=0.0), tools=[delete_account], telemetry=False)
    run = careful.run("delete account C-9")
    assert run.is_paused
    run.tools[0].confirmed = True
    done = careful.continue_run(run_response=run)
    assert done.status is RunStatus.completed and "C-9 deleted" in done.content


def test_a_leader_delegates_to_its_members() -> None:
    members = [Agent(name=name, model=OfflineModel(latency=0.0), telemetry=False) for name in ("Ann", "Bob")]
    team = Team(members=members, model=OfflineModel(latency=0.0), delegate_to_all_members=True, telemetry=False)
    run = team.run("Write about the sea")
    assert run.status is RunStatus.completed
    assert {member.agent_name for member in run.member_responses} == {"Ann", "Bob"}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "object", "properties": {"n": {"type": "integer", "minimum": 5}}}, {"n": 5}),
        ({"type": "object", "properties": {"kind": {"enum": ["red", "blue"]}}}, {"kind": "blue"}),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"anyOf": [{"type": "null"}, {"type": "number"}]}, 3.0),
        ({"$ref": "#/$defs/P", "$defs": {"P": {"type": "string", "maxLength": 4}}}, "blue"),
        ({"type": "object", "properties": {"order_id": {"type": "string"}}}, {"order_id": "A-12"}),
    ],
)
def test_arguments_come_out_of_the_schema(schema: dict[str, Any], expected: Any) -> None:
    assert json.loads(json.dumps(example(schema, "blue order A-12 for 3"))) == expected
