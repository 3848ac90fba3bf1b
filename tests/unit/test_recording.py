"""What the recorder makes of what else happens in runs: retries, streams of tools, retrievals, users' own spans ..."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from agno.agent import Agent
from agno.db.in_memory import InMemoryDb
from agno.exceptions import ModelProviderError
from agno.knowledge.document import Document
from agno.models.message import Message
from agno.models.response import ModelResponse
from agno.team import Team
from agno.tools.function import Function, FunctionCall, ToolResult
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import StatusCode

from runtime.offline import OfflineModel
from telemetry import plain, prices, recorder, runs, semconv
from telemetry.content import REFUSED, Content
from telemetry.span import LiveSpan
from tests.unit.conftest import Recorded, record
from tests.unit.test_recorder import agent, broken, lookup, parent_id


def test_what_users_code_sets_on_the_current_span_is_kept(recorded: Recorded) -> None:
    def priced(city: str) -> str:
        """Looks a city up."""
        span = trace.get_current_span()
        span.set_attribute("customer.tier", "gold")
        span.add_event("asked", {"city": city})
        span.record_exception(ValueError("not so bad"))
        span.end()  # not theirs to end
        assert span.is_recording()
        return "4"

    agent(tools=[priced]).run("[tool priced] what is it?")

    call = recorded.span("execute_tool")
    assert call.attributes["customer.tier"] == "gold"
    assert [event.name for event in call.events] == ["asked", "exception"]
    assert call.events[1].attributes["exception.type"] == "ValueError"
    assert call.attributes[semconv.OUTPUT_VALUE] == "4"


def test_messages_are_shown_as_they_were_at_the_call(recorded: Recorded) -> None:
    given: list[Message] = []

    class Changing(OfflineModel):
        def invoke(self, messages: list[Message], **more: Any) -> ModelResponse:
            answer = super().invoke(messages, **more)
            messages[0].content = "changed"
            messages.append(Message(role="user", content="added"))
            given.extend(messages)
            return answer

    Agent(id="a", model=Changing(latency=0), telemetry=False).run("as it was")

    call = recorded.span("chat")
    assert given[0].content == "changed"
    assert call.attributes["llm.input_messages.0.message.content"] == "as it was"
    assert "llm.input_messages.1.message.role" not in call.attributes


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_is_tried_again_is_one_span_with_its_retries(recorded: Recorded, stream: bool) -> None:
    attempts: list[int] = []

    class Flaky(OfflineModel):
        def invoke(self, *given: Any, **more: Any) -> ModelResponse:
            attempts.append(1)
            if len(attempts) < 3:
                raise ModelProviderError("busy", status_code=503)
            return super().invoke(*given, **more)

        def invoke_stream(self, *given: Any, **more: Any) -> Iterator[ModelResponse]:
            attempts.append(1)
            if len(attempts) < 3:
                yield ModelResponse(role="assistant", content="half an ")
                raise ModelProviderError("busy", status_code=503)
            yield from super().invoke_stream(*given, **more)

    it = Agent(id="a", model=Flaky(latency=0, retries=2, delay_between_retries=0), telemetry=False)
    if stream:
        for _ in it.run("go", stream=True):
            pass
    else:
        it.run("go")

    call = recorded.span("chat")
    assert len(attempts) == 3
    assert [(e.name, e.attributes[semconv.ERROR_TYPE]) for e in call.events] == [("retry", "ModelProviderError")] * 2
    assert call.status.status_code is StatusCode.OK
    assert "half an" not in str(call.attributes["llm.output_messages.0.message.content"])


def test_a_tool_that_streams_lasts_until_it_is_read(recorded: Recorded) -> None:
    """And what it does meanwhile is below it: a team's members, who are asked by such a tool."""
    member = agent()
    team = Team(id="desk", name="Desk", members=[member], model=OfflineModel(latency=0), delegate_to_all_members=True)
    for _ in team.run("[tool delegate_task_to_members] write a line", stream=True, stream_events=True):
        pass

    delegation, nested = recorded.span("execute_tool delegate"), recorded.span("invoke_agent Weather")
    assert parent_id(nested) == delegation.context.span_id
    assert delegation.start_time <= nested.start_time <= nested.end_time <= delegation.end_time
    assert "[offline model]" in str(delegation.attributes[semconv.OUTPUT_VALUE])


