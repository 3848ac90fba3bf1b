"""The dashboards that are committed: Grafana's schema, our linter, and every instrument somewhere on them."""

import json

import pytest

from stack.process import PROJECT
from telemetry.catalogue import BY_NAME
from tests.validators import lint, schema

FILES = sorted((PROJECT / "dashboards" / "grafana" / "dashboards").glob("*.json"))
TEXTS = {file.stem: file.read_text() for file in FILES}
BOARDS = {name: json.loads(text) for name, text in TEXTS.items()}

OF_SPANS = "dashboards count it from the spans, which lead to the run and its trace"
UNSEEN = {
    "agno.agent.runs": OF_SPANS,
    "agno.agent.duration": OF_SPANS,
    "agno.model.cost": OF_SPANS,
    "agno.queue.wait": OF_SPANS,
    "gen_ai.invoke_agent.duration": OF_SPANS,
    "gen_ai.workflow.duration": OF_SPANS,
    "gen_ai.execute_tool.duration": OF_SPANS,
    "gen_ai.client.operation.duration": OF_SPANS,
    "gen_ai.client.token.usage": OF_SPANS,
    "gen_ai.client.operation.time_to_first_chunk": OF_SPANS,
}


def test_all_dashboards_are_there() -> None:
    assert set(BOARDS) == {"fleet", "agent", "pipeline", "models", "tools", "run", "storage"}


def test_they_are_what_grafana_s_schema_says() -> None:
    assert schema.problems(TEXTS) == []


def test_the_linter_finds_nothing() -> None:
    assert lint.problems(BOARDS) == []


def test_every_instrument_is_on_a_panel_or_there_is_a_reason() -> None:
    assert lint.unseen(BOARDS.values(), BY_NAME, UNSEEN) == []


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_names_only_instruments_that_there_are(name: str) -> None:
    assert lint.unknown(BOARDS[name], BY_NAME) == []
