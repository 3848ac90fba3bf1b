"""Secrets that are files, and addresses that get their passwords from there."""

import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError
from sqlalchemy import make_url

from dashboards.viewer.settings import Settings as ViewerSettings
from runtime.settings import Settings
from telemetry.clickhouse.settings import Settings as ClickHouse
from telemetry.configuration import complaints, export_secrets, with_password


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)  # where no .env is
    for name in ("DATABASE_URL", "CLICKHOUSE_URL", "OPENAI_API_KEY", "OS_SECURITY_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_setting_may_be_a_file(secrets: Path) -> None:
    (secrets / "os_security_key").write_text("open sesame\n")
    (secrets / "webhook_secrets").write_text('{"grafana": "long-enough"}')
    found = Settings()
    assert found.os_security_key == "open sesame" and found.is_protected
    assert found.webhook_secrets == {"grafana": ["long-enough"]}


def test_the_environment_wins_over_the_file(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (secrets / "os_security_key").write_text("from the file")
    monkeypatch.setenv("OS_SECURITY_KEY", "from the environment")
    assert Settings().os_security_key == "from the environment"


def test_an_empty_file_is_not_set(secrets: Path) -> None:
    (secrets / "os_security_key").touch()
    assert Settings().os_security_key is None


def test_files_may_be_links_as_kubernetes_makes_them(secrets: Path) -> None:
    (secrets / "..2026_11_22").mkdir()
    (secrets / "..2026_11_22" / "os_security_key").write_text("linked")
    (secrets / "..data").symlink_to("..2026_11_22")
    (secrets / "os_security_key").symlink_to("..data/os_security_key")
    (secrets / "kubernetes.io").mkdir()
    assert Settings().os_security_key == "linked"


def test_without_the_directory_there_are_no_secrets(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRETS_DIR", str(secrets / "nowhere"))
    export_secrets()
    assert Settings().os_security_key is None


def test_addresses_get_their_passwords(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("database_password", "clickhouse_password", "clickhouse_readonly_password"):
        (secrets / name).write_text(f"{name}/@:")
    monkeypatch.setenv("DATABASE_URL", "postgresql://agents@postgres:5432/agents")
    monkeypatch.setenv("CLICKHOUSE_URL", "http://otel@clickhouse:8123/otel")
    monkeypatch.setenv("CLICKHOUSE_READONLY_URL", "http://readonly@clickhouse:8123/otel")
    found = Settings()
    assert make_url(found.database_url).password == "database_password/@:"
    assert found.clickhouse_url == "http://otel:clickhouse_password%2F%40%3A@clickhouse:8123/otel"
    readonly = "http://readonly:clickhouse_readonly_password%2F%40%3A@clickhouse:8123/otel"
    assert found.clickhouse_readonly_url == readonly == ViewerSettings().clickhouse_readonly_url
    assert ClickHouse().clickhouse_url == found.clickhouse_url


@pytest.mark.parametrize(
    "url", ["postgresql://agents:own@[::1]:5432/agents", "postgresql://agents:@db/agents", "http://host:8123/otel"]
)
def test_an_address_with_a_password_or_without_a_user_stays(url: str) -> None:
    assert with_password(url, "other") == url


def test_an_address_keeps_what_else_it_says() -> None:
    parts = urlsplit(with_password("postgresql://agents@[::1]:5432/agents?sslmode=require", "p"))
    assert (parts.username, parts.password, parts.hostname, parts.port) == ("agents", "p", "::1", 5432)
    assert (parts.path, parts.query) == ("/agents", "sslmode=require")
    assert with_password("http://otel@host/otel", None) == "http://otel@host/otel"


def test_an_address_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://agents@[::1/agents")
    with pytest.raises(ValidationError) as error:
        Settings()
    assert complaints(error.value) == ["DATABASE_URL: Invalid IPv6 URL"]


def test_files_in_capitals_are_variables_for_everybody(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents and libraries read them from the environment."""
    (secrets / "OPENAI_API_KEY").write_text("sk-1\n")
    (secrets / "ANTHROPIC_API_KEY").touch()
    (secrets / "OTEL_EXPORTER_OTLP_HEADERS").write_text("of the file")
    (secrets / "os_security_key").write_text("not for everybody")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "of the environment")
    before = dict(os.environ)
    export_secrets()
    try:
        assert {n: v for n, v in os.environ.items() if before.get(n) != v} == {"OPENAI_API_KEY": "sk-1"}
        assert Settings().openai_api_key == "sk-1"
    finally:
        os.environ.pop("OPENAI_API_KEY")
