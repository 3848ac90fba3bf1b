"""What it costs to install the recorder: nothing heavy is imported, and with telemetry off calls are left alone."""

import json
import subprocess
import sys

from agno.agent import Agent
from agno.models.base import Model
from agno.tools.function import FunctionCall
from opentelemetry import trace

from runtime.offline import OfflineModel
from telemetry import pipeline, recorder, runs
from telemetry.settings import Settings

OFF = Settings("test", "test", "off")

# In a process of its own: what is imported here has long been imported. AgentOS comes before the recorder in a runtime.
IMPORTED = """
import json, sys
import agno.os
before = set(sys.modules)
import telemetry.recorder
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_the_recorder_imports_little_that_agno_has_not_imported() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    imported: list[str] = json.loads(done.stdout.splitlines()[-1])
    packages = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names
    assert packages <= {"telemetry", "opentelemetry", "orjson", "psutil", "wrapt"}, packages
    slow = ("opentelemetry.exporter", "opentelemetry.proto", "opentelemetry.sdk._logs", "opentelemetry.instrumentation")
    assert not [name for name in imported if name.startswith(slow)]


def test_with_telemetry_off_model_and_tool_calls_are_not_wrapped() -> None:
    """Runs are: approvals ask for the run that is current, with or without telemetry."""

    def functions() -> dict[str, int]:  # by identity: what is wrapped equals its wrapper
        return {name: id(function) for owner in (Model, FunctionCall) for name, function in vars(owner).items()}

    before = functions()
    telemetry = pipeline.start(OFF)
    recorder.install(telemetry)
    try:
        assert functions() == before
    finally:
        recorder.uninstall()
        telemetry.shutdown(1)
    assert functions() == before


def test_with_telemetry_off_a_run_is_current_and_nobody_elses_span_is_replaced() -> None:
    telemetry = pipeline.start(OFF)
    recorder.install(telemetry)
    found: list[tuple[runs.Run | None, trace.Span]] = []

    def look() -> str:
        """Looks around."""
        found.append((runs.current(), trace.get_current_span()))
        return "nothing"

    outer = trace.NonRecordingSpan(trace.SpanContext(1, 2, False))
    try:
        with trace.use_span(outer):
            Agent(id="a", model=OfflineModel(latency=0), tools=[look], telemetry=False).run(
                "[tool look] go", run_id="r"
            )
    finally:
        recorder.uninstall()
        telemetry.shutdown(1)
    ((run, span),) = found
    assert run is not None
    assert (run.run_id, run.component_id, run.kind, run.parent) == ("r", "a", "agent", None)
    assert span is run.span is outer
    assert runs.current() is None
