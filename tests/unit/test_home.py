"""STACK_HOME: what it generates, keeps and refuses."""

import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.home import Home


def test_secrets_are_made_once_and_are_for_the_owner_only(tmp_path: Path) -> None:
    first = Home.open(tmp_path / "home")
    again = Home.open(tmp_path / "home")
    assert first.secrets == again.secrets
    assert stat.S_IMODE((tmp_path / "home" / "secrets.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700
    assert Home.open(tmp_path / "other").secrets.postgres != first.secrets.postgres


def test_commands_that_open_a_new_home_at_once_have_the_same_secrets(tmp_path: Path) -> None:
    for number in range(20):
        with ThreadPoolExecutor(8) as pool:
            homes = list(pool.map(Home.open, [tmp_path / str(number)] * 8))
        assert len({home.secrets for home in homes}) == 1
        assert homes[0].secrets == Home.open(homes[0].path).secrets


def test_phoenix_accepts_its_secrets(tmp_path: Path) -> None:
    """Its rule: 32 characters or more, among them a digit and a lower case letter, and the two differ."""
    secrets = Home.open(tmp_path).secrets
    for secret in (secrets.phoenix_secret, secrets.phoenix_api_key):
        assert len(secret) >= 32 and re.search(r"\d", secret) and re.search(r"[a-z]", secret)
    assert secrets.phoenix_secret != secrets.phoenix_api_key


def test_a_secret_that_is_new_in_this_version_is_added(tmp_path: Path) -> None:
    old = Home.open(tmp_path).secrets
    (tmp_path / "secrets.json").write_text('{"postgres": "kept", "gone": "ignored"}')
    new = Home.open(tmp_path).secrets
    assert new.postgres == "kept"
    assert new.clickhouse not in ("", old.clickhouse)
    assert Home.open(tmp_path).secrets == new


def test_the_state_is_read_back(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    home.state.ports["runtime"] = 1234
    home.state.mode, home.state.mode_reason = "direct", "because"
    home.save()
    again = Home.open(tmp_path)
    assert again.runtime_url == "http://127.0.0.1:1234"
    assert (again.mode, again.state.mode_reason) == ("direct", "because")


def test_the_environment_names_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK_HOME", str(tmp_path / "elsewhere"))
    assert Home.open().path == tmp_path / "elsewhere"


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    Home.open(tmp_path)
    (tmp_path / "secrets.json").write_text("{")
    with pytest.raises(StackError, match=r"secrets\.json is damaged"):
        Home.open(tmp_path)
