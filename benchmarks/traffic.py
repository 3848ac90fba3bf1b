"""Spans of agent runs as OTLP, cheap to make: one request is encoded by protobuf, only ids and times change."""

import random
import time
from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from telemetry import semconv

SPANS_PER_RUN = 5
TEXT = (
    "the agent looks up a reservation and finds that the flight was cancelled so it asks the customer which of the "
    "other flights on the same day would suit and then books one seat with the payment method that is on file"
)


class Traffic:
    """Requests of `runs` agent runs each: a webhook, the run, two model calls and a tool call, with their texts.

    Span ids count up from `first`, so that what was stored can be compared with what was sent.
    """

    def __init__(self, runs: int, seed: int = 1) -> None:
        self.random = random.Random(seed)
        self.request = ExportTraceServiceRequest()
        resource = self.request.resource_spans.add()
        resource.resource.attributes.extend(
            attributes(
                {"service.name": "agent-runtime", "deployment.environment.name": "benchmark", "service.version": "1"}
            )
        )
        scope = resource.scope_spans.add()
        scope.scope.name = "agent-telemetry-stack"
        for _ in range(runs):
            scope.spans.extend(self.run_spans())
        self.spans = scope.spans
        self.first = self.random.getrandbits(62) + 1
        self.next = self.first

    def text(self, words: int) -> str:
        return " ".join(self.random.choices(TEXT.split(), k=words))

    def plain_runs(self) -> list[list[tuple[str, dict[str, Any]]]]:
        """Fifty runs, each a name and attributes for each of its spans: to be made again and again."""
        return [[(span.name, plain(span.attributes)) for span in self.run_spans()] for _ in range(50)]

    def run_spans(self) -> list[Span]:
        agent = self.random.choice(["helper", "booking", "research", "support"])
        common = {
            semconv.RUN_ID: f"{self.random.getrandbits(128):032x}",
            semconv.RUN_ATTEMPT: 1,
            semconv.SESSION_ID: f"session-{self.random.randrange(1000)}",
            semconv.AGENT_ID: agent,
            semconv.DELIVERY_ID: f"msg_{self.random.getrandbits(64):x}",
        }
        tokens = {semconv.INPUT_TOKENS: self.random.randrange(200, 4000), semconv.OUTPUT_TOKENS: 150}
        model = {
            **common,
            **tokens,
            semconv.OPERATION_NAME: semconv.CHAT,
            semconv.SPAN_KIND: "LLM",
            semconv.REQUEST_MODEL: "gpt-5",
            semconv.PROVIDER_NAME: "openai",
            semconv.LLM_MODEL_NAME: "gpt-5",
        }
        messages = [
            {f"{semconv.LLM_INPUT_MESSAGES}.{n}.message.content": self.text(60) for n in range(1 + 2 * call)}
            for call in range(2)
        ]
        kinds = Span.SpanKind
        return [
            span(f"webhook {agent}", kinds.SPAN_KIND_SERVER, 5, {semconv.DELIVERY_ID: common[semconv.DELIVERY_ID]}),
            span(
                f"invoke_agent {agent}",
                kinds.SPAN_KIND_INTERNAL,
                2400,
                {
                    **common,
                    **tokens,
                    semconv.OPERATION_NAME: semconv.INVOKE_AGENT,
                    semconv.SPAN_KIND: "AGENT",
                    semconv.RUN_STATUS: "completed",
                    semconv.RUN_KIND: "agent",
                    semconv.INPUT_VALUE: self.text(40),
                    semconv.OUTPUT_VALUE: self.text(80),
                },
            ),
            span("chat gpt-5", kinds.SPAN_KIND_CLIENT, 900, {**model, **messages[0]}),
            span(
                "execute_tool lookup",
                kinds.SPAN_KIND_INTERNAL,
                120,
                {
                    **common,
                    semconv.OPERATION_NAME: semconv.EXECUTE_TOOL,
                    semconv.SPAN_KIND: "TOOL",
                    semconv.TOOL_NAME: "lookup",
                    semconv.TOOL_PARAMETERS: '{"reservation": "4WQ150"}',
                    semconv.OUTPUT_VALUE: self.text(50),
                },
            ),
            span(
                "chat gpt-5",
                kinds.SPAN_KIND_CLIENT,
                1100,
                {**model, **messages[1], semconv.OUTPUT_VALUE: self.text(80)},
            ),
        ]

    def fresh(self) -> bytes:
        """The request with new trace and span ids and the times of now."""
        now = time.time_ns()
        trace_id = root = b""
        for index, item in enumerate(self.spans):
            span_id = self.next.to_bytes(8, "big")
            self.next += 1
            if index % SPANS_PER_RUN == 0:
                trace_id, root = b"benchmark" + span_id[1:], span_id
                item.parent_span_id = b""
            else:
                item.parent_span_id = root
            duration = item.end_time_unix_nano - item.start_time_unix_nano
            item.trace_id, item.span_id = trace_id, span_id
            item.start_time_unix_nano, item.end_time_unix_nano = now - duration, now
        return self.request.SerializeToString()


def span(name: str, kind: "Span.SpanKind", milliseconds: int, values: dict[str, object]) -> Span:
    return Span(
        name=name,
        kind=kind,
        start_time_unix_nano=0,
        end_time_unix_nano=milliseconds * 1_000_000,
        attributes=attributes(values),
    )


def attributes(values: dict[str, object]) -> list[KeyValue]:
    return [
        KeyValue(
            key=key, value=AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=str(value))
        )
        for key, value in values.items()
    ]


def plain(values: Iterable[KeyValue]) -> dict[str, str | int]:
    """The attributes as the SDK takes them."""
    return {a.key: a.value.int_value if a.value.HasField("int_value") else a.value.string_value for a in values}
