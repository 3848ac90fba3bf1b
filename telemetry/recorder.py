"""Our instrumentation of agno: every run, model call and tool call becomes a span and its metrics.

The functions below are those that every run, call and tool of agno 3.1.10 goes through (several are private: the
version is pinned, and `install` refuses to start when one is gone). Models are wrapped at the base class's retry
functions, so that any Model class is seen, also one outside agno.models.
"""

import importlib
from collections.abc import Callable
from typing import Any, Protocol

from opentelemetry.trace import Tracer

from telemetry import calls, runs
from telemetry.metrics import Instruments
from telemetry.operation import Begin, record

_RUN_FUNCTIONS = (
    "_run",
    "_run_stream",
    "_arun",
    "_arun_stream",
    "_continue_run",
    "_continue_run_stream",
    "_acontinue_run",
    "_acontinue_run_stream",
)
_WORKFLOW_METHODS = (
    "_execute",
    "_execute_stream",
    "_aexecute",
    "_aexecute_stream",
    "_continue_execute",
    "_continue_execute_stream",
    "_acontinue_execute",
    "_acontinue_execute_stream",
)
_MODEL_METHODS = (
    "_invoke_with_retry",
    "_ainvoke_with_retry",
    "_invoke_stream_with_retry",
    "_ainvoke_stream_with_retry",
)
_TOOL_METHODS = ("execute", "aexecute")

_wrapped: list[tuple[Any, str, Any]] = []


class Telemetry(Protocol):
    """What the recorder needs of telemetry.pipeline.Telemetry."""

    tracer: Tracer
    instruments: Instruments


def install(telemetry: Telemetry) -> None:
    """Wraps agno in this process. Raises RuntimeError, naming the function, when agno changed under us."""
    if _wrapped:
        raise RuntimeError("the recorder is installed already")
    tracer, instruments = telemetry.tracer, telemetry.instruments
    try:
        for kind in ("agent", "team"):
            _wrap(f"agno.{kind}._run", "", _RUN_FUNCTIONS, runs.recorder(tracer, instruments, kind))
        _wrap(
            "agno.workflow.workflow",
            "Workflow",
            _WORKFLOW_METHODS,
            runs.recorder(tracer, instruments, "workflow"),
        )
        _wrap("agno.models.base", "Model", _MODEL_METHODS, calls.model_recorder(tracer, instruments))
        _wrap("agno.tools.function", "FunctionCall", _TOOL_METHODS, calls.tool_recorder(tracer, instruments))
    except BaseException:
        uninstall()
        raise


def uninstall() -> None:
    """Puts agno's own functions back."""
    while _wrapped:
        owner, name, original = _wrapped.pop()
        setattr(owner, name, original)


def _wrap(module_name: str, class_name: str, names: tuple[str, ...], begin: Begin) -> None:
    module = importlib.import_module(module_name)
    owner = getattr(module, class_name) if class_name else module
    for name in names:
        original: Callable[..., Any] | None = vars(owner).get(name)
        if original is None:
            where = f"{module_name}.{class_name}".rstrip(".")
            raise RuntimeError(f"agno has no {where}.{name} any more: this release of the recorder fits agno 3.1.10")
        setattr(owner, name, record(original, begin))
        _wrapped.append((owner, name, original))
