"""Real agno runs on the offline model: what the recorder makes of each way to run, to fail and to be abandoned."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from agno.agent import Agent
from agno.exceptions import CheckTrigger, OutputCheckError
from agno.team import Team
from agno.tools import tool
from agno.workflow import Step, Workflow
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from runtime.offline import OfflineModel
from telemetry import catalogue, recorder, semconv
from tests.unit.conftest import Recorded

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"


def lookup(city: str) -> str:
    """Looks a city up."""
    return f"{city}: sunny"


def broken(city: str) -> str:
    """Fails."""
    raise LookupError(f"no such city: {city}")


def agent(**options: Any) -> Agent:
    return Agent(id="weather", name="Weather", model=OfflineModel(latency=0), telemetry=False, **options)


def sync_run(it: Agent, prompt: str) -> None:
    it.run(prompt, session_id="s1", user_id="ann", run_id="r1")


def async_run(it: Agent, prompt: str) -> None:
    asyncio.run(it.arun(prompt, session_id="s1", user_id="ann", run_id="r1"))


def sync_stream(it: Agent, prompt: str) -> None:
    for _ in it.run(prompt, session_id="s1", user_id="ann", run_id="r1", stream=True):
        assert not trace.get_current_span().get_span_context().is_valid, "the run's context leaked to its consumer"


def async_stream(it: Agent, prompt: str) -> None:
    async def consume() -> None:
        async for _ in it.arun(prompt, session_id="s1", user_id="ann", run_id="r1", stream=True):
            assert not trace.get_current_span().get_span_context().is_valid

    asyncio.run(consume())


WAYS = [sync_run, async_run, sync_stream, async_stream]
Way = Callable[[Agent, str], None]


def parent_id(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


@pytest.mark.parametrize("run", WAYS)
def test_a_run_has_one_span_with_its_calls_below(recorded: Recorded, run: Way) -> None:
    run(agent(tools=[lookup]), "[tool lookup] weather in Oslo?")

    top = recorded.span("invoke_agent")
    models, tools = recorded.all("chat"), recorded.all("execute_tool")
    assert (len(models), len(tools)) == (2, 1)
    assert {parent_id(span) for span in (*models, *tools)} == {top.context.span_id}
    assert top.name == "invoke_agent Weather"
    assert top.attributes[semconv.RUN_STATUS] == "completed"
    assert top.attributes[semconv.INPUT_VALUE] == "[tool lookup] weather in Oslo?"
    assert top.attributes[semconv.INPUT_TOKENS] == sum(span.attributes[semconv.INPUT_TOKENS] for span in models)
    assert "[offline model]" in str(top.attributes[semconv.OUTPUT_VALUE])
    assert top.status.status_code is StatusCode.OK
    for span in (top, *models, *tools):
        assert span.attributes[semconv.RUN_ID] == "r1"
        assert span.attributes[semconv.SESSION_ID] == "s1"
        assert span.attributes[semconv.USER_ID] == "ann"
        assert span.attributes[semconv.AGENT_ID] == "weather"
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize("run", WAYS)
def test_a_model_call_shows_messages_answer_and_tokens(recorded: Recorded, run: Way) -> None:
    run(agent(tools=[lookup]), "[tool lookup] weather in Oslo?")

    first, second = recorded.all("chat")
    assert first.attributes["llm.output_messages.0.message.tool_calls.0.tool_call.function.name"] == "lookup"
    assert second.attributes["llm.input_messages.0.message.role"] == "user"
    assert second.attributes["llm.input_messages.2.message.role"] == "tool"
    assert "llm.input_messages.1.message.role" not in first.attributes, "messages as they were at the call, not later"
    assert "[offline model]" in str(second.attributes["llm.output_messages.0.message.content"])
    assert second.attributes[semconv.INPUT_TOKENS] == second.attributes[semconv.LLM_PROMPT_TOKENS] > 0
    assert second.attributes[semconv.REQUEST_MODEL] == "offline"
    streamed = run in (sync_stream, async_stream)
    assert (semconv.TIME_TO_FIRST_CHUNK in second.attributes) is streamed


@pytest.mark.parametrize("run", WAYS)
def test_a_failed_run_is_an_error_with_its_type(recorded: Recorded, run: Way) -> None:
    with contextlib.suppress(Exception):
        run(agent(), "[fail 429] anything")

    top, call = recorded.span("invoke_agent"), recorded.span("chat")
    for span in (top, call):
        assert span.status.status_code is StatusCode.ERROR
        assert "Error" in str(span.attributes[semconv.ERROR_TYPE])
    assert top.attributes[semconv.RUN_STATUS] == "error"
    (point,) = recorded.points("agno.agent.runs")
    assert dict(point.attributes) == {"agent_id": "weather", "kind": "agent", "status": "error"}


def test_a_failed_tool_is_an_error_of_its_own_and_the_run_goes_on(recorded: Recorded) -> None:
    sync_run(agent(tools=[broken]), "[tool broken] weather in Oslo?")

    call = recorded.span("execute_tool")
    assert call.status.status_code is StatusCode.ERROR
    assert "no such city" in str(call.status.description)
    assert recorded.span("invoke_agent").attributes[semconv.RUN_STATUS] == "completed"


def test_a_tool_that_needs_confirmation_pauses_the_run(recorded: Recorded) -> None:
    @tool(requires_confirmation=True)
    def refund(order: str) -> str:
        """Refunds an order."""
        return f"refunded {order}"

    sync_run(agent(tools=[refund]), "[tool refund] refund it")

    assert recorded.span("invoke_agent").attributes[semconv.RUN_STATUS] == "paused"
    assert recorded.all("execute_tool") == []


@pytest.mark.parametrize("stream", [False, True])
def test_a_cancelled_task_ends_its_spans_as_cancelled(recorded: Recorded, stream: bool) -> None:
    async def consume() -> None:
        if stream:
            async for _ in agent().arun("[slow 30] wait", stream=True):
                pass
        else:
            await agent().arun("[slow 30] wait")

    async def cancel() -> None:
        task = asyncio.create_task(consume())
        await asyncio.sleep(0.3)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert recorded.span("invoke_agent").attributes[semconv.RUN_STATUS] == "cancelled"
    assert [point.value for point in recorded.points("agno.agent.in_progress")] == [0]


def test_a_stream_that_its_consumer_leaves_is_cancelled_and_leaks_nothing(recorded: Recorded) -> None:
    stream = agent().run("a long answer please", stream=True, stream_events=True)
    next(stream)
    stream.close()

    assert recorded.span("invoke_agent").attributes[semconv.RUN_STATUS] == "cancelled"
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize("events", [True, False])
def test_a_stream_whose_answer_is_refused_at_last_is_an_error(recorded: Recorded, events: bool) -> None:
    """agno says RunContentCompleted before its post hooks have looked at the content."""

    def refuse(run_output: Any) -> None:
        raise OutputCheckError("not in this house", check_trigger=CheckTrigger.OUTPUT_NOT_ALLOWED)

    list(agent(post_hooks=[refuse]).run("hello", stream=True, stream_events=events))

    span = recorded.span("invoke_agent")
    assert span.attributes[semconv.RUN_STATUS] == "error"
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "not in this house")


def test_a_team_and_its_members_are_one_trace(recorded: Recorded) -> None:
    member = Agent(id="writer", name="Writer", model=OfflineModel(latency=0), telemetry=False)
    team = Team(id="desk", name="Desk", members=[member], model=OfflineModel(latency=0), delegate_to_all_members=True)
    team.run("[tool delegate_task_to_members] write a line", session_id="s1")

    top, nested = recorded.span("invoke_agent Desk"), recorded.span("invoke_agent Writer")
    assert top.context.trace_id == nested.context.trace_id
    assert nested.attributes[semconv.PARENT_RUN_ID] == top.attributes[semconv.RUN_ID]
    assert semconv.PARENT_RUN_ID not in top.attributes
    assert (top.attributes[semconv.RUN_KIND], nested.attributes[semconv.RUN_KIND]) == ("team", "agent")


def test_a_run_after_a_team_run_is_a_trace_of_its_own(recorded: Recorded) -> None:
    team = Team(id="desk", name="Desk", members=[agent()], model=OfflineModel(latency=0), telemetry=False)
    team.run("hello")
    agent().run("hello")

    desk, weather = recorded.span("invoke_agent Desk"), recorded.span("invoke_agent Weather")
    assert desk.context.trace_id != weather.context.trace_id


@pytest.mark.parametrize("stream", [False, True])
def test_a_workflow_is_a_span_above_its_steps(recorded: Recorded, stream: bool) -> None:
    workflow = Workflow(id="flow", name="Flow", steps=[Step(name="one", agent=agent())], telemetry=False)
    if stream:
        for _ in workflow.run("go", session_id="s1", stream=True):
            pass
    else:
        workflow.run("go", session_id="s1")

    top, step = recorded.span("invoke_workflow Flow"), recorded.span("invoke_agent Weather")
    assert parent_id(step) == top.context.span_id
    assert step.attributes[semconv.PARENT_RUN_ID] == top.attributes[semconv.RUN_ID]
    assert step.attributes[semconv.RUN_ID] != top.attributes[semconv.RUN_ID]
    assert top.attributes[semconv.RUN_STATUS] == "completed"
    assert top.attributes[semconv.INPUT_VALUE] == "go"


def test_a_ticket_makes_the_run_go_on_in_the_webhooks_trace(recorded: Recorded) -> None:
    ticket = {
        "traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01",
        "delivery_id": "d1",
        "source": "webhook",
        "attempt": 2,
        "wait": 0.25,
    }
    asyncio.run(agent(tools=[lookup]).arun("[tool lookup] go", metadata={semconv.TICKET_CONTEXT: ticket}))

    top = recorded.span("invoke_agent")
    assert format(top.context.trace_id, "032x") == TRACE_ID
    assert format(parent_id(top) or 0, "016x") == SPAN_ID
    assert [format(link.context.span_id, "016x") for link in top.links] == [SPAN_ID]
    assert top.attributes[semconv.QUEUE_WAIT] == 0.25
    for span in recorded.all():
        assert span.attributes[semconv.RUN_ATTEMPT] == 2
        assert span.attributes[semconv.DELIVERY_ID] == "d1"


def test_concurrent_runs_do_not_mix(recorded: Recorded) -> None:
    async def many() -> None:
        runs = [agent(tools=[lookup]).arun("[tool lookup] go", run_id=f"r{n}") for n in range(10)]
        await asyncio.gather(*runs)

    asyncio.run(many())
    tops = {span.attributes[semconv.RUN_ID]: span for span in recorded.all("invoke_agent")}
    assert len(tops) == 10
    for span in (*recorded.all("chat"), *recorded.all("execute_tool")):
        assert parent_id(span) == tops[span.attributes[semconv.RUN_ID]].context.span_id


def test_metrics_have_only_the_catalogues_attributes(recorded: Recorded) -> None:
    sync_run(agent(tools=[lookup, broken]), "[tool lookup] [tool broken] go")
    sync_stream(agent(), "go")
    with contextlib.suppress(Exception):
        sync_run(agent(), "[fail] go")

    names = [i.name for i in catalogue.INSTRUMENTS]
    found = {name: recorded.points(name) for name in names}
    assert found["gen_ai.client.operation.time_to_first_chunk"]
    assert found["gen_ai.execute_tool.duration"]
    assert found["gen_ai.client.token.usage"]
    for name, points in found.items():
        for point in points:
            assert list(catalogue.BY_NAME[name].problems(point.attributes)) == []


def test_install_twice_is_refused(recorded: Recorded) -> None:
    with pytest.raises(RuntimeError, match="already"):
        recorder.install(recorded)


def test_uninstall_leaves_agno_as_it_was(recorded: Recorded) -> None:
    recorder.uninstall()
    sync_run(agent(), "go")
    assert recorded.all() == []