def test_a_streaming_tool_that_fails_is_an_error(recorded: Recorded) -> None:
    async def halves() -> AsyncIterator[str]:
        yield "one"
        raise LookupError("no more")

    async def run() -> list[str]:
        call = FunctionCall(function=Function.from_callable(halves), call_id="c1")
        result = await call.aexecute()
        found = []
        with contextlib.suppress(LookupError):
            async for item in result.result:
                found.append(item)
        return found

    assert asyncio.run(run()) == ["one"]
    call = recorded.span("execute_tool halves")
    assert call.attributes[semconv.ERROR_TYPE] == "LookupError"
    assert call.attributes[semconv.OUTPUT_VALUE] == "one"


class Shelf:
    """Knowledge that is no agno.knowledge.Knowledge."""

    max_results = 2

    def retrieve(self, query: str, **more: Any) -> list[Document]:
        if query == "fail":
            raise LookupError("no such shelf")
        return [Document(content="Oslo is in Norway.", id="d1", meta_data={"page": 3}, reranking_score=0.5)]


def test_a_retrieval_shows_what_was_found(recorded: Recorded) -> None:
    agent(knowledge=Shelf(), add_knowledge_to_context=True, search_knowledge=False).run("where is Oslo?")

    found = recorded.span("retrieval Shelf")
    assert parent_id(found) == recorded.span("invoke_agent").context.span_id
    assert found.attributes[semconv.SPAN_KIND] == "RETRIEVER"
    assert found.attributes[semconv.INPUT_VALUE] == "where is Oslo?"
    assert found.attributes["retrieval.documents.0.document.content"] == "Oslo is in Norway."
    assert found.attributes[semconv.AGENT_ID] == "weather"


def test_a_retrieval_that_fails_is_an_error(recorded: Recorded) -> None:
    agent(knowledge=Shelf(), add_knowledge_to_context=True, search_knowledge=False).run("fail")

    assert recorded.span("retrieval Shelf").attributes[semconv.ERROR_TYPE] == "LookupError"


@pytest.mark.parametrize("stream", [False, True])
def test_memories_belong_to_the_run_that_they_are_made_of(recorded: Recorded, stream: bool) -> None:
    it = agent(db=InMemoryDb(), update_memory_on_run=True)
    done = it.run("I live in Oslo", user_id="ann", run_id="r1", stream=stream)
    for _ in done if stream else ():
        pass

    memory = recorded.span("upsert_memory")
    assert memory.attributes[semconv.RUN_ID] == "r1"
    assert "I live in Oslo" in str(memory.attributes[semconv.INPUT_VALUE])
    assert memory.context.trace_id == recorded.span("invoke_agent").context.trace_id
    assert parent_id(memory) == recorded.span("invoke_agent").context.span_id
    assert [span for span in recorded.all("chat") if parent_id(span) == memory.context.span_id]


def test_a_model_that_is_asked_outside_of_a_run_has_a_trace_of_its_own(recorded: Recorded) -> None:
    OfflineModel(latency=0).response([Message(role="user", content="hello")])

    call = recorded.span("chat")
    assert call.parent is None
    assert semconv.RUN_ID not in call.attributes


def test_an_mcp_tool_says_so_and_its_error_is_one(recorded: Recorded) -> None:
    async def call_tool(**arguments: Any) -> ToolResult:
        return ToolResult(content="Error from MCP tool 'search': quota")

    call_tool.__module__ = "agno.utils.mcp"
    asyncio.run(FunctionCall(function=Function(name="search", entrypoint=call_tool), call_id="c1").aexecute())

    call = recorded.span("execute_tool search")
    assert call.attributes["mcp.method.name"] == "tools/call"
    assert call.attributes[semconv.TOOL_TYPE] == "extension"
    assert call.status.status_code is StatusCode.ERROR


