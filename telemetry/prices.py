"""What a model call costs, in US dollars. Unknown is None, never zero; nothing is fetched from anywhere.

The table is the data of genai-prices, dated by its release, which uv.lock pins (docs/decisions/0012-prices.md). What it
does not know, or what has been agreed otherwise, is told in a TOML file (TELEMETRY_PRICES): one table for each model,
named provider/model as agno names them, in US dollars per million tokens. A name may end in "*"; the longest name that
fits wins, and wins over the table.

    ["openai/gpt-9"]
    input = 2.0
    cached_input = 0.2  # what is read from a cache; as `input` when left out
    cache_write = 2.5   # what is written to one; as `input` when left out
    output = 8.0

    ["ollama/*"]
    input = 0           # free on purpose
    output = 0
"""

import math
import re
import threading
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, Provider

LONGEST = 256  # characters; a longer name is no model's
_NAMES = ("input", "cached_input", "cache_write", "output")

# How agno's models fill input_tokens (3.1.10): these leave out what was read from or written to a cache, as their APIs
# do; all others count it in, as OpenAI's does.
_WITHOUT_CACHED = {"anthropic", "awsbedrock", "azurefoundry", "vertexai"}
# These leave reasoning out of output_tokens; all others count it in. Everyone charges it as output.
_WITHOUT_REASONING = {"google"}
# agno's names that the table has otherwise
_ALIASES = {"azurefoundry": "azure", "x_ai": "x-ai", "grok": "x-ai"}
# What may stand before the name of a model: "models/gemini-...", "publishers/google/models/...", "arn:aws:...:.../"
_PATH = re.compile(r"(?:arn:[^/]*/|(?:publishers/[^/]+/)?models/)(?=[^/]+$)")

# US dollars per million tokens, each from so many input tokens of a call on: then for all of its tokens.
Rates = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class _Price:
    input: Rates
    cached_input: Rates
    cache_write: Rates
    output: Rates
    call: float = 0.0  # US dollars for each call, besides


def cost(
    provider: str,
    model: str,
    *,
    input_tokens: int,
    output_tokens: int,
    cache_read_tokens: int = 0,
    cache_write_tokens: int = 0,
    reasoning_tokens: int = 0,
) -> float | None:
    """US dollars of one call, at today's prices; None when the price is not known. Never raises.

    `provider` and the token counts are as agno's model has them in its metrics, cached tokens being part of
    `input_tokens` or not, by provider; `reasoning_tokens` matter only where `output_tokens` leaves them out.
    """
    price = _price(provider, model)
    if price is None:
        return None
    provider = provider.lower()
    cached = cache_read_tokens + cache_write_tokens
    # more cached tokens than there are tokens: they cannot be among them
    with_cached = input_tokens + cached if provider in _WITHOUT_CACHED or cached > input_tokens else input_tokens
    output = output_tokens + reasoning_tokens if provider in _WITHOUT_REASONING else output_tokens
    millionths = (
        (with_cached - cached) * _rate(price.input, with_cached)
        + cache_read_tokens * _rate(price.cached_input, with_cached)
        + cache_write_tokens * _rate(price.cache_write, with_cached)
        + output * _rate(price.output, with_cached)
    )
    return millionths / 1e6 + price.call


def use(path: str | None) -> None:
    """Takes the prices of the TOML file at `path` before the table's; None: only the table's.

    Raises ValueError, with what is wrong where, when it cannot be read.
    """
    _own.clear()
    _found.cache_clear()
    if path is not None:
        _own.update(read(Path(path)))


def read(path: Path) -> dict[str, _Price]:
    """The prices of a file by lower-case name. Raises ValueError."""
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"no prices can be read from {path}: {error}") from None
    return {name.lower(): _of_table(f"{path}: {name!r}", table) for name, table in tables.items()}


_own: dict[str, _Price] = {}
_loaded = threading.Event()


