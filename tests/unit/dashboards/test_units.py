"""Numbers as people read them."""

import pytest

from dashboards.viewer.units import written


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0, "s", "0 ms"),
        (0.0012, "s", "1.2 ms"),
        (0.25, "s", "250 ms"),
        (1.234, "s", "1.23 s"),
        (30.0, "s", "30 s"),
        (120.5, "s", "2.01 min"),
        (7200, "s", "2 h"),
        (200_000, "s", "2.31 d"),
        (1500, "ms", "1.5 s"),
        (0.05, "percentunit", "5 %"),
        (0.1234, "percentunit", "12.3 %"),
        (12.5, "percent", "12.5 %"),
        (1234.5, "currencyUSD", "$1,234.50"),
        (0.0042, "currencyUSD", "$0.0042"),
        (0, "currencyUSD", "$0.00"),
        (3 * 2**20, "bytes", "3 MiB"),
        (100, "bytes", "100 B"),
        (12, "cpm", "12 per minute"),
        (1234567, "none", "1,234,567"),
        (120.4, "short", "120"),
        (14.4, "none", "14.4"),
        (-3, "none", "-3"),
    ],
)
def test_units(value: float, unit: str, expected: str) -> None:
    assert written(value, unit) == expected
