"""`python -m telemetry.price_table`: prices.jsonl, out of the data of genai-prices (of the dev dependencies).

A file rather than the package, which takes half a second to import, during which nothing else runs, and 15 MB. And one
with many lines: each is read in no time, so that others run in between, and a diff can be read.
"""

import json
from collections.abc import Iterator
from dataclasses import fields
from importlib.metadata import version
from typing import Any

from genai_prices.data import providers
from genai_prices.types import ModelInfo, ModelPrice, StartDateConstraint


def table() -> Iterator[str]:
    """Lines of JSON: where it is from; then each provider, followed by its models: id, what its names match, prices."""
    yield _line({"source": f"genai-prices {version('genai-prices')}"})
    for provider in providers:
        names = provider.provider_match
        others = provider.fallback_model_providers or []
        yield _line({"id": provider.id, "match": names and _clause(names), "others": others})
        for model in provider.models:
            yield _line([model.id, _clause(model.match), _prices(model)])


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _clause(clause: Any) -> list[Any]:
    """[kind, what]: texts in lower case, as what they are compared with."""
    (field,) = fields(clause)
    kind, value = field.name.rstrip("_"), getattr(clause, field.name)
    if isinstance(value, list):
        return [kind, [_clause(part) for part in value]]
    return [kind, value if kind == "regex" else value.lower()]


def _prices(model: ModelInfo) -> list[Any]:
    """[condition, rates], the last one that holds; a condition is null, the day it begins on, or the hours of a day."""
    if isinstance(model.prices, ModelPrice):
        return [[None, _rates(model.prices)]]
    return [[_condition(each.constraint), _rates(each.prices)] for each in model.prices]


def _condition(constraint: Any) -> Any:
    if constraint is None:
        return None
    if isinstance(constraint, StartDateConstraint):
        return constraint.start_date.isoformat()
    times = constraint.start_time, constraint.end_time
    if any(time.utcoffset() for time in times):
        raise ValueError(f"hours that are not UTC: {times}")
    return [time.strftime("%H:%M") for time in times]


def _rates(price: ModelPrice) -> list[Any] | None:
    """Of input, cached input, cache writes, output, and for a thousand calls; None when tokens have no price."""
    given, output = _rate(price.input_mtok), _rate(price.output_mtok)
    if given is None or output is None:
        return None
    calls = _rate(price.requests_kcount) or [[0, 0]]
    return [given, _rate(price.cache_read_mtok) or given, _rate(price.cache_write_mtok) or given, output, calls[0][1]]


def _rate(price: Any) -> list[list[float]] | None:
    """[[from so many input tokens, US dollars per million], ...]."""
    if price is None:
        return None
    if not hasattr(price, "tiers"):
        return [[0, float(price)]]
    return [[0, float(price.base)], *([tier.start, float(tier.price)] for tier in price.tiers)]


if __name__ == "__main__":
    print("\n".join(table()))
