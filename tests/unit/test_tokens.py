"""Token counts: whatever a provider counts, the span says what the conventions mean by it."""

import pytest
from agno.metrics import MessageMetrics

from telemetry import tokens


@pytest.mark.parametrize(
    ("provider", "reported", "conventional"),
    [
        ("openai", (10_000, 100, 10_100, 9_000, 0, 60), (10_000, 100, 10_100, 9_000, 0, 60)),
        ("mistral", (1_000, 10, 1_010, 0, 0, 0), (1_000, 10, 1_010, 0, 0, 0)),
        ("anthropic", (1_000, 100, 1_100, 9_000, 500, 0), (10_500, 100, 10_600, 9_000, 500, 0)),
        ("awsbedrock", (1_000, 100, 10_600, 9_000, 500, 0), (10_500, 100, 10_600, 9_000, 500, 0)),
        ("google", (1_000, 100, 2_000, 400, 0, 900), (1_000, 1_000, 2_000, 400, 0, 900)),
    ],
)
def test_of_a_call_as_agno_reports_it(provider: str, reported: tokens.Usage, conventional: tokens.Usage) -> None:
    assert tokens.conventional(provider, reported) == conventional


def test_input_is_never_less_than_what_of_it_was_cached() -> None:
    assert tokens.conventional("openai", (10, 0, 10, 1000, 0, 0)) == (1010, 0, 1010, 1000, 0, 0)


@pytest.mark.parametrize("metrics", [None, MessageMetrics(), MessageMetrics(cache_read_tokens=5), object()])
def test_what_no_provider_reported_is_none_and_not_zero(metrics: object) -> None:
    assert tokens.reported(metrics) is None
