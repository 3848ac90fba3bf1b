"""Signatures of every source: what is signed is accepted, what is altered is refused, no error tells a secret."""

import base64
import hashlib
import hmac
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.problems import Problem
from runtime.signatures import Signatures, check_secret, secrets_of

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
OLD = "whsec_" + base64.b64encode(b"the secret that was used before!").decode()
HUB = "It's a Secret to Everybody"
TOKEN = "a-token-of-sixteen"
BASIC = "grafana:pass:word"
BODY = b'{"input": "H\xc3\xa4llo"}'
SIGNATURES = Signatures(SECRET, {"github": [HUB, "the-new-one"], "jira": [HUB], "grafana": [TOKEN, BASIC]})


def headers(body: bytes = BODY, *, key: bytes = KEY, age: float = 0, delivery_id: str = "msg_1") -> dict[str, str]:
    """Signed here, not by the library: HMAC-SHA256 of id.timestamp.body."""
    timestamp = str(int(time.time() - age))
    mac = hmac.new(key, f"{delivery_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(mac).decode()
    return {"webhook-id": delivery_id, "webhook-timestamp": timestamp, "webhook-signature": signature}


def of_body(body: bytes, secret: str = HUB) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def basic(credentials: str) -> str:
    return "Basic " + base64.b64encode(credentials.encode()).decode()


def verify(given: dict[str, str], body: bytes = BODY, source: str = "webhook") -> str:
    return SIGNATURES.verify(source, given, body)


def refused(
    given: dict[str, str],
    body: bytes = BODY,
    source: str = "webhook",
    status: int = 401,
    signatures: Signatures = SIGNATURES,
) -> str:
    with pytest.raises(Problem) as problem:
        signatures.verify(source, given, body)
    assert problem.value.status == status
    assert not any(secret in problem.value.detail for secret in (SECRET, SECRET[6:], HUB, TOKEN, BASIC))
    return problem.value.detail


def changed(text: str, at: int, by: int) -> str:
    """`text` with one character exchanged for another, printable one."""
    at %= len(text)
    other = chr(33 + (ord(text[at]) - 33 + 1 + by % 92) % 94)
    return text[:at] + other + text[at + 1 :]


texts = st.text(st.characters(codec="utf-8")).map(str.encode)
ids = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=255)
numbers = st.integers(0, 10_000)


@settings(deadline=None)
@given(texts, ids)
def test_whatever_is_signed_is_accepted(body: bytes, delivery_id: str) -> None:
    assert verify(headers(body, delivery_id=delivery_id), body) == delivery_id
    assert verify(headers(body, delivery_id=delivery_id), body, "shop") == delivery_id
    for name, source, id_header in (
        ("x-hub-signature-256", "github", "x-github-delivery"),
        ("x-hub-signature", "jira", "x-atlassian-webhook-identifier"),
    ):
        assert verify({name: of_body(body), id_header: delivery_id}, body, source) == delivery_id


@settings(deadline=None)
@given(st.binary(), numbers, numbers)
def test_signed_bytes_that_are_no_text_are_the_parsers_problem(body: bytes, at: int, by: int) -> None:
    assert verify({"x-hub-signature-256": of_body(body)}, body, "github") == hashlib.sha256(body).hexdigest()
    wrong = {"x-hub-signature-256": changed(of_body(body), at, by)}
    refused(wrong, body, "github")


@settings(deadline=None)
@given(texts, ids, st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), numbers, numbers)
def test_one_changed_character_of_a_header_is_refused(body: bytes, id: str, name: str, at: int, by: int) -> None:
    signed = headers(body, delivery_id=id)
    refused({**signed, name: changed(signed[name], at, by)}, body)


@settings(deadline=None)
@given(texts.filter(bool), numbers, st.integers(1, 127))
def test_one_changed_byte_of_the_body_is_refused(body: bytes, at: int, by: int) -> None:
    other = bytearray(body)
    other[at % len(body)] ^= by
    with pytest.raises(Problem) as problem:  # a 400 where the change leaves no UTF-8
        verify(headers(body), bytes(other))
    assert problem.value.status in (400, 401)
    refused({"x-hub-signature-256": of_body(body)}, bytes(other), "github")
    refused({"x-hub-signature": of_body(body)}, bytes(other), "jira")


@settings(deadline=None)
@given(st.sampled_from([f"Bearer {TOKEN}", basic(BASIC)]), numbers, numbers)
def test_one_changed_character_of_credentials_is_refused(credentials: str, at: int, by: int) -> None:
    assert verify({"authorization": credentials}, source="grafana") == hashlib.sha256(BODY).hexdigest()
    other = changed(credentials, at, by)
    if other.lower().split(" ")[0] != credentials.lower().split(" ")[0] or at % len(credentials) > 6:
        refused({"authorization": other}, source="grafana")


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*headers(), "authorization", "x-hub-signature-256"]), st.text(max_size=50)))
def test_nonsense_is_refused_and_nothing_breaks(given: dict[str, str]) -> None:
    for source in ("webhook", "github", "jira", "grafana", "alertmanager", "shop"):
        refused(given, source=source)


