"""Who may send: each source has its scheme, its secrets and its header for a delivery's id. Compared in constant time.

| source                | proof                                              | delivery id                         |
|-----------------------|----------------------------------------------------|-------------------------------------|
| github                | X-Hub-Signature-256, HMAC of the body              | X-GitHub-Delivery                   |
| jira                  | X-Hub-Signature (sha256=), HMAC of the body        | X-Atlassian-Webhook-Identifier      |
| grafana, alertmanager | Authorization: Bearer, or Basic (a secret with :)  | SHA-256 of the body                 |
| webhook, all others   | Standard Webhooks, HMAC of id, time and body       | webhook-id                          |

Several secrets of one source all hold, so that they can be changed without losing a delivery. Only Standard Webhooks
sign the time: five minutes either way. For the others the memory of delivery ids is what a replay meets, and GitHub's
and Jira's ids are not part of what is signed: those senders rely on TLS, as everybody who receives from them does.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError
from standardwebhooks.webhooks import EmptyWebhookSecretError

from runtime.problems import Problem
from runtime.triggers import SOURCE, WEBHOOK

MAX_ID = 255
MIN_SECRET = 8  # characters of a secret that is not Standard Webhooks'
GITHUB, JIRA, GRAFANA, ALERTMANAGER = "github", "jira", "grafana", "alertmanager"
_ID = re.compile(rf"[!-~](?:[ -~]{{0,{MAX_ID - 2}}}[!-~])?")
_TIMESTAMP = re.compile(r"[1-9][0-9]{0,11}")
_V1 = re.compile(r"v1,[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")  # 32 bytes as Base64 writes them, and in no other way

Headers = Mapping[str, str]
Verify = Callable[[Headers, bytes], str]


class Signatures:
    """`secret` (WEBHOOK_SECRET) holds for /api/webhooks, and for sources with Standard Webhooks and no secret of their
    own: with any other scheme it would be given away to a sender that sends it along (grafana), or mean another key.
    `secrets` (WEBHOOK_SECRETS) are those of each source. What they hold has been checked (`check_secret`).
    """

    def __init__(self, secret: str | None, secrets: Mapping[str, Sequence[str]]) -> None:
        self._schemes = {source: _scheme(source, given) for source, given in secrets.items() if given}
        shared = (secret or "").split()
        self._shared = _StandardWebhooks(shared) if shared else None

    def knows(self, source: str) -> bool:
        """Whether a source has secrets of its own."""
        return source in self._schemes

    def verify(self, source: str, headers: Headers, body: bytes) -> str:
        """The delivery's id. `headers` have lower-case names. Raises a Problem: 401, or 422 for an id that is none."""
        scheme = self._schemes.get(source)
        if scheme is None:
            scheme = self._shared if _is_standard(source) else None
            if scheme is None:
                setting = "WEBHOOK_SECRET is not set" if source == WEBHOOK else f"{source} has none in WEBHOOK_SECRETS"
                raise Problem(401, f"deliveries are refused without a secret: {setting}")
        delivery_id = scheme(headers, body)
        if not _ID.fullmatch(delivery_id):
            raise Problem(422, f"the delivery's id must be 1 to {MAX_ID} printable ASCII characters", field="id")
        return delivery_id


def check_secret(source: str, secret: str) -> None:
    """Raises ValueError, which does not quote the secret, when it could not verify anything."""
    if not SOURCE.fullmatch(source):
        raise ValueError(f"{source!r} is no source: use a-z, 0-9, - and _")
    if _is_standard(source):
        try:
            Webhook(secret)
        except (ValueError, EmptyWebhookSecretError):
            raise ValueError("write it as whsec_ and base64") from None
    elif len(secret) < MIN_SECRET or not secret.isascii() or not secret.isprintable():
        raise ValueError(f"use {MIN_SECRET} or more printable ASCII characters")


