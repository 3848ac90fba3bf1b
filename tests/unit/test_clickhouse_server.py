"""What the launcher says when it cannot start; the server itself is in tests/integration."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from stack import clickhouse_server
from stack.clickhouse_server import VERIFIED, StartError, explain, find_entry_point, read_environment


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(".")  # find_entry_point changes directory; this puts it back


def test_a_wheel_without_the_private_entry_point_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = ModuleType("chdb")
    wheel._chdb = SimpleNamespace(set_signal_handlers_enabled=lambda _: None)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "chdb", wheel)
    with pytest.raises(StartError, match=f"chdb-core 99.0 does not start a server the way {VERIFIED} does") as error:
        find_entry_point("99.0")
    assert error.value.code == 3
    assert f"Install chdb-core=={VERIFIED}" in str(error.value)


def test_an_engine_that_does_not_know_the_statement_is_a_changed_wheel() -> None:
    code, message = explain("Code: 62. DB::Exception: Syntax error: failed at position 8 (SYNTAX_ERROR)", "99.0")
    assert code == 3 and "SYNTAX_ERROR" in message and VERIFIED in message
    assert explain("Code: 243. DB::Exception: no space left", VERIFIED)[0] == 1


def test_the_pinned_wheel_is_the_verified_one() -> None:
    project = Path(clickhouse_server.__file__).parent.parent / "pyproject.toml"
    assert f'"chdb-core=={VERIFIED}"' in project.read_text()


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"CLICKHOUSE_HTTP_PORT": "x", "CLICKHOUSE_TCP_PORT": 9000}'])
def test_an_unusable_environment_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "environment.json"
    with pytest.raises(StartError, match="is missing"):
        read_environment(file)
    file.write_text(text)
    with pytest.raises(StartError, match="no usable CLICKHOUSE_HTTP_PORT and CLICKHOUSE_TCP_PORT"):
        read_environment(file)
