"""`python -m telemetry.reference`: docs/metrics.md, out of the catalogue."""

from telemetry.catalogue import INSTRUMENTS, MOST_SERIES, OPTIONAL, Instrument


def markdown() -> str:
    """The page."""
    parts = [_INTRODUCTION]
    for heading, belongs in _GROUPS.items():
        parts.append(f"\n## {heading}\n\n| name | kind, unit | attributes | |\n|---|---|---|---|\n")
        parts += [_row(i) for i in INSTRUMENTS if i.name.startswith(belongs)]
    parts.append("\n## Buckets\n\nUpper bounds, in the instrument's unit.\n\n| name | buckets |\n|---|---|\n")
    parts += [f"| `{i.name}` | {', '.join(f'{b:.10g}' for b in i.buckets)} |\n" for i in INSTRUMENTS if i.buckets]
    return "".join(parts)


_INTRODUCTION = f"""<!-- Made by `make generate` from telemetry/catalogue.py: edit that. -->
# Metrics

Every instrument, with all attributes that it has. Where the values of an attribute are listed, there are no others; the
other attributes are names of what is deployed: never the id of a run, a session or a delivery, nor anything that a
stranger sent (an agent that does not exist is `unknown`, one that was given neither name nor id `unnamed`). An
instrument has at most {MOST_SERIES:,} series; what comes beyond is counted in one, with the attribute
`otel.metric.overflow` only.

They are sent to the collector or to ClickHouse (`otel_metrics_*`), and `/api/metrics` shows the same. In Prometheus'
names dots become underscores; then comes the unit, if it is `s` (`_seconds`) or `By` (`_bytes`), then `_total` if it
is a counter. Histograms have exemplars: the newest trace in each bucket. Durations are in seconds, sizes in bytes,
costs in US dollars. `gen_ai.*` are of OpenTelemetry's GenAI conventions, which are in development.
"""
_GROUPS = {
    "Webhooks and other requests": ("agno.webhook.", "agno.dedup.", "agno.http."),
    "The queue": ("agno.queue.",),
    "Agents, teams, workflows": (
        *("agno.agent.", "agno.agents.", "agno.approval"),
        *("gen_ai.invoke_agent.", "gen_ai.workflow."),
    ),
    "Model and tool calls": ("agno.model.", "gen_ai.client.", "gen_ai.execute_tool."),
    "Postgres": ("agno.db.",),
    "Telemetry itself": ("agno.telemetry.",),
}


def _row(i: Instrument) -> str:
    attributes = "<br>".join(_attribute(i, key) for key in i.attributes)
    return f"| `{i.name}` | {i.kind.replace('_', ' ')}, {i.unit} | {attributes} | {i.help} |\n"


def _attribute(i: Instrument, key: str) -> str:
    if key in OPTIONAL:
        return f"`{key}` (of errors)"
    return f"`{key}`: {', '.join(i.values[key])}" if key in i.values else f"`{key}`"


if __name__ == "__main__":
    print(markdown(), end="")
