"""What agno can be instrumented with, each as its documentation says, sending to this machine only.

Each function imports what it needs: most of it is not installed in the project's own environment (`requirements`).
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

AGNO = "agno[os,postgres]==3.1.10"
Flush = Callable[[], object]


@dataclass
class Where:
    """The receiver's two addresses, and a Postgres with agno's tables."""

    grpc: str
    http: str
    database_url: str


def nothing(_: Any) -> Any:
    return lambda: None


@dataclass
class Variant:
    """`prepare` makes what is not instrumentation (providers, exporters); `install` wraps agno and answers how to
    flush. `requirements`: what an environment of its own needs; none: the project's. `runs`: part of a round's runs."""

    prepare: Callable[[Where], Any] = nothing
    install: Callable[[Any], Flush] = nothing
    environment: dict[str, str] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()
    runs: float = 1.0


def start_ours(where: Where, mode: Any = "collector") -> Any:
    from telemetry import pipeline

    return pipeline.start(
        pipeline.Settings("benchmark", "benchmark", mode, otlp_endpoint=where.grpc, database_url=where.database_url)
    )


def install_ours(telemetry: Any) -> Flush:
    from telemetry import recorder

    recorder.install(telemetry)

    def flush() -> None:
        if not telemetry.flush(60):
            raise TimeoutError(f"not flushed: {telemetry.health()}")
        if any(state["dropped"] + state["failed"] for state in telemetry.health().values()):
            raise RuntimeError(f"spans were lost: {telemetry.health()}")

    return flush


def batch_otlp(where: Where) -> Any:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=where.grpc)))
    return provider


def batch_otlp_and_postgres(where: Where) -> Any:
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = batch_otlp(where)
    provider.add_span_processor(BatchSpanProcessor(_database_exporter(where)))
    return provider


def simple_otlp_and_postgres(where: Where) -> Any:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=where.grpc)))
    provider.add_span_processor(SimpleSpanProcessor(_database_exporter(where)))
    return provider


def _database_exporter(where: Where) -> Any:
    from agno.db.postgres import PostgresDb
    from agno.tracing.exporter import DatabaseSpanExporter

    url = where.database_url.replace("postgresql://", "postgresql+psycopg://")
    return DatabaseSpanExporter(PostgresDb(db_url=url, db_schema="agno"))


def install_openinference(provider: Any) -> Flush:
    from openinference.instrumentation.agno import AgnoInstrumentor

    AgnoInstrumentor().instrument(tracer_provider=provider)
    return lambda: provider.force_flush(60_000)


def install_openlit(where: Where) -> Flush:
    import openlit
    from opentelemetry import trace

    with tempfile.NamedTemporaryFile("w", suffix=".json") as prices:  # it would download them
        prices.write("{}")
        prices.flush()
        openlit.init(
            otlp_endpoint=where.http, capture_message_content=True, disable_metrics=True, pricing_json=prices.name
        )
    provider: Any = trace.get_tracer_provider()
    return lambda: provider.force_flush(60_000)


def install_traceloop(where: Where) -> Flush:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from traceloop.sdk import Traceloop

    Traceloop.init("benchmark", exporter=OTLPSpanExporter(endpoint=where.grpc), telemetry_enabled=False)
    provider: Any = trace.get_tracer_provider()
    return lambda: provider.force_flush(60_000)


def install_langfuse(where: Where) -> Flush:
    from langfuse import Langfuse
    from openinference.instrumentation.agno import AgnoInstrumentor

    client = Langfuse(public_key="pk-benchmark", secret_key="sk-benchmark", base_url=where.http)
    AgnoInstrumentor().instrument()
    return client.flush


def install_logfire(where: Where) -> Flush:
    import logfire
    from openinference.instrumentation.agno import AgnoInstrumentor

    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = where.http
    configured = logfire.configure(send_to_logfire=False, console=False)
    AgnoInstrumentor().instrument()
    return lambda: configured.force_flush(60_000)


def install_mlflow(where: Where) -> Flush:
    os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = where.grpc
    import mlflow
    from mlflow.tracing.provider import provider

    mlflow.agno.autolog()
    return lambda: provider.get().force_flush(60_000)


def itself(where: Where) -> Where:
    return where


UNSAMPLED = {"OTEL_TRACES_SAMPLER": "always_off"}
VARIANTS = {
    "nothing": Variant(),
    "nothing_again": Variant(),
    "ours": Variant(start_ours, install_ours),
    "ours_unsampled": Variant(start_ours, install_ours, UNSAMPLED),
    "ours_off": Variant(lambda where: start_ours(where, "off"), install_ours),
    "openinference": Variant(batch_otlp, install_openinference),
    "openinference_unsampled": Variant(batch_otlp, install_openinference, UNSAMPLED),
    "openinference_off": Variant(batch_otlp, install_openinference, {"OTEL_SDK_DISABLED": "true"}),
    "openinference_postgres": Variant(batch_otlp_and_postgres, install_openinference, runs=0.2),
    "simple_pair": Variant(simple_otlp_and_postgres, install_openinference, runs=0.2),
    "openlit": Variant(itself, install_openlit, requirements=(AGNO, "openlit==1.45.0")),
    "traceloop": Variant(
        itself,
        install_traceloop,
        {"TRACELOOP_METRICS_ENABLED": "false", "TRACELOOP_TELEMETRY": "false"},
        (AGNO, "traceloop-sdk==0.62.4", "opentelemetry-exporter-otlp-proto-grpc"),
    ),
    "langfuse": Variant(itself, install_langfuse, requirements=(AGNO, "langfuse==5.0.4")),
    "logfire": Variant(itself, install_logfire, requirements=(AGNO, "logfire==5.2.0")),
    "mlflow": Variant(
        itself,
        install_mlflow,
        {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"},
        (AGNO, "mlflow==3.17.2", "opentelemetry-exporter-otlp-proto-grpc"),
    ),
}
