"""Every setting is documented, and told when it is wrong."""

from pathlib import Path

import pytest
from dotenv import dotenv_values
from pydantic import ValidationError

from runtime.settings import Settings
from telemetry.clickhouse.settings import Settings as ClickHouse

FIELDS = ClickHouse.model_fields | Settings.model_fields
EXAMPLE = Path(__file__).parents[2] / ".env.example"


def listed() -> dict[str, str]:
    """Name and value of each setting in .env.example, also of those that are commented out."""
    settings = {}
    for line in EXAMPLE.read_text().splitlines():
        name, separator, value = line.removeprefix("#").partition("=")
        if separator and name.isupper() and " " not in name:
            settings[name] = value
    return settings


def test_the_example_lists_exactly_the_settings() -> None:
    assert len(listed()) == len(FIELDS) and set(listed()) == {name.upper() for name in FIELDS}
    for each in (Settings, ClickHouse):
        own = [name.upper() for name in each.model_fields]
        assert [name for name in listed() if name in own] == own, "in their order"


def test_the_example_shows_the_defaults() -> None:
    for name, value in listed().items():
        default = FIELDS[name.lower()].default
        assert value == ("" if default is None else str(default)), name


def test_the_example_can_be_used_as_it_is(tmp_path: Path) -> None:
    dotenv_values(EXAMPLE)
    assert Settings(_env_file=EXAMPLE) == Settings(_env_file=None)
    everything = tmp_path / ".env"
    everything.write_text("\n".join(f"{name}={value}" for name, value in listed().items()))
    assert Settings(_env_file=everything) == Settings(_env_file=None)


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in FIELDS.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook_secret", "whsec_!"),
        ("webhook_secret", "whsec_"),
        ("webhook_max_bytes", "0"),
        ("runtime_port", "70000"),
        ("telemetry_mode", "loud"),
        ("telemetry_prices", "/nowhere.toml"),
        ("clickhouse_url", "https://h/otel?ca_cert=/nowhere.pem"),
        ("clickhouse_readonly_url", "tcp://h/otel"),
    ],
)
def test_what_cannot_work_is_told(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name.upper(), value)
    with pytest.raises(ValidationError, match=name):
        Settings(_env_file=None)


def test_what_protects() -> None:
    assert not Settings(_env_file=None).is_protected
    assert Settings(_env_file=None, os_security_key="k").is_protected


@pytest.mark.parametrize(
    ("name", "value"),
    [("clickhouse_retention_days", "0"), ("clickhouse_rollup_days", "4000"), ("clickhouse_cluster", "a b")],
)
def test_what_clickhouse_cannot_be_told_is_told(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name.upper(), value)
    with pytest.raises(ValidationError, match=name):
        ClickHouse(_env_file=None)
