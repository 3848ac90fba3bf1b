"""A number as people read it, by Grafana's unit: 0.25 percentunit is 25 %."""

from collections.abc import Sequence

_BYTES = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
_TIMES = (("d", 86_400), ("h", 3600), ("min", 60))


def written(value: float, unit: str) -> str:
    """`value` with its unit."""
    if unit == "ms":
        return _seconds(value / 1000)
    if unit == "s":
        return _seconds(value)
    if unit == "percentunit":
        return f"{_number(value * 100)} %"
    if unit == "percent":
        return f"{_number(value)} %"
    if unit == "currencyUSD":
        return f"${value:,.2f}" if abs(value) >= 0.01 or not value else f"${value:.4f}"
    if unit == "bytes":
        return _scaled(value, _BYTES, "B")
    suffix = {"cpm": " per minute", "ops": " per second"}.get(unit, "")
    return _number(value) + suffix


def _seconds(value: float) -> str:
    if abs(value) < 1:
        return f"{_number(value * 1000)} ms"
    return _scaled(value, _TIMES, "s") if abs(value) >= 120 else f"{_number(value)} s"


def _scaled(value: float, units: Sequence[tuple[str, float]], smallest: str) -> str:
    for name, size in units:
        if abs(value) >= size:
            return f"{_number(value / size)} {name}"
    return f"{_number(value)} {smallest}"


def _number(value: float) -> str:
    """Three digits that matter; whole numbers as they are."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) < 0.01:
        return f"{value:.2g}"
    return f"{value:.{1 if abs(value) >= 10 else 2}f}".rstrip("0").rstrip(".")
