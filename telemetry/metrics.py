"""The instruments as verbs: callers say what happened and never see a meter."""

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from telemetry import semconv
from telemetry.catalogue import INSTRUMENTS, Values
from telemetry.histograms import Histograms
from telemetry.sample import Sample
from telemetry.sums import Sums

# What agno 3.1.10 calls an agent that has neither a name nor an id: another one for each that is made, maybe in a tool.
_RANDOM = re.compile(r"[a-z]+-[a-z]+-[0-9a-f]{8}")
UNNAMED = "unnamed"

T = TypeVar("T")
Record = Callable[[str, float, Values], None]
Observe = Callable[[], Iterable[tuple[float, Mapping[str, str]]]]


class Instruments:
    """All instruments of the catalogue on one meter; without one, nothing is recorded. Thread-safe.

    Values of attributes are given in the order in which the catalogue names them.
    """

    def __init__(self, meter: Meter | None = None) -> None:
        self._callbacks: dict[str, Observe] = {}
        self._samples: list[Sample[Any]] = []
        self._lock = threading.Lock()
        self._sums = Sums()
        self.histograms = Histograms()
        self._add: Record = _nothing
        self._record: Record = _nothing
        if meter is not None:
            self._add, self._record = self._sums.add, self.histograms.record
            self._create(meter)

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
        self._sums.after_fork()
        self.histograms.after_fork()

    def close(self) -> None:
        for sample in self._samples:
            sample.stop(0.2)

    def observed(self, name: str) -> list[tuple[float, Mapping[str, str]]]:
        """What the observable gauge `name` would report now; also when telemetry is off."""
        callback = self._callbacks.get(name)
        return list(callback()) if callback else []

    def webhook_answered(self, agent_id: str, source: str, outcome: str, seconds: float) -> None:
        self._add("agno.webhook.requests", 1, (agent_id, source, outcome))
        self._record("agno.webhook.duration", seconds, (agent_id, outcome))

    def request_refused(self, reason: str) -> None:
        self._add("agno.http.refused", 1, (reason,))

    def dedup_decided(self, source: str, decision: str) -> None:
        self._add("agno.dedup.decisions", 1, (source, decision))

    def ticket_waited(self, agent_id: str, seconds: float) -> None:
        self._record("agno.queue.wait", seconds, (agent_id,))

    def ticket_given_up(self, agent_id: str) -> None:
        self._add("agno.queue.dead_letters", 1, (agent_id,))

    def approval_decided(self, agent_id: str, decision: str, seconds: float) -> None:
        """`decision`: approved, rejected or expired; `seconds` since the run paused."""
        self._record("agno.approval.wait", seconds, (agent_id, decision))

    def agents_reloaded(self, outcome: str) -> None:
        self._add("agno.agents.reloads", 1, (outcome,))

    def run_started(self, agent_id: str, kind: str) -> None:
        self._add("agno.agent.in_progress", 1, (_named(agent_id), kind))

    def run_finished(
        self, agent_id: str, agent_name: str, kind: str, status: str, seconds: float, error_type: str | None
    ) -> None:
        agent_id, agent_name = _named(agent_id), _named(agent_name)
        self._add("agno.agent.in_progress", -1, (agent_id, kind))
        self._add("agno.agent.runs", 1, (agent_id, kind, status))
        self._record("agno.agent.duration", seconds, (agent_id, kind, status))
        if kind == "workflow":
            self._record("gen_ai.workflow.duration", seconds, (semconv.INVOKE_WORKFLOW, agent_name, error_type))
        else:
            self._record("gen_ai.invoke_agent.duration", seconds, (semconv.INVOKE_AGENT, agent_name, error_type))

    def tool_finished(self, tool: str, seconds: float, error_type: str | None) -> None:
        self._record("gen_ai.execute_tool.duration", seconds, (semconv.EXECUTE_TOOL, tool, error_type))

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
        self._record("gen_ai.client.operation.duration", seconds, (semconv.CHAT, provider, model, error_type))
        if first_chunk is not None:
            self._record("gen_ai.client.operation.time_to_first_chunk", first_chunk, (semconv.CHAT, provider, model))
        for token_type, count in tokens.items():
            self._record("gen_ai.client.token.usage", count, (semconv.CHAT, provider, model, token_type))

    def model_cost(self, provider: str, model: str, agent_id: str, dollars: float) -> None:
        """Only of a call whose price is known: see telemetry.prices."""
        self._add("agno.model.cost", dollars, (provider, model, _named(agent_id)))

    def spans_handled(self, destination: str, outcome: str, count: int) -> None:
        self._add("agno.telemetry.spans", count, (destination, outcome))

    def logs_handled(self, outcome: str, count: int) -> None:
        self._add("agno.telemetry.logs", count, (outcome,))

    def _create(self, meter: Meter) -> None:
        for i in INSTRUMENTS:
            if i.kind == "observable_gauge":
                meter.create_observable_gauge(i.name, [self._observer(i.name)], unit=i.unit, description=i.help)
            elif i.kind != "histogram":
                create = getattr(meter, f"create_observable_{i.kind}")
                create(i.name, [self._summed(i.name)], unit=i.unit, description=i.help)

    def _summed(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda _: [Observation(value, attributes) for value, attributes in self._sums.read(name)]

    def _observer(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(value, dict(attributes)) for value, attributes in self.observed(name)]

        return observe


@lru_cache(4096)
def _named(agent: str) -> str:
    return UNNAMED if _RANDOM.fullmatch(agent) else agent


def _nothing(name: str, value: float, values: Values) -> None: ...
