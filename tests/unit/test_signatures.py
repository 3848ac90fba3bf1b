"""Signatures, by the Standard Webhooks specification."""

import base64
import hashlib
import hmac
import time

import pytest

from runtime.problems import Problem
from runtime.signatures import verify

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
BODY = b'{"input": "H\xc3\xa4llo"}'


def headers(body: bytes = BODY, *, key: bytes = KEY, age: float = 0, delivery_id: str = "msg_1") -> dict[str, str]:
    """Signed here, not by the library: HMAC-SHA256 of id.timestamp.body."""
    timestamp = str(int(time.time() - age))
    mac = hmac.new(key, f"{delivery_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(mac).decode()
    return {"webhook-id": delivery_id, "webhook-timestamp": timestamp, "webhook-signature": signature}


def refused(given: dict[str, str], body: bytes = BODY, secret: str | None = SECRET, status: int = 401) -> str:
    with pytest.raises(Problem) as problem:
        verify(secret, given, body)
    assert problem.value.status == status
    assert SECRET not in problem.value.detail
    return problem.value.detail


def test_the_id_of_what_is_signed() -> None:
    assert verify(SECRET, headers(), BODY) == "msg_1"
    assert verify(SECRET, headers(b""), b"") == "msg_1"


@pytest.mark.parametrize("age", [-280, 280])
def test_clocks_may_differ(age: float) -> None:
    assert verify(SECRET, headers(age=age), BODY) == "msg_1"


@pytest.mark.parametrize(("age", "word"), [(320, "old"), (-320, "new")])
def test_a_recorded_delivery_is_refused_later(age: float, word: str) -> None:
    assert word in refused(headers(age=age))


def test_one_of_several_signatures_suffices() -> None:
    given = headers()
    wrong = headers(key=b"x" * 32)["webhook-signature"]
    given["webhook-signature"] = f"v1a,AAAA {wrong} {given['webhook-signature']}"
    assert verify(SECRET, given, BODY) == "msg_1"
    given["webhook-signature"] = f"{wrong} {wrong}"
    refused(given)


def test_whatever_is_altered_is_refused() -> None:
    refused(headers(), BODY + b" ")
    refused(headers(key=b"another key of thirty-two bytes!"))
    refused({**headers(), "webhook-id": "msg_2"})
    refused({**headers(), "webhook-timestamp": str(int(time.time()) - 1)})
    refused({**headers(), "webhook-signature": headers()["webhook-signature"].replace("v1,", "v2,")})


@pytest.mark.parametrize("signature", ["", "v1", "v1,", "v1,!", "v1,AAA", "x" * 10_000, "v1,a,b", "v1,é"])
def test_what_is_no_signature_is_refused(signature: str) -> None:
    refused({**headers(), "webhook-signature": signature})


@pytest.mark.parametrize("timestamp", ["", "yesterday", "nan", "inf", "1e400", "-1"])
def test_what_is_no_time_is_refused(timestamp: str) -> None:
    refused({**headers(), "webhook-timestamp": timestamp})


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_all_headers_are_needed(name: str) -> None:
    refused({key: value for key, value in headers().items() if key != name})


def test_without_a_secret_nothing_is_accepted() -> None:
    assert "WEBHOOK_SECRET" in refused(headers(), secret=None)
    assert "WEBHOOK_SECRET" in refused(headers(), secret="")


def test_a_body_that_is_no_text_and_an_endless_id() -> None:
    refused(headers(b"\xff"), b"\xff", status=400)
    refused(headers(delivery_id="x" * 256), status=422)
