import pytest

from runtime.negotiation import preferred
from runtime.observability import FORMATS

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        (PROMETHEUS_2, "application/openmetrics-text"),
        (PROMETHEUS_3, "application/openmetrics-text"),
        (CHROMIUM, "text/html"),
        ("application/json", "application/json"),
        ("application/json, text/plain, */*", "application/json"),
        ("application/openmetrics-text;q=0.2, text/plain;q=0.9", "text/plain"),
        ("text/plain, application/openmetrics-text", "text/plain"),
        ("application/openmetrics-text, text/plain", "application/openmetrics-text"),
        ("text/*", "text/plain"),
        ("text/plain;q=0, text/*", "text/html"),
        ("*/*, text/plain;q=0, application/openmetrics-text;q=0", "application/json"),
        ("TEXT/HTML ; Q=1", "text/html"),
        ("application/json;q=nonsense, text/html;q=0.1", "text/html"),
        ("application/json;q=nan", None),
        ("image/png", None),
        ("text/plain;q=0", None),
        (";;,,q=1", None),
    ],
)
def test_what_an_accept_header_likes_best(accept: str, expected: str | None) -> None:
    assert preferred(accept, FORMATS.values()) == expected