def _of_table(where: str, table: Any) -> _Price:
    if not isinstance(table, dict) or not {"input", "output"} <= table.keys() <= set(_NAMES):
        raise ValueError(f"{where} needs input and output, and may have cached_input and cache_write")
    for name, value in table.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise ValueError(f"{where}: {name} is no price in US dollars per million tokens")
    table = {"cached_input": table["input"], "cache_write": table["input"], **table}
    given, read, written, output = (((0, float(table[name])),) for name in _NAMES)
    return _Price(given, read, written, output)


def _rate(rates: Rates, input_tokens: int) -> float:
    if len(rates) == 1:
        return rates[0][1]
    return next((rate for start, rate in reversed(rates) if input_tokens > start), rates[0][1])


def load() -> None:
    """Reads the table, which takes half a second: not on the path of a model's call. Until then nothing has a price."""
    from genai_prices.data_snapshot import get_snapshot

    get_snapshot()
    _loaded.set()


def _price(provider: str, model: str) -> _Price | None:
    if not _loaded.is_set():
        return None
    found = _found(provider, model)
    if not isinstance(found, tuple):
        return found
    now = datetime.now(UTC)  # a price may begin on a day, or hold for some hours of it: the last that is active wins
    return next((price for constraint, price in reversed(found) if constraint is None or constraint.active(now)), None)


@lru_cache(1024)
def _found(provider: str, model: str) -> _Price | tuple[tuple[Any, _Price], ...] | None:
    """One price, or several with their constraints."""
    provider, model = provider.strip().lower(), model.strip().lower()
    provider = provider.removesuffix(f" ({model})")  # so agno calls the provider of a class that names none
    if not model or len(model) > LONGEST or len(provider) > LONGEST or not f"{provider}{model}".isprintable():
        return None
    if own := _own_price(_own, f"{provider}/{model}"):
        return own
    from genai_prices.types import ModelPrice

    info = _find(provider, model)
    if info is None:
        return None
    if isinstance(info.prices, ModelPrice):
        return _of_model(info.prices)
    prices = [(conditional.constraint, _of_model(conditional.prices)) for conditional in info.prices]
    return tuple((constraint, price) for constraint, price in prices if price is not None) or None


def _own_price(prices: Mapping[str, _Price], name: str) -> _Price | None:
    fitting = [key for key in prices if key == name or (key.endswith("*") and name.startswith(key[:-1]))]
    return prices[max(fitting, key=len)] if fitting else None


def _find(provider: str, model: str) -> Any:
    """The table's ModelInfo, or None."""
    from genai_prices.data_snapshot import find_provider_by_id, get_snapshot

    providers = get_snapshot().providers
    name, slash, rest = model.partition("/")
    if provider in ("", "litellm") and slash:  # they say in the model's name whose it is
        provider, model = name, rest
    found: Provider | None = find_provider_by_id(providers, _ALIASES.get(provider, provider))
    if found is None:
        return None
    names = [model, _PATH.sub("", model, count=1)]
    name, slash, rest = model.partition("/")
    if slash and find_provider_by_id(providers, _ALIASES.get(name, name)) is found:
        names += [rest, _PATH.sub("", rest, count=1)]
    return next((info for name in names if (info := found.find_model(name, all_providers=providers))), None)


def _of_model(price: "ModelPrice") -> _Price | None:
    """None for what is not charged by tokens, and for what the table lists without a price."""
    given, output = _rates(price.input_mtok), _rates(price.output_mtok)
    if given is None or output is None:
        return None
    read, written = _rates(price.cache_read_mtok) or given, _rates(price.cache_write_mtok) or given
    calls = _rates(price.requests_kcount) or ((0, 0.0),)
    return _Price(given, read, written, output, calls[0][1] / 1000)


def _rates(price: Any) -> Rates | None:
    if price is None:
        return None
    if hasattr(price, "tiers"):
        return ((0, float(price.base)), *((tier.start, float(tier.price)) for tier in price.tiers))
    return ((0, float(price)),)
