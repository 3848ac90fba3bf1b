"""Which values are secrets, and that they are found however they are spelled; nothing else is hidden."""

import base64
import html
import json
import subprocess
import sys
from urllib.parse import quote

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from dashboards.viewer.settings import Settings
from telemetry import secrets, wire
from telemetry.content import Content
from telemetry.request import RequestSpans

SECRET = "s3cret&\"/'quoted"


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_known", ())
    monkeypatch.setattr(secrets, "_spelled", ())
    secrets.remember({SECRET})


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("OPENAI_API_KEY", "sk-0123456789", {"sk-0123456789"}),
        ("database_url", "postgresql://agents:p%40ss-word-1@host/agents", {"p%40ss-word-1", "p@ss-word-1"}),
        ("ANYTHING", "amqp://u:long-enough-9@a,amqp://u:long-enough-8@b", {"long-enough-9", "long-enough-8"}),
        ("WEBHOOK_SECRET", "whsec_AAAAAAAAAAA1 whsec_BBBBBBBBBBB2", {"AAAAAAAAAAA1", "BBBBBBBBBBB2"}),
        ("WEBHOOK_SECRETS", '{"github": "first-secret-1", "grafana": ["u:second-secret-2"]}', {"second-secret-2"}),
        ("webhook_secrets", {"github": ["first-secret-1"]}, {"first-secret-1"}),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20tok-123456,x-key=abc-123456", {"tok-123456"}),
    ],
)
def test_what_is_a_secret(name: str, value: object, found: set[str]) -> None:
    assert found <= secrets.of({name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql://postgres:postgres@postgres/postgres"),  # a word; it is everywhere
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/run/secrets/client-key-1.pem"),
        ("JWT_VERIFICATION_KEY", "-----BEGIN PUBLIC KEY-----\nMIIB0123456789\n-----END PUBLIC KEY-----"),
        ("QUEUE_MAX_DEPTH", "123456789012"),
        ("OPENAI_API_KEY", ""),
        ("KEYBOARD", "0123456789abc"),
    ],
)
def test_what_is_none(name: str, value: str) -> None:
    assert secrets.of({name: value}) == set()


@pytest.mark.parametrize(
    "spelled",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        html.escape(SECRET),
        json.dumps({"key": SECRET}),
        json.dumps(json.dumps(SECRET)),
        repr({"key": SECRET}),
        *(base64.b64encode(b"x" * n + SECRET.encode() + b"y").decode() for n in range(6)),
        *(base64.urlsafe_b64encode(b"x" * n + SECRET.encode()).decode() for n in range(6)),
    ],
)
def test_it_is_found_however_it_is_spelled(spelled: str) -> None:
    text = f"before {spelled} after"
    shown = secrets.hide(text)
    assert secrets.MASK in shown and shown.startswith("before ") and shown.endswith(" after")
    assert "cret" not in shown and "quoted" not in shown
    masked = secrets.masked(text.encode())
    assert len(masked) == len(text.encode()) and b"***" in masked
    assert secrets.are_in(text.encode()) and not secrets.are_in(masked)
    assert secrets.hide_all({"a": (text, [text.encode(), 1, None])})["a"][1][1:] == [1, None]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at http://u:pw@host/x?api_key=1&b=2", "at http://host/x?api_key=***&b=2"),
        ("Authorization: Bearer abcdefgh.1", "Authorization: Bearer ***"),
        ("got eyJhbGciOiJ9.eyJzdWIiOiJ9.c2ln-x", "got ***"),
        ("basic instructions of a bearer", "basic instructions of a bearer"),
    ],
)
def test_what_looks_like_one(text: str, shown: str) -> None:
    assert secrets.without(text) == shown


def test_more_of_them_become_known() -> None:
    before = secrets.known()
    assert secrets.known() is before
    secrets.remember({"another-1"})
    assert set(secrets.known()) == {SECRET, "another-1"}
    assert secrets.hide("another-1") == secrets.MASK


def test_the_console() -> None:
    code = """
import logging, threading
from telemetry import secrets
logging.basicConfig(format="%(levelname)s %(message)s")
import agno.utils.log
secrets.remember({"s3cret-one"})
secrets.guard_console(); secrets.guard_console()
logging.error("it is %s", "s3cret-one")
agno.utils.log.logger.warning("agno says s3cret-one")
try: raise ValueError("s3cret-one")
except ValueError: logging.exception("trace")
def fail(): raise ValueError("thread http://u:pw@host s3cret-one")
thread = threading.Thread(target=fail); thread.start(); thread.join()
raise ValueError("at the end s3cret-one")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert "s3cret" not in said and "u:pw" not in said
    for text in ("ERROR it is ***", "agno says ***", "ValueError: ***", "thread http://host ***", "at the end ***"):
        assert text in said
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("mode", "shown"), [("off", None), ("hashed", "sha256:"), ("truncated", "hello *** ..."), ("full", "hello ***")]
)
def test_what_a_webhook_said_is_content(mode: str, shown: str | None) -> None:
    """It is an attribute of a span that nobody's run has made; it is hidden before it is cut."""
    put: list[object] = []
    spans = RequestSpans(TracerProvider(shutdown_on_exit=False), put.append)
    span = spans.start("webhook x", {})
    long = "hello " + SECRET + " x" * 1000
    span.attributes = {"input.value": long, "agno.delivery.source": "webhook"}
    span.end(f"it failed at http://u:pw@host with {SECRET}")
    (made,) = wire.unpack(wire.pack(put), Resource.create(), Content(mode))  # type: ignore[arg-type]
    attributes = dict(made.attributes or {})
    assert attributes["agno.delivery.source"] == "webhook"
    assert made.status.description == "it failed at http://host with ***"
    said = attributes.get("input.value")
    if shown is None:
        assert said is None
    elif mode == "truncated":
        assert str(said).startswith("hello ***") and "s3cret" not in str(said)
    else:
        assert str(said).startswith(shown)


def test_links_on_the_page_have_no_passwords() -> None:
    urls = {f"{name}_url": "http://u:pw@host/x" for name in ("phoenix", "runtime", "grafana", "dashboards")}
    given = Settings(clickhouse_readonly_url="http://u:pw@host/otel", alert_webhook_url="http://u:pw@host/a", **urls)  # type: ignore[arg-type]
    assert {getattr(given, name) for name in urls} == {"http://host/x"}
    assert given.clickhouse_readonly_url == "http://u:pw@host/otel"
    assert given.alert_webhook_url == "http://u:pw@host/a"
