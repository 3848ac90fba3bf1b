"""Which ports the services get."""

import socket
from collections.abc import Iterator

import pytest

from stack import ports
from stack.errors import StackError
from stack.settings import Settings


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ports.DEFAULTS:
        monkeypatch.delenv(f"STACK_{name.upper()}_PORT", raising=False)


@pytest.fixture
def busy() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_the_defaults_when_they_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: True)
    assert ports.choose(Settings(), {}) == ports.DEFAULTS


def test_a_default_that_is_taken_is_replaced(monkeypatch: pytest.MonkeyPatch, busy: int) -> None:
    monkeypatch.setattr(ports, "DEFAULTS", {**ports.DEFAULTS, "runtime": busy})
    chosen = ports.choose(Settings(), {})
    assert chosen["runtime"] != busy
    assert ports.is_free(chosen["runtime"])


def test_a_replacement_is_kept_for_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: port != 7777)
    first = ports.choose(Settings(), {})
    assert ports.choose(Settings(), first)["runtime"] == first["runtime"]


def test_a_busy_port_that_the_user_set_is_an_error_with_its_holder(monkeypatch: pytest.MonkeyPatch, busy: int) -> None:
    monkeypatch.setenv("STACK_POSTGRES_PORT", str(busy))
    with pytest.raises(StackError, match=f"port {busy} \\(STACK_POSTGRES_PORT\\) is held by process \\d+") as error:
        ports.choose(Settings(), {})
    assert "STACK_POSTGRES_PORT" in error.value.hint


def test_no_port_is_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: True)
    monkeypatch.setenv("STACK_PHOENIX_PORT", "7777")  # the runtime's default
    chosen = ports.choose(Settings(), {})
    assert chosen["phoenix"] == 7777
    assert len(set(chosen.values())) == len(chosen)
    monkeypatch.setenv("STACK_RUNTIME_PORT", "7777")
    with pytest.raises(StackError, match="set twice"):
        ports.choose(Settings(), {})


def test_zero_means_any_free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK_RUNTIME_PORT", "0")
    assert ports.choose(Settings(), {})["runtime"] not in (0, 7777)