def test_a_coroutine_that_nobody_awaits_any_more_leaves_no_context(
    recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    async def begin() -> Any:
        it = agent().arun("[slow 30] wait")
        task = asyncio.ensure_future(it)
        await asyncio.sleep(0.2)
        return task

    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(begin())
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    del task
    gc.collect()
    assert not trace.get_current_span().get_span_context().is_valid
    assert runs.current() is None
    assert "Failed to detach" not in caplog.text


def test_a_run_costs_what_its_calls_cost(recorded: Recorded, tmp_path: Path) -> None:
    table = tmp_path / "prices.toml"
    table.write_text('["*"]\ninput = 1000000\noutput = 2000000\n')
    prices.load()
    prices.use(str(table))
    try:
        agent(tools=[lookup]).run("[tool lookup] go")
        recorded.spans.flush()
    finally:
        prices.use(None)

    calls = recorded.all("chat")
    costs = [call.attributes[semconv.INPUT_TOKENS] + 2 * call.attributes[semconv.OUTPUT_TOKENS] for call in calls]
    assert [call.attributes[semconv.COST] for call in calls] == pytest.approx(costs)
    assert recorded.span("invoke_agent").attributes[semconv.RUN_COST] == pytest.approx(sum(costs))
    (point,) = recorded.points("agno.model.cost")
    assert point.value == pytest.approx(sum(costs))
    assert dict(point.attributes)["agent_id"] == "weather"


def test_what_agno_says_that_a_call_costs_wins(recorded: Recorded) -> None:
    class Priced(OfflineModel):
        def invoke(self, *given: Any, **more: Any) -> ModelResponse:
            answer = super().invoke(*given, **more)
            assert answer.response_usage is not None
            answer.response_usage.cost = 0.25
            return answer

    Agent(id="a", model=Priced(latency=0), telemetry=False).run("go")

    assert recorded.span("chat").attributes[semconv.COST] == 0.25
    assert recorded.span("invoke_agent").attributes[semconv.RUN_COST] == 0.25


def test_an_unknown_cost_is_none_and_not_zero(recorded: Recorded) -> None:
    prices.load()
    agent().run("go")

    assert semconv.COST not in recorded.span("chat").attributes
    assert semconv.RUN_COST not in recorded.span("invoke_agent").attributes
    assert recorded.points("agno.model.cost") == []


@pytest.fixture
def unsampled() -> Iterator[Recorded]:
    yield from record(ParentBased(ALWAYS_OFF))


def test_what_is_not_sampled_is_not_kept_but_counted(unsampled: Recorded) -> None:
    agent(tools=[lookup]).run("[tool lookup] go")

    assert unsampled.all() == []
    assert [point.value for point in unsampled.points("agno.agent.runs")] == [1]


def test_a_failure_is_kept_with_what_is_above_it_whatever_is_sampled(unsampled: Recorded) -> None:
    agent(tools=[broken]).run("[tool broken] weather in Oslo?", run_id="r1")

    top, call = unsampled.span("invoke_agent"), unsampled.span("execute_tool")
    assert parent_id(call) == top.context.span_id
    assert call.attributes[semconv.INPUT_VALUE] == '{"city":"Oslo"}' or "Oslo" in str(call.attributes["input.value"])
    assert top.attributes[semconv.RUN_ID] == "r1"
    assert all(span.context.trace_flags.sampled for span in unsampled.all())


def test_sampling_follows_the_webhook(recorded: Recorded, unsampled_ticket: dict[str, Any]) -> None:
    recorder.uninstall()
    for recording in record(ParentBased(ALWAYS_OFF)):
        asyncio.run(agent().arun("go", metadata={semconv.TICKET_CONTEXT: unsampled_ticket}))
        assert recording.all() == []
        sampled = {**unsampled_ticket, "traceparent": unsampled_ticket["traceparent"][:-2] + "01"}
        asyncio.run(agent().arun("go", metadata={semconv.TICKET_CONTEXT: sampled}))
        assert recording.span("invoke_agent")
        break


@pytest.fixture
def unsampled_ticket() -> dict[str, Any]:
    return {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-00"}


SECRET = "the number is 4111 1111 1111 1111"


def contents(recorded: Recorded) -> str:
    """All that was said, wherever it stands."""
    return str([(dict(span.attributes), span.status.description, span.events) for span in recorded.all()])


@pytest.mark.parametrize("mode", ["off", "hashed"])
def test_content_that_is_not_wanted_is_nowhere(recorded: Recorded, mode: Any) -> None:
    recorded.content = Content(mode)
    agent(tools=[lookup, broken], instructions=SECRET).run(f"[tool broken] [tool lookup] {SECRET}")

    assert "4111" not in contents(recorded)
    assert "Oslo" not in contents(recorded)
    top = recorded.span("invoke_agent")
    assert top.attributes[semconv.RUN_STATUS] == "completed"
    assert (semconv.INPUT_VALUE in top.attributes) is (mode == "hashed")
    assert recorded.span("execute_tool broken").attributes[semconv.ERROR_TYPE] == "tool_error"


def test_truncated_content_says_how_much_is_missing(recorded: Recorded) -> None:
    recorded.content = Content("truncated")
    agent().run("x" * 5000)

    assert str(recorded.span("invoke_agent").attributes[semconv.INPUT_VALUE]).endswith("x ... (4000 more characters)")


def test_redaction_sees_all_content_and_its_failure_shows_nothing(recorded: Recorded) -> None:
    recorded.content = Content("full", lambda text: text.replace("4111 1111 1111 1111", "****"))
    agent(tools=[lookup], instructions=SECRET).run(f"[tool lookup] {SECRET}")
    assert "4111" not in contents(recorded)
    assert "the number is ****" in contents(recorded)

    def fail(text: str) -> str:
        raise ValueError(text)

    recorded.content = Content("full", fail)
    assert "4111" not in contents(recorded)
    assert REFUSED in contents(recorded)


def test_content_is_written_once(recorded: Recorded) -> None:
    agent(instructions="say it once").run("and this, too")

    call = recorded.span("chat")
    assert str(dict(call.attributes)).count("say it once") == 1
    assert str(dict(call.attributes)).count("and this, too") == 2  # the offline model's answer repeats the question


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


def endless() -> list[Any]:
    it: list[Any] = []
    it.append(it)
    return it


def deep() -> list[Any]:
    it: list[Any] = []
    for _ in range(10_000):
        it = [it]
    return it


@pytest.mark.parametrize("value", [Hostile(), endless(), deep(), {"a": Hostile()}, 2**200, {1: {2}}, b"\xff\x00"])
def test_anything_becomes_text(value: Any) -> None:
    assert isinstance(plain.text(value), str)


def test_a_hostile_answer_costs_nothing_but_its_text(recorded: Recorded) -> None:
    def odd(city: str) -> Any:
        """Answers something odd."""
        return "half \ud800 and \x00"

    agent(tools=[odd]).run("[tool odd] go")

    call = recorded.span("execute_tool")
    assert call.attributes[semconv.OUTPUT_VALUE] == "half ? and \x00"
    assert recorded.span("invoke_agent").attributes[semconv.RUN_STATUS] == "completed"


def test_off_wraps_no_calls_and_puts_everything_back(recorded: Recorded) -> None:
    from agno.models.base import Model
    from agno.tools.function import FunctionCall

    recorder.uninstall()
    before = Model._invoke_with_retry, FunctionCall.execute
    recorded.spans._provider = None
    recorder.install(recorded)
    assert (Model._invoke_with_retry, FunctionCall.execute) == before
    agent().run("go")
    assert recorded.kept == []


def test_a_span_of_ours_is_a_span() -> None:
    assert issubclass(LiveSpan, trace.Span)
