"""Our instrumentation of agno: every run, model call, tool call, retrieval and memory becomes a span and its metrics.

The functions below are those that all of them go through in agno 3.1.10 (several are private: the version is pinned,
and `install` refuses to start when one is gone). Models are wrapped at the base class's retry functions, so that any
Model class is seen, also one outside agno.models.
"""

import importlib
from collections.abc import Callable
from typing import Any, Protocol

import wrapt

from telemetry import calls, lookups, runs
from telemetry.metrics import Instruments
from telemetry.operation import record
from telemetry.span import Spans

_RUNS = (
    "_run",
    "_run_stream",
    "_arun",
    "_arun_stream",
    "_continue_run",
    "_continue_run_stream",
    "_acontinue_run",
    "_acontinue_run_stream",
)
_WORKFLOWS = (
    "_execute",
    "_execute_stream",
    "_aexecute",
    "_aexecute_stream",
    "_continue_execute",
    "_continue_execute_stream",
    "_acontinue_execute",
    "_acontinue_execute_stream",
)
_MODELS = (
    "_invoke_with_retry",
    "_ainvoke_with_retry",
    "_invoke_stream_with_retry",
    "_ainvoke_stream_with_retry",
)
_TOOLS = ("execute", "aexecute")
_KNOWLEDGE = ("get_relevant_docs_from_knowledge", "aget_relevant_docs_from_knowledge")
_MEMORIES = ("create_user_memories", "acreate_user_memories", "update_memory_task", "aupdate_memory_task")
_SUMMARIES = ("create_session_summary", "acreate_session_summary")

_wrapped: list[tuple[Any, str, Any]] = []


class Telemetry(Protocol):
    """What the recorder needs of telemetry.pipeline.Telemetry."""

    spans: Spans
    instruments: Instruments


def install(telemetry: Telemetry) -> None:
    """Wraps agno in this process. Raises RuntimeError, naming the function, when agno changed under us.

    With telemetry off only runs are wrapped, since `runs.current` is asked for by more than telemetry.
    """
    if _wrapped:
        raise RuntimeError("the recorder is installed already")
    spans, instruments = telemetry.spans, telemetry.instruments
    try:
        for kind in ("agent", "team"):
            _wrap(f"agno.{kind}._run", _RUNS, record(runs.recorder(spans, instruments, kind)))
        workflows = record(runs.recorder(spans, instruments, "workflow"))
        _wrap("agno.workflow.workflow:Workflow", _WORKFLOWS, workflows)
        if not spans.on:
            return
        _wrap("agno.models.base:Model", _MODELS, record(calls.model_recorder(spans, instruments)))
        _wrap("agno.models.base:Model", ("_get_retry_delay",), _around(calls.note_retry))
        _wrap("agno.tools.function:FunctionCall", _TOOLS, record(calls.tool_recorder(spans, instruments)))
        retrievals = record(lookups.retrievals(spans, instruments))
        _wrap("agno.agent._messages", _KNOWLEDGE, retrievals)
        _wrap("agno.team._default_tools", _KNOWLEDGE, retrievals)
        _wrap("agno.knowledge.knowledge:Knowledge", ("search", "asearch"), retrievals)
        memories = record(lookups.memories(spans, instruments))
        _wrap("agno.memory.manager:MemoryManager", _MEMORIES, memories)
        _wrap("agno.session.summary:SessionSummaryManager", _SUMMARIES, memories)
        _wrap("agno.team._init", ("background_executor",), _around(lookups.in_context))
        _wrap("agno.agent.agent:Agent", ("background_executor",), _around_property(lookups.in_context))
    except BaseException:
        uninstall()
        raise


def uninstall() -> None:
    """Puts agno's own functions back."""
    while _wrapped:
        owner, name, original = _wrapped.pop()
        setattr(owner, name, original)


def _wrap(where: str, names: tuple[str, ...], wrap: Callable[[Any], Any]) -> None:
    """`where`: a module, or module:class."""
    module_name, _, class_name = where.partition(":")
    module = importlib.import_module(module_name)
    owner = getattr(module, class_name) if class_name else module
    for name in names:
        original = vars(owner).get(name)
        if original is None:
            raise RuntimeError(f"agno has no {where}.{name} any more: this release of the recorder fits agno 3.1.10")
        setattr(owner, name, wrap(original))
        _wrapped.append((owner, name, original))


def _around(wrapper: Callable[..., Any]) -> Callable[[Any], Any]:
    return lambda original: wrapt.FunctionWrapper(original, wrapper)


def _around_property(wrapper: Callable[..., Any]) -> Callable[[Any], Any]:
    return lambda original: property(wrapt.FunctionWrapper(original.fget, wrapper))
