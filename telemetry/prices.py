"""What a model call costs, in US dollars. Unknown is None, never zero; nothing is fetched from anywhere.

The table is prices.jsonl, made out of a dated release of genai-prices (docs/decisions/0012-prices.md). What it does not
know, or what has been agreed otherwise, is told in a TOML file (TELEMETRY_PRICES): one table for each model,
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
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from operator import contains, eq
from pathlib import Path
from typing import Any

import orjson

TABLE = Path(__file__).with_name("prices.jsonl")
LONGEST = 256  # characters; a longer name is no model's
_NAMES = ("input", "cached_input", "cache_write", "output")

# agno's names that the table has otherwise
_ALIASES = {"azurefoundry": "azure", "x_ai": "x-ai", "grok": "x-ai"}
# What may stand before the name of a model: "models/gemini-...", "publishers/google/models/...", "arn:aws:...:.../"
_PATH = re.compile(r"(?:arn:[^/]*/|(?:publishers/[^/]+/)?models/)(?=[^/]+$)")
# LiteLLM and OpenRouter write dates so: -20250929
_COMPACT_DATE = re.compile(r"-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")

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
) -> float | None:
    """US dollars of one call, at today's prices; None when the price is not known. Never raises.

    `provider` is as agno's model names it; the counts are those of telemetry.tokens, cached tokens being part of
    `input_tokens`.
    """
    price = _price(provider, model)
    if price is None:
        return None
    millionths = (
        (input_tokens - cache_read_tokens - cache_write_tokens) * _rate(price.input, input_tokens)
        + cache_read_tokens * _rate(price.cached_input, input_tokens)
        + cache_write_tokens * _rate(price.cache_write, input_tokens)
        + output_tokens * _rate(price.output, input_tokens)
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


def _price(provider: str, model: str) -> _Price | None:
    found = _found(provider, model)
    if not isinstance(found, list):
        return found
    now = datetime.now(UTC)
    return next((price for condition, price in reversed(found) if _holds(condition, now)), found[0][1])


def _holds(condition: Any, now: datetime) -> bool:
    """None: always; a day: from then on; two times: between them, each day (UTC)."""
    if condition is None:
        return True
    if isinstance(condition, str):
        return f"{now:%Y-%m-%d}" >= condition
    time, begin, end = f"{now:%H:%M}", str(condition[0]), str(condition[1])
    return begin <= time < end if begin <= end else time >= begin or time < end


@lru_cache(1024)
def _found(provider: str, model: str) -> _Price | list[tuple[Any, _Price | None]] | None:
    """One price, or several with their conditions, of which the last that holds is it."""
    provider, model = provider.strip().lower(), model.strip().lower()
    provider = provider.removesuffix(f" ({model})")  # so agno calls the provider of a class that names none
    if not model or len(model) > LONGEST or len(provider) > LONGEST or not f"{provider}{model}".isprintable():
        return None
    if own := _own_price(_own, f"{provider}/{model}"):
        return own
    prices = [(condition, _of_rates(rates)) for condition, rates in _find(provider, model)]
    return prices[0][1] if len(prices) == 1 else prices or None


def _own_price(prices: Mapping[str, _Price], name: str) -> _Price | None:
    fitting = [key for key in prices if key == name or (key.endswith("*") and name.startswith(key[:-1]))]
    return prices[max(fitting, key=len)] if fitting else None


def _find(provider: str, model: str) -> list[Any]:
    """The conditions and rates that the table has; empty when it does not know the model."""
    name, slash, rest = model.partition("/")
    if provider in ("", "litellm") and slash:  # they say in the model's name whose it is
        provider, model = name, rest
    found = _provider(provider)
    if found is None:
        return []
    names = [model, _PATH.sub("", model, count=1)]
    name, slash, rest = model.partition("/")
    if slash and _provider(name) is found:
        names += [rest, _PATH.sub("", rest, count=1)]
    others = [each for each in _table() if each["id"] in found["others"]]  # whose models it offers as well
    for name in dict.fromkeys((*names, *(_COMPACT_DATE.sub(r"-\1-\2-\3", name) for name in names))):
        for each in (found, *others):
            for _, clause, prices in each["models"]:
                if _matches(clause, name):
                    return list(prices)
    return []


def _provider(name: str) -> dict[str, Any] | None:
    name = _ALIASES.get(name, name)
    exact = (each for each in _table() if each["id"] == name)
    fitting = (each for each in _table() if each["match"] and _matches(each["match"], name))
    return next(exact, None) or next(fitting, None)


@cache
def _table() -> list[dict[str, Any]]:
    """See telemetry.price_table."""
    providers: list[dict[str, Any]] = []
    for line in TABLE.read_bytes().splitlines()[1:]:
        found = orjson.loads(line)
        if isinstance(found, dict):
            providers.append({**found, "models": []})
        else:
            providers[-1]["models"].append(found)
    return providers


def _matches(clause: list[Any], name: str) -> bool:
    kind, what = clause
    if kind == "or":
        return any(_matches(part, name) for part in what)
    if kind == "and":
        return all(_matches(part, name) for part in what)
    return bool(_COMPARISONS[kind](name, what))


_COMPARISONS: dict[str, Callable[[str, str], object]] = {
    "equals": eq,
    "starts_with": str.startswith,
    "ends_with": str.endswith,
    "contains": contains,
    "regex": lambda name, pattern: re.search(pattern, name),
}


def _of_rates(rates: Any) -> _Price | None:
    """None: it is listed, but tokens have no price."""
    if rates is None:
        return None
    *of_tokens, calls = rates
    given, read, written, output = (tuple((start, rate) for start, rate in each) for each in of_tokens)
    return _Price(given, read, written, output, calls / 1000)
