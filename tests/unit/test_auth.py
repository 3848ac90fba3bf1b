"""Settings that would leave a server open, or closed to all."""

from pathlib import Path

import pytest
from agno.os.scopes import get_required_scopes_for_route
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from runtime.__main__ import _is_loopback
from runtime.auth import SCOPES
from runtime.settings import Settings


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("a.host.example", False),
    ],
)
def test_only_loopback_may_go_unprotected(host: str, expected: bool) -> None:
    assert _is_loopback(host) is expected


@pytest.mark.parametrize("key", ["a-secret", "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----"])
def test_a_key_that_verifies_nothing_is_told_without_showing_it(key: str) -> None:
    with pytest.raises(ValidationError, match="PEM") as told:
        Settings(jwt_verification_key=key, _env_file=None)
    assert key not in str(told.value.errors(include_input=False))


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"keys": []}', '{"keys": [{"kty": "RSA"}]}', "x"])
def test_a_file_without_keys_is_told(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "jwks.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValidationError, match="no keys can be read"):
        Settings(jwt_jwks_file=str(path), _env_file=None)


def test_a_key_or_tokens_protect() -> None:
    public = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    by_token, by_key = (
        Settings(jwt_verification_key=pem, _env_file=None),
        Settings(os_security_key="k", _env_file=None),
    )
    assert by_token.is_protected and by_token.uses_tokens
    assert by_key.is_protected and not by_key.uses_tokens
    assert not Settings(_env_file=None).is_protected


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/api/metrics", "metrics:read"),
        ("GET", "/api/runs/a/b", "sessions:read"),
        ("GET", "/api/added/later", "agent_os:admin"),
        ("POST", "/api/metrics", "agent_os:admin"),
        ("PUT", "/admin/anything", "agent_os:admin"),
    ],
)
def test_no_path_of_ours_goes_without_a_scope(method: str, path: str, scope: str) -> None:
    assert get_required_scopes_for_route(SCOPES, method, path) == [scope]
