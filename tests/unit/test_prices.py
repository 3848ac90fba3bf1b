"""What a call costs: as its provider charges it, and None when nobody knows."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data import providers
from genai_prices.types import ModelPrice

from telemetry import price_table, prices

MILLION = 1_000_000


@pytest.fixture(autouse=True)
def only_the_table() -> Iterator[None]:
    prices.use(None)
    yield
    prices.use(None)


def input_price(provider: str, model: str) -> float | None:
    """Of a million tokens, in calls of a thousand: some prices rise with the size of the call."""
    found = prices.cost(provider, model, input_tokens=1000, output_tokens=0)
    return None if found is None else round(found * 1000, 6)


@pytest.mark.parametrize(
    ("provider", "model", "dollars"),
    [
        ("openai", "gpt-4.1", 2),
        ("openai", "openai/gpt-4.1", 2),
        ("OpenAI", " GPT-4.1 ", 2),
        ("openai", "gpt-4o", 2.5),
        ("openai", "gpt-4o-2024-08-06", 2.5),
        ("openai", "gpt-4o-2024-05-13", 5),  # this version has a price of its own
        ("openai", "gpt-4o-mini", 0.15),
        ("openai", "gpt-4o-mini-2024-07-18", 0.15),
        ("openai", "ft:gpt-4o-mini-2024-07-18:org::id", 0.3),
        ("openai", "gpt-4.1-nano-2025-04-14", 0.1),
        ("openai", "chatgpt-4o-latest", 5),
        ("azure", "azure/gpt-4o-mini", 0.15),
        ("anthropic", "claude-sonnet-4-5-20250929", 3),
        ("anthropic", "claude-3-5-sonnet-latest", 3),
        ("vertexai", "claude-sonnet-4-5@20250929", 3),
        ("azurefoundry", "claude-sonnet-4-5", 3),
        ("awsbedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", 3.3),  # regional endpoints cost more
        ("awsbedrock", "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", 3.3),
        (
            "awsbedrock",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            3.3,
        ),
        ("awsbedrock", "anthropic.claude-3-5-sonnet-20241022-v2:0", 3),
        ("google", "gemini-2.5-flash", 0.3),
        ("google", "models/gemini-2.5-flash", 0.3),
        ("google", "publishers/google/models/gemini-2.5-flash", 0.3),
        ("google", "gemini-2.5-flash-lite-preview-09-2025", 0.1),
        ("openrouter", "anthropic/claude-sonnet-4.5", 3),
        ("litellm", "anthropic/claude-sonnet-4-5", 3),
        ("", "openai/gpt-4.1", 2),
        ("groq", "llama-3.3-70b-versatile", 0.59),
        ("xai", "grok-4", 3),
    ],
)
def test_names_as_people_write_them(provider: str, model: str, dollars: float) -> None:
    assert input_price(provider, model) == dollars


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-9"),
        ("openai", "gpt-4o-mega"),
        ("openai", "gpt-"),
        ("openai", "claude-sonnet-4-5"),
        ("anthropic", "claude-opus-9"),
        ("google", "gemini-9"),
        ("azure", "anthropic/gpt-4o"),
        ("ollama", "llama3.1:8b"),
        ("lmstudio", "openai/gpt-oss-20b"),  # the name says who made it, not who charges for it
        ("llamacpp", "gpt-4.1"),
        ("offline", "offline"),
        ("gpt-4.1 house (gpt-4.1)", "gpt-4.1"),
        ("mymodel (openai/gpt-4.1)", "openai/gpt-4.1"),
        ("", "gpt-4.1"),
        ("openai", ""),
        ("", ""),
        ("openai", "/"),
        ("openai", "gpt-4.1\0"),
        ("openai\0", "gpt-4.1"),
        ("openai", "gpt-4.1\u202e"),
        ("openai", "\ud800"),
        ("openai", "gpt-4.1" + "x" * 10_000),
        ("openai", "openai/" * 2000 + "gpt-4.1"),
        ("o" * 10_000, "gpt-4.1"),
        ("litellm", "/" * 10_000),
    ],
)
def test_unknown_is_none(provider: str, model: str) -> None:
    assert input_price(provider, model) is None


def test_cached_tokens_have_their_own_prices() -> None:
    openai = prices.cost("openai", "gpt-4.1", input_tokens=10_000, output_tokens=100, cache_read_tokens=9_000)
    assert openai == pytest.approx((1_000 * 2 + 9_000 * 0.5 + 100 * 8) / MILLION)
    claude = prices.cost(
        "anthropic",
        "claude-sonnet-4-5",
        input_tokens=10_500,
        output_tokens=100,
        cache_read_tokens=9_000,
        cache_write_tokens=500,
    )
    assert claude == pytest.approx((1_000 * 3 + 9_000 * 0.3 + 500 * 3.75 + 100 * 15) / MILLION)


def test_a_long_prompt_costs_more_for_all_of_its_tokens() -> None:
    def dollars(tokens: int) -> float | None:
        return prices.cost("anthropic", "claude-sonnet-4-5", input_tokens=tokens, output_tokens=0)

    assert dollars(200_000) == pytest.approx(0.6)
    assert dollars(200_001) == pytest.approx(200_001 * 6 / MILLION)


def test_the_whole_table_is_charged_as_its_own_library_does() -> None:
    """Whatever the table prices by input and output tokens, at both sides of every threshold."""
    now = datetime.now(UTC)
    compared = 0
    for provider in providers:
        for model in provider.models:
            price = model.prices if isinstance(model.prices, ModelPrice) else model.get_prices(now)
            found = provider.find_model(model.id, all_providers=providers)
            if price.input_mtok is None or price.output_mtok is None or found is not model:
                continue
            for tokens in (1_000, 300_000):
                usage = Usage(input_tokens=tokens, output_tokens=77, cache_read_tokens=100, cache_write_tokens=50)
                wanted = calc_price(usage, model.id, provider_id=provider.id, genai_request_timestamp=now).total_price
                cost = prices.cost(
                    provider.id,
                    model.id,
                    input_tokens=tokens,
                    output_tokens=77,
                    cache_read_tokens=100,
                    cache_write_tokens=50,
                )
                assert cost == pytest.approx(float(wanted)), (provider.id, model.id)
                compared += 1
    assert compared > 2000


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (None, True),
        ("2026-11-21", True),
        ("2026-11-22", False),
        (["16:30", "17:00"], True),
        (["00:30", "16:30"], False),
        (["16:00", "00:30"], True),
        (["17:00", "00:30"], False),
        (["17:00", "16:31"], True),
    ],
)
def test_prices_begin_on_a_day_or_hold_for_hours(condition: Any, holds: bool) -> None:
    assert prices._holds(condition, datetime(2026, 11, 21, 16, 30, 59, tzinfo=UTC)) is holds


def test_listed_without_a_price_is_unknown() -> None:
    assert input_price("cerebras", "qwen-3-coder-480b") is None


OWN = """
["openai/gpt-9"]
input = 4
output = 16.5
["openai/gpt-4.1"]
input = 1
cached_input = 0.25
cache_write = 1.5
output = 2
["Ollama/*"]
input = 0
output = 0
["ollama/big*"]
input = 1
output = 1
"""


def test_a_file_adds_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(OWN)
    prices.use(str(path))
    assert input_price("openai", "gpt-9") == 4
    assert input_price("openai", "gpt-4o") == 2.5
    cached = {"cache_read_tokens": 400, "cache_write_tokens": 100}
    found = prices.cost("openai", "gpt-4.1", input_tokens=1000, output_tokens=10, **cached)
    assert found == pytest.approx((500 * 1 + 400 * 0.25 + 100 * 1.5 + 10 * 2) / MILLION)
    found = prices.cost("openai", "gpt-9", input_tokens=1000, output_tokens=0, **cached)
    assert found == pytest.approx(4000 / MILLION)
    assert input_price("ollama", "llama3.1:8b") == 0
    assert input_price("ollama", "big-llama") == 1
    prices.use(None)
    assert input_price("openai", "gpt-9") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "no prices can be read"),
        ("a = 1", "'a' needs input and output"),
        ('["a/b"]\ninput = 1', "'a/b' needs input and output"),
        ('["a/b"]\ninput = 1\noutput = 1\nimages = 1', "'a/b' needs input and output"),
        ('["a/b"]\ninput = "1"\noutput = 1', "input is no price"),
        ('["a/b"]\ninput = 1\noutput = -1', "output is no price"),
        ('["a/b"]\ninput = nan\noutput = 1', "input is no price"),
        ('["a/b"]\ninput = 1\noutput = inf', "output is no price"),
        ('["a/b"]\ninput = true\noutput = 1', "input is no price"),
        (b"\xff", "no prices can be read"),
        (None, "no prices can be read"),
    ],
)
def test_a_file_that_is_wrong_says_where(text: str | bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message) as raised:
        prices.use(str(path))
    assert str(path) in str(raised.value)


def test_the_table_is_what_its_source_says() -> None:
    """`make generate` makes it: after a new release of genai-prices, say."""
    assert prices.TABLE.read_text() == "\n".join(price_table.table()) + "\n"


def test_the_runtime_does_without_its_source() -> None:
    """To import that takes half a second, during which nothing else runs."""
    program = """
import sys
from telemetry import prices
assert prices.cost("openai", "gpt-4.1", input_tokens=1000, output_tokens=0) == 0.002
assert "genai_prices" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
