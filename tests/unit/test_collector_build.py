"""Where the collector's binary comes from."""

import stat
from pathlib import Path

import pytest

from stack import collector_build
from stack.errors import StackError
from stack.settings import Settings

ACCEPTS = "#!/bin/sh\nexit 0\n"
REFUSES = "#!/bin/sh\necho 'unknown type: tail_sampling' >&2\nexit 1\n"


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No collector, no Go, no uv, an empty cache."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("STACK_COLLECTOR", "UV"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_the_named_one_comes_first(empty_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(empty_machine / "bin" / "otelcol-contrib", ACCEPTS)
    named = program(empty_machine / "mine", ACCEPTS)
    monkeypatch.setenv("STACK_COLLECTOR", str(named))
    assert collector_build.find(Settings()) == named


def test_a_named_one_that_does_not_accept_our_configuration_is_an_error(
    empty_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STACK_COLLECTOR", str(program(empty_machine / "mine", REFUSES)))
    with pytest.raises(StackError, match=r"STACK_COLLECTOR: .* unknown type: tail_sampling"):
        collector_build.find(Settings())


def test_then_the_path_then_the_cache(empty_machine: Path) -> None:
    cached = program(collector_build.cached(), ACCEPTS)
    assert collector_build.find(Settings()) == cached
    on_path = program(empty_machine / "bin" / "otelcol-contrib", ACCEPTS)
    assert collector_build.find(Settings()) == on_path


def test_an_old_one_on_the_path_is_passed_over(empty_machine: Path) -> None:
    program(empty_machine / "bin" / "otelcol-contrib", REFUSES)
    assert collector_build.find(Settings()) is None
    cached = program(collector_build.cached(), ACCEPTS)
    assert collector_build.find(Settings()) == cached


def test_without_go_and_uv_the_reason_is_said(empty_machine: Path) -> None:
    with pytest.raises(StackError, match=r"no Go >= 1\.25 on the PATH and no uv") as error:
        collector_build.find_or_build(Settings(), print, empty_machine / "build.log")
    assert "STACK_COLLECTOR" in error.value.hint


def test_an_old_go_is_not_used(empty_machine: Path) -> None:
    go = program(empty_machine / "bin" / "go", "#!/bin/sh\necho go1.19.8\n")
    assert collector_build.go_version(go) == (1, 19)
    assert collector_build.find_go() is None


def test_a_build_lands_in_the_cache_and_happens_once(empty_machine: Path) -> None:
    """Go is a script here that makes what the manifest asks for; the real build is the integration tests' affair."""
    manifest = '$(/bin/sed -n "s/.*output_path: \\([^ ]*\\).*/\\1/p" "$4")'
    build = (
        "#!/bin/sh\n"
        'if [ "$1" = env ]; then echo go1.26.1; exit; fi\n'
        f"out={manifest}\n"
        "echo go: downloading example.com/module v1.0.0\n"
        '/bin/mkdir -p "$out"\n'
        "printf '#!/bin/sh\\nexit 0\\n' > \"$out/otelcol-contrib\"\n"
        '/bin/chmod +x "$out/otelcol-contrib"\n'
        "/bin/sleep 0.7\n"
    )
    go = program(empty_machine / "bin" / "go", build)
    lines: list[str] = []
    built = collector_build.find_or_build(Settings(), lines.append, empty_machine / "build.log")
    assert built == collector_build.cached()
    assert "downloading module" in lines
    assert [path.name for path in built.parent.iterdir()] == ["otelcol-contrib"], "nothing else is left"
    go.unlink()
    assert collector_build.find_or_build(Settings(), lines.append, empty_machine / "build.log") == built


def test_a_failed_build_says_the_last_line_and_where_the_rest_is(empty_machine: Path) -> None:
    script = "#!/bin/sh\nif [ $1 = env ]; then echo go1.26.1; exit; fi\necho no route to the proxy >&2\nexit 1\n"
    program(empty_machine / "bin" / "go", script)
    log = empty_machine / "build.log"
    with pytest.raises(StackError, match="build of the collector failed: no route to the proxy") as error:
        collector_build.find_or_build(Settings(), print, log)
    assert str(log) in error.value.hint
    assert collector_build.find(Settings()) is None
