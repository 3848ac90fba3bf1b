"""The sample agents, offline: each does what its first line says."""

import asyncio
import importlib
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agno.run.base import RunStatus
from agno.tools.function import Function

import telemetry.semconv
from runtime import analytics
from runtime.loader import Loader
from runtime.offline import MARK
from runtime.settings import Settings
from telemetry.catalogue import BY_NAME

AGENTS = Path(__file__).parents[2] / "agents"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("MODEL", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def load(name: str) -> Any:
        component = runpy.run_path(str(AGENTS / f"{name}.py"))[name]
        component.telemetry = False
        return component

    yield load


def test_every_file_holds_a_component_of_its_name_that_names_itself(load: Any) -> None:
    for path in AGENTS.glob("*.py"):
        component = load(path.stem)
        assert component.id == path.stem and component.name


def test_they_load_as_a_runtime_loads_them() -> None:
    loaded = Loader(AGENTS).load()
    assert loaded.errors == {}
    assert {path.stem for path in AGENTS.glob("*.py")} <= set(loaded.components)


@pytest.mark.parametrize(
    ("agent", "prompt", "tool", "answer"),
    [
        ("support", "What is the status of order A-1001?", "order_status", "arrives on Friday"),
        ("support", "Which orders does customer C-1 have?", "customer_orders", "A-1002"),
        ("support", "How many armchairs are in stock?", "stock", "armchair"),
        ("support", "What is the status of order A-9999?", "order_status", "there is no order A-9999"),
        ("research", "Search the notes about a histogram.", "search_notes", "N-2"),
        ("research", "Read note N-3, please.", "read_note", "exemplar"),
        ("refunds", "How much was paid for A-1001? What amount?", "paid_amount", "4900"),
    ],
)
def test_an_agent_looks_things_up(load: Any, agent: str, prompt: str, tool: str, answer: str) -> None:
    run = asyncio.run(load(agent).arun(prompt))
    assert run.status is RunStatus.completed
    assert [call.tool_name for call in run.tools] == [tool]
    assert run.content.startswith(MARK) and answer in run.content


def test_a_refund_waits_for_a_person(load: Any) -> None:
    refunds = load("refunds")
    run = asyncio.run(refunds.arun("Please refund order A-1002"))
    assert run.status is RunStatus.paused
    run.tools[0].confirmed = True
    done = asyncio.run(refunds.acontinue_run(run_response=run))
    assert done.status is RunStatus.completed
    assert "129.00 dollars go back to the customer of A-1002" in done.content


def test_the_newsroom_asks_both_members(load: Any) -> None:
    run = asyncio.run(load("newsroom").arun("Write an article about the harbour, with the facts."))
    assert run.status is RunStatus.completed
    assert {member.agent_id for member in run.member_responses} == {"reporter", "editor"}
    assert "41,000 containers" in run.content


def test_the_digest_has_two_steps(load: Any) -> None:
    run = asyncio.run(load("digest").arun("The events of Monday, please."))
    assert run.status is RunStatus.completed
    assert [step.step_name for step in run.step_results] == ["collect", "write"]
    assert "two deployments" in str(run.content)


def test_the_file_telemetry_is_not_the_package_of_that_name() -> None:
    loaded = Loader(AGENTS).load()
    assert loaded.components["telemetry"].value.name == "Telemetry analyst"
    assert sys.modules["telemetry"] is telemetry
    assert importlib.import_module("telemetry.semconv") is telemetry.semconv
    assert not hasattr(telemetry, "script")


@pytest.mark.parametrize("agent", ["triage", "telemetry"])
def test_without_a_clickhouse_they_say_what_is_to_be_set(
    load: Any, agent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analytics, "settings", lambda: Settings(_env_file=None, clickhouse_readonly_url=None))
    run = asyncio.run(load(agent).arun("Which agent is slowest?"))
    assert run.status is RunStatus.completed
    assert run.tools[0].tool_call_error
    assert run.content.startswith(MARK) and "set CLICKHOUSE_READONLY_URL" in run.content


def test_the_tools_of_the_telemetry_tell_a_model_what_they_take(load: Any) -> None:
    schemas = {tool.__name__: Function.from_callable(tool) for tool in analytics.TOOLS}
    for name, function in schemas.items():
        assert function.description, name
        properties = function.parameters["properties"]
        assert all(one.get("description") for one in properties.values()), name
        assert set(function.parameters["required"]) == {n for n in properties if n in ("run_id", "trace_id")} | (
            {"agent_id"} if name == "duration_compared" else set()
        )
    assert schemas["runs"].parameters["properties"]["order"]["enum"] == ["newest", "slowest", "dearest"]


def test_the_instruments_that_the_tools_ask_for_are_in_the_catalogue() -> None:
    assert all(BY_NAME[name].kind in ("observable_gauge", "up_down_counter") for name in analytics.GAUGES)
    assert all(BY_NAME[name].kind == "counter" for name in analytics.TROUBLES)