@pytest.mark.parametrize("age", [-280, 280])
def test_clocks_may_differ(age: float) -> None:
    assert verify(headers(age=age)) == "msg_1"


@pytest.mark.parametrize(("age", "word"), [(320, "old"), (-320, "new")])
def test_a_recorded_delivery_is_refused_later(age: float, word: str) -> None:
    assert word in refused(headers(age=age))


def test_one_of_several_signatures_suffices() -> None:
    given = headers()
    wrong = headers(key=b"x" * 32)["webhook-signature"]
    given["webhook-signature"] = f"v1a,AAAA v1,!! x {wrong} {given['webhook-signature']}"
    assert verify(given) == "msg_1"
    given["webhook-signature"] = f"{wrong} {wrong}"
    refused(given)


@pytest.mark.parametrize("signature", ["", "v1", "v1,", "v1,!", "v1,AAA", "x" * 10_000, "v1,a,b", "v1,é"])
def test_what_is_no_signature_is_refused(signature: str) -> None:
    refused({**headers(), "webhook-signature": signature})


@pytest.mark.parametrize("timestamp", ["", "yesterday", "nan", "inf", "1e400", "-1", "01", "1_0", "1.0", "9" * 12])
def test_what_is_no_time_is_refused(timestamp: str) -> None:
    refused({**headers(), "webhook-timestamp": timestamp})


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_all_headers_are_needed(name: str) -> None:
    refused({key: value for key, value in headers().items() if key != name})


def test_secrets_can_be_changed_without_losing_a_delivery() -> None:
    both = Signatures(f"{SECRET} {OLD}", {"github": ["new-secret", "old-secret"]})
    for key in (KEY, base64.b64decode(OLD[6:])):
        assert both.verify("webhook", headers(key=key), BODY) == "msg_1"
    for secret in ("new-secret", "old-secret"):
        assert both.verify("github", {"x-hub-signature-256": of_body(BODY, secret)}, BODY)
    refused(headers(key=b"x" * 32), signatures=both)


def test_without_a_secret_nothing_is_accepted() -> None:
    for secret in (None, "", " "):
        assert "WEBHOOK_SECRET" in refused(headers(), signatures=Signatures(secret, {}))


@pytest.mark.parametrize("source", ["github", "jira", "grafana", "alertmanager"])
def test_the_shared_secret_is_for_standard_webhooks_only(source: str) -> None:
    """It would be sent along by some, and be another key to others."""
    only_shared = Signatures(SECRET, {})
    signed = {**headers(), "authorization": f"Bearer {SECRET}", "x-hub-signature-256": of_body(BODY, SECRET)}
    assert "WEBHOOK_SECRETS" in refused(
        {**signed, "x-hub-signature": of_body(BODY, SECRET)}, BODY, source, 401, only_shared
    )
    assert only_shared.verify("shop", headers(), BODY) == "msg_1"


def test_a_source_with_a_secret_of_its_own_takes_no_other() -> None:
    own = Signatures(SECRET, {"shop": [OLD]})
    assert own.verify("shop", headers(key=base64.b64decode(OLD[6:])), BODY) == "msg_1"
    refused(headers(), source="shop", signatures=own)


@pytest.mark.parametrize("delivery_id", ["x" * 256, "é", "a\x00b", " a"])
def test_what_is_no_id(delivery_id: str) -> None:
    refused({"x-hub-signature-256": of_body(BODY), "x-github-delivery": delivery_id}, BODY, "github", 422)


def test_a_signed_body_that_is_no_text() -> None:
    refused(headers(b"\xff"), b"\xff", status=400)


@pytest.mark.parametrize(
    ("source", "secret", "text"),
    [
        ("webhook", "whsec_!", "whsec_ and base64"),
        ("shop", "whsec_", "whsec_ and base64"),
        ("github", "short", "8 or more"),
        ("grafana", "pässwörter", "ASCII"),
        ("Git Hub", HUB, "no source"),
    ],
)
def test_a_secret_that_verifies_nothing_is_told(source: str, secret: str, text: str) -> None:
    with pytest.raises(ValueError, match=text) as error:
        check_secret(source, secret)
    assert secret == "whsec_" or secret not in str(error.value)


def test_secrets_as_they_are_written() -> None:
    written = f'{{"github": "first-one second-one", "grafana": ["{TOKEN}", "{BASIC}"], "shop": "{SECRET}"}}'
    assert secrets_of(written) == {
        "github": ["first-one", "second-one"],
        "grafana": [TOKEN, BASIC],
        "shop": [SECRET],
    }
    for wrong in ("{", "[]x", '"text"', '{"github": 7}', '{"github": [7]}', '{"github": []}', '{"github": null}', "7"):
        with pytest.raises(ValueError):
            secrets_of(wrong)