def secrets_of(given: Any) -> dict[str, list[str]]:
    """JSON or an object: of each source one secret, several separated by spaces, or a list. Raises ValueError."""
    try:
        found = json.loads(given) if isinstance(given, str) else given
        secrets = {
            source: " ".join([its] if isinstance(its, str) else its).split() for source, its in dict(found).items()
        }
    except (ValueError, TypeError):
        raise ValueError('write it as JSON: {"github": "secret", "grafana": ["new", "old"]}') from None
    for source, its in secrets.items():
        if not its:
            raise ValueError(f"{source} has no secret")
        for secret in its:
            try:
                check_secret(source, secret)
            except ValueError as error:
                raise ValueError(f"{source}: {error}") from None
    return secrets


def _is_standard(source: str) -> bool:
    return source not in (GITHUB, JIRA, GRAFANA, ALERTMANAGER)


def _scheme(source: str, secrets: Sequence[str]) -> Verify:
    if source == GITHUB:
        return _BodySignature(secrets, "x-hub-signature-256", "x-github-delivery")
    if source == JIRA:
        return _BodySignature(secrets, "x-hub-signature", "x-atlassian-webhook-identifier")
    return _StandardWebhooks(secrets) if _is_standard(source) else _Credentials(secrets)


class _StandardWebhooks:
    """standardwebhooks.com, by its library, which is given only what is written in the one canonical way."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._webhooks = [Webhook(secret) for secret in secrets]

    def __call__(self, headers: Headers, body: bytes) -> str:
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        delivery_id, timestamp, signature = (headers.get(name, "") for name in names)
        if not (delivery_id and timestamp and signature):
            raise Problem(401, "webhook-id, webhook-timestamp and webhook-signature are needed")
        if not _TIMESTAMP.fullmatch(timestamp):
            raise Problem(401, "webhook-timestamp is not a time in seconds")
        given = " ".join(one for one in signature.split(" ") if _V1.fullmatch(one))
        if not given:
            raise Problem(401, "webhook-signature is not of the form v1,<base64>")
        signed = dict(zip(names, (delivery_id, timestamp, given), strict=True))
        for webhook in self._webhooks:
            try:
                webhook.verify(body, signed, json_parse=False)
                return delivery_id
            except UnicodeDecodeError as error:
                raise Problem(400, f"the body is not UTF-8: byte {error.start}") from error
            except WebhookVerificationError as error:
                why = str(error).lower()
        raise Problem(401, f"the signature does not hold: {why}")


class _BodySignature:
    """`sha256=<hex>` over the body."""

    def __init__(self, secrets: Sequence[str], header: str, id_header: str) -> None:
        self._keys = [secret.encode() for secret in secrets]
        self._header = header
        self._id_header = id_header

    def __call__(self, headers: Headers, body: bytes) -> str:
        given = headers.get(self._header, "").encode()
        if not given:
            raise Problem(401, f"{self._header} is needed")
        expected = [b"sha256=" + hmac.digest(key, body, "sha256").hex().encode() for key in self._keys]
        if not _is_one_of(given, expected):
            raise Problem(401, f"the signature does not hold: {self._header} is not of this body and secret")
        return headers.get(self._id_header) or hash_of(body)


class _Credentials:
    """A secret that is sent along. It proves the sender, not the body."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._expected = [
            b"basic " + base64.b64encode(secret.encode()) if ":" in secret else b"bearer " + secret.encode()
            for secret in secrets
        ]

    def __call__(self, headers: Headers, body: bytes) -> str:
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        if not credentials:
            raise Problem(401, "an authorization header, bearer or basic, is needed")
        if not _is_one_of(f"{scheme.lower()} {credentials}".encode(), self._expected):
            raise Problem(401, "the credentials in the authorization header do not hold")
        return hash_of(body)


def _is_one_of(given: bytes, expected: Sequence[bytes]) -> bool:
    """Compares with all, so that the time does not say which."""
    return any([hmac.compare_digest(given, one) for one in expected])


def hash_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
