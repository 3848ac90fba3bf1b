"""The instruments as verbs: callers say what happened and never see a meter."""

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from telemetry import semconv
from telemetry.catalogue import INSTRUMENTS
from telemetry.histograms import Histograms
from telemetry.sample import Sample

T = TypeVar("T")
Observe = Callable[[], Iterable[tuple[float, Mapping[str, str]]]]


class Instruments:
    """All instruments of the catalogue on one meter. Thread-safe.

    Counters and histograms are added up here and read when the SDK collects, which takes a tenth of the time that its
    own take for each addition, on the path of every webhook and run.
    """

    def __init__(self, meter: Meter) -> None:
        self._callbacks: dict[str, Observe] = {}
        self._samples: list[Sample[Any]] = []
        self._lock = threading.Lock()
        self._sums: dict[str, dict[tuple[tuple[str, str], ...], int]] = {}
        self.histograms = Histograms()
        for i in INSTRUMENTS:
            if i.kind == "observable_gauge":
                meter.create_observable_gauge(i.name, [self._observer(i.name)], unit=i.unit, description=i.help)
            elif i.kind != "histogram":
                self._sums[i.name] = {}
                create = getattr(meter, f"create_observable_{i.kind}")
                create(i.name, [self._summed(i.name)], unit=i.unit, description=i.help)

    def observe(self, name: str, callback: Observe) -> None:
        """Feeds the observable gauge `name`: at each collection the callback returns (value, attributes) pairs.

        It must not wait: what has to be asked of a database comes from `sampled`.
        """
        with self._lock:
            self._callbacks[name] = callback

    def sampled(self, name: str, read: Callable[[], T]) -> Callable[[], T | None]:
        """For callbacks of `observe`: what `read` answers, read in a thread until `close`; None when it takes long."""
        sample = Sample(name, read)
        self._samples.append(sample)
        return sample.get

    def after_fork(self) -> None:
        """In a forked child: who held a lock here does not exist there."""
        self._lock = threading.Lock()
        self.histograms.after_fork()

    def close(self) -> None:
        for sample in self._samples:
            sample.stop(0.2)

    def observed(self, name: str) -> list[tuple[float, Mapping[str, str]]]:
        """What the observable gauge `name` would report now; also when telemetry is off."""
        callback = self._callbacks.get(name)
        return list(callback()) if callback else []

    def webhook_answered(self, agent_id: str, source: str, outcome: str, seconds: float) -> None:
        self._add("agno.webhook.requests", 1, {"agent_id": agent_id, "source": source, "outcome": outcome})
        self._record("agno.webhook.duration", seconds, {"agent_id": agent_id, "outcome": outcome})

    def dedup_decided(self, source: str, decision: str) -> None:
        self._add("agno.dedup.decisions", 1, {"source": source, "decision": decision})

    def ticket_waited(self, agent_id: str, seconds: float) -> None:
        self._record("agno.queue.wait", seconds, {"agent_id": agent_id})

    def approval_decided(self, agent_id: str, decision: str, seconds: float) -> None:
        """`decision`: approved, rejected or expired; `seconds` since the run paused."""
        self._record("agno.approval.wait", seconds, {"agent_id": agent_id, "decision": decision})

    def agents_reloaded(self, outcome: str) -> None:
        self._add("agno.agents.reloads", 1, {"outcome": outcome})

    def run_started(self, agent_id: str, kind: str) -> None:
        self._add("agno.agent.in_progress", 1, {"agent_id": agent_id, "kind": kind})

    def run_finished(
        self, agent_id: str, agent_name: str, kind: str, status: str, seconds: float, error_type: str | None
    ) -> None:
        self._add("agno.agent.in_progress", -1, {"agent_id": agent_id, "kind": kind})
        attributes = {"agent_id": agent_id, "kind": kind, "status": status}
        self._add("agno.agent.runs", 1, attributes)
        self._record("agno.agent.duration", seconds, attributes)
        workflow = kind == "workflow"
        operation = semconv.INVOKE_WORKFLOW if workflow else semconv.INVOKE_AGENT
        name = "gen_ai.workflow.duration" if workflow else "gen_ai.invoke_agent.duration"
        self._record(
            name,
            seconds,
            _with_error({semconv.OPERATION_NAME: operation, semconv.AGENT_NAME: agent_name}, error_type),
        )

    def tool_finished(self, tool: str, seconds: float, error_type: str | None) -> None:
        attributes = {semconv.OPERATION_NAME: semconv.EXECUTE_TOOL, semconv.TOOL_NAME: tool}
        self._record("gen_ai.execute_tool.duration", seconds, _with_error(attributes, error_type))

    def model_called(
        self,
        provider: str,
        model: str,
        seconds: float,
        first_chunk: float | None,
        tokens: Mapping[str, int],
        error_type: str | None,
    ) -> None:
        """`tokens` by gen_ai.token.type (input, output); `first_chunk` in seconds, None when not streamed."""
        attributes = {
            semconv.OPERATION_NAME: semconv.CHAT,
            semconv.PROVIDER_NAME: provider,
            semconv.REQUEST_MODEL: model,
        }
        self._record("gen_ai.client.operation.duration", seconds, _with_error(attributes, error_type))
        if first_chunk is not None:
            self._record("gen_ai.client.operation.time_to_first_chunk", first_chunk, attributes)
        for token_type, count in tokens.items():
            self._record("gen_ai.client.token.usage", count, {**attributes, semconv.TOKEN_TYPE: token_type})

    def spans_handled(self, destination: str, outcome: str, count: int) -> None:
        self._add("agno.telemetry.spans", count, {"destination": destination, "outcome": outcome})

    def _add(self, name: str, amount: int, attributes: Mapping[str, str]) -> None:
        sums = self._sums[name]
        key = tuple(attributes.items())
        with self._lock:
            sums[key] = sums.get(key, 0) + amount

    def _record(self, name: str, value: float, attributes: Mapping[str, str]) -> None:
        self.histograms.record(name, value, attributes)

    def _summed(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            with self._lock:
                sums = list(self._sums[name].items())
            return [Observation(value, dict(key)) for key, value in sums]

        return observe

    def _observer(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(value, dict(attributes)) for value, attributes in self.observed(name)]

        return observe


def _with_error(attributes: dict[str, str], error_type: str | None) -> dict[str, str]:
    return {**attributes, semconv.ERROR_TYPE: error_type} if error_type else attributes
