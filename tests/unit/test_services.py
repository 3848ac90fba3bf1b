"""What the services are started with."""

import json
from pathlib import Path

import pytest

from stack.home import Home
from stack.services import SERVICES


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home.open(tmp_path)
    home.state.collector = "/opt/otelcol-contrib"
    return home


def test_foreign_variables_configure_no_service(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOENIX_SQL_DATABASE_URL", "postgresql://elsewhere")
    monkeypatch.setenv("PGDATA", "/elsewhere")
    phoenix = SERVICES["phoenix"].command(home).full_environment()
    assert "PHOENIX_SQL_DATABASE_URL" not in phoenix
    assert "PGDATA" not in SERVICES["postgres"].command(home).full_environment()


def test_the_users_model_reaches_the_runtime(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL", "openai:gpt-5")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere")
    environment = SERVICES["runtime"].command(home).full_environment()
    assert environment["MODEL"] == "openai:gpt-5"
    assert environment["OTEL_SERVICE_NAME"] == "mine"
    assert environment["DATABASE_URL"] == home.database_url


def test_without_phoenix_the_runtime_does_not_know_of_it(home: Home) -> None:
    assert "PHOENIX_URL" in SERVICES["runtime"].command(home).environment
    home.state.phoenix = False
    assert "PHOENIX_URL" not in SERVICES["runtime"].command(home).environment


def test_the_users_sampling_reaches_the_collector(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOENIX_SLOW_MS", "500")
    monkeypatch.setenv("PHOENIX_ENDPOINT", "http://elsewhere")
    environment = SERVICES["collector"].command(home).full_environment()
    assert environment["PHOENIX_SLOW_MS"] == "500"
    assert environment["PHOENIX_ENDPOINT"] == home.phoenix_url


def test_no_secret_is_an_argument(home: Home) -> None:
    for service in SERVICES.values():
        arguments = " ".join(service.command(home).argv)
        assert not any(secret in arguments for secret in vars(home.secrets).values()), service.name


def test_phoenix_is_locked_and_silent(home: Home) -> None:
    environment = SERVICES["phoenix"].command(home).environment
    assert environment["PHOENIX_ENABLE_AUTH"] == "true"
    assert environment["PHOENIX_TELEMETRY_ENABLED"] == "false"
    assert environment["PHOENIX_DISABLE_AGENT_ASSISTANT"] == "true"


def test_agents_look_at_the_telemetry_as_a_user_who_can_only_read(home: Home) -> None:
    environment = SERVICES["runtime"].command(home).full_environment()
    assert environment["CLICKHOUSE_READONLY_URL"] == home.clickhouse_readonly_url
    assert home.clickhouse_readonly_url.startswith("http://readonly:")


def test_the_stacks_alerts_are_let_in_beside_the_users_sources(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def both() -> tuple[dict[str, str], dict[str, list[str] | str]]:
        page = SERVICES["dashboards"].command(home).full_environment()
        runtime = SERVICES["runtime"].command(home).full_environment()
        return page, json.loads(runtime["WEBHOOK_SECRETS"])

    page, secrets = both()
    assert page["ALERT_WEBHOOK_URL"] == f"{home.runtime_url}/api/sources/alertmanager"
    ours = page["ALERT_WEBHOOK_SECRET"]
    assert secrets == {"alertmanager": [ours], "grafana": [ours]}
    monkeypatch.setenv("WEBHOOK_SECRETS", '{"github": "12345678", "alertmanager": "abcdefgh ijklmnop"}')
    page, secrets = both()
    assert secrets == {"github": "12345678", "alertmanager": ["abcdefgh", "ijklmnop", ours], "grafana": [ours]}
    for wrong in ("{", "[1]", '{"alertmanager": 5}'):
        monkeypatch.setenv("WEBHOOK_SECRETS", wrong)
        assert SERVICES["runtime"].command(home).environment["WEBHOOK_SECRETS"] == wrong  # the runtime says why


def test_another_receiver_of_alerts_does_not_get_our_secret(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_WEBHOOK_URL", "https://alerts.example/")
    page = SERVICES["dashboards"].command(home).full_environment()
    assert page["ALERT_WEBHOOK_URL"] == "https://alerts.example/"
    assert home.secrets.alerts not in page.values()


def test_the_page_reads_as_the_user_that_may_only_read(home: Home) -> None:
    page = SERVICES["dashboards"].command(home).full_environment()
    assert page["CLICKHOUSE_READONLY_URL"] == home.clickhouse_readonly_url
    assert not {home.secrets.clickhouse, home.secrets.postgres} & {*page.values()}
    assert home.clickhouse_url not in page.values()
