"""The directory is watched: what has settled is loaded, soon, however it came to be there."""

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from watchdog.observers import inotify

from runtime import watcher
from runtime.registry import Registry
from runtime.watcher import Watcher
from tests.unit.test_loader import agent

SOON = 20.0  # seconds; a third of one on a machine that has nothing else to do
LATER = 60.0  # seconds until the next look that nothing asked for: in most tests inotify must see what happens


class Watched:
    def __init__(self, directory: Path) -> None:
        self.registry = Registry(directory)
        self.loads = 0
        self.registry.reload()
        load = self.registry.reload

        def counted() -> Any:
            self.loads += 1
            return load()

        self.registry.reload = counted  # type: ignore[method-assign]
        self.watcher = Watcher(self.registry)
        self.watcher.start()
        wait(lambda: self.watcher._watched, SOON)

    def description(self, id: str = "one") -> str | None:
        found = self.registry.components.get(id)
        return found.value.description if found else None

    def shows(self, description: str | None, seconds: float = SOON, id: str = "one") -> float:
        return wait(lambda: self.description(id) == description, seconds)


def wait(condition: Callable[[], Any], seconds: float) -> float:
    """Seconds until it was true."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.01)
    return time.monotonic() - began


@pytest.fixture
def polling(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    return lambda seconds: monkeypatch.setattr(watcher, "POLL_SECONDS", seconds)


@pytest.fixture
def watch(polling: Callable[[float], None]) -> Iterator[Callable[[Path], Watched]]:
    made: list[Watched] = []
    polling(LATER)

    def watch(directory: Path) -> Watched:
        made.append(Watched(directory))
        return made[-1]

    yield watch
    for watched in made:
        watched.watcher.stop()
    assert not [thread.name for thread in threading.enumerate() if "watch" in thread.name.lower()]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "agents"
    path.mkdir()
    (path / "one.py").write_text(agent("one", description="0"))
    return path


def test_a_save_is_served_soon(watch: Any, directory: Path) -> None:
    watched = watch(directory)
    for n in range(1, 4):
        (directory / "one.py").write_text(agent("one", description=str(n)))
        watched.shows(str(n))
    assert watched.loads == 3


def test_files_come_and_go_and_directories_with_them(watch: Any, directory: Path) -> None:
    watched = watch(directory)
    (directory / "desk").mkdir()
    (directory / "desk" / "__init__.py").write_text("from .inner import inner\n")
    (directory / "desk" / "inner.py").write_text(agent("inner", description="a"))
    watched.shows("a", id="inner")
    (directory / "desk" / "inner.py").write_text(agent("inner", description="b"))
    watched.shows("b", id="inner")
    shutil.rmtree(directory / "desk")
    watched.shows(None, id="inner")
    (directory / "one.py").unlink()
    watched.shows(None)


def test_an_editor_s_rename_over_the_file(watch: Any, directory: Path) -> None:
    watched = watch(directory)
    temporary = directory / ".one.py.swp"
    temporary.write_text(agent("one", description="renamed"))
    os.replace(temporary, directory / "one.py")
    watched.shows("renamed")


def test_half_a_write_is_not_loaded_when_the_other_half_follows(
    watch: Any, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "QUIET_SECONDS", 1.0)  # a busy machine may stop a writer for a while
    monkeypatch.setattr(watcher, "LONGEST_SECONDS", 10.0)
    watched = watch(directory)
    text = agent("one", description="whole")
    with (directory / "one.py").open("w") as file:
        for n in range(0, len(text), 40):
            file.write(text[n : n + 40])
            file.flush()
            time.sleep(0.1)
    watched.shows("whole")
    assert watched.loads == 1 and watched.registry.errors == {}


def test_writing_that_never_ends_is_loaded_all_the_same(watch: Any, directory: Path) -> None:
    watched = watch(directory)
    (directory / "one.py").write_text(agent("one", description="new"))
    end = time.monotonic() + 3.5
    while time.monotonic() < end and watched.description() != "new":
        (directory / "noise.txt").write_text(str(time.monotonic_ns()))
        time.sleep(0.05)
    assert watched.description() == "new"


def test_what_nobody_loads_is_nobody_s_business(watch: Any, directory: Path) -> None:
    watched = watch(directory)
    (directory / "__pycache__").mkdir()
    for name in (".one.py.swp", "one.py~", "4913", "#one.py#", "data.db", "__pycache__/one.pyc", "one.pyc", ".git"):
        (directory / name).write_text("x")
    time.sleep(1.5)
    assert watched.loads == 0


def test_the_directory_is_removed_and_made_again(watch: Any, directory: Path) -> None:
    watched = watch(directory)
    shutil.rmtree(directory)
    time.sleep(0.5)
    assert watched.description() == "0"
    directory.mkdir()
    (directory / "one.py").write_text(agent("one", description="back"))
    watched.shows("back")


@pytest.mark.parametrize("layout", ["{root}/agents", "{root}/current/agents", "{root}/current/deep/agents"])
def test_git_sync_exchanges_a_link(watch: Any, tmp_path: Path, layout: str) -> None:
    """As git-sync 4 does it: a new worktree, a new link renamed over the old one, the old worktree removed."""
    agents = Path(layout.format(root=tmp_path))
    link = tmp_path / agents.relative_to(tmp_path).parts[0]
    inner = agents.relative_to(link)
    swap(link, inner, "0")
    watched = watch(agents)
    assert watched.description() == "0"
    for n in range(1, 6):
        swap(link, inner, str(n))
        watched.shows(str(n))
    assert watched.registry.errors == {}


def swap(link: Path, inner: Path, version: str) -> None:
    worktrees = link.parent / ".worktrees"
    old = os.readlink(link) if link.is_symlink() else None
    new = worktrees / f"{int(version):040x}"
    (new / inner).mkdir(parents=True)
    (new / inner / "one.py").write_text(agent("one", description=version))
    temporary = link.parent / "tmp-link"
    temporary.symlink_to(new.relative_to(link.parent))
    os.rename(temporary, link)
    if old is not None:
        shutil.rmtree(link.parent / old)


def test_without_inotify_a_look_is_taken_once_a_second(
    watch: Any,
    directory: Path,
    polling: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    polling(1.0)

    def full(*_: Any) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(inotify.InotifyEmitter, "on_thread_start", full)
    with caplog.at_level(logging.WARNING):
        watched = watch(directory)
        (directory / "one.py").write_text(agent("one", description="seen"))
        watched.shows("seen", SOON)
    assert "inotify watch limit reached" in caplog.text and "once a second" in caplog.text


def test_a_watcher_that_dies_says_so_and_another_one_goes_on(
    watch: Any, directory: Path, polling: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    polling(1.0)
    watched = watch(directory)
    wait(lambda: watched.watcher._observer, SOON)
    with caplog.at_level(logging.WARNING):
        for emitter in watched.watcher._observer.emitters:
            emitter.stop()
        wait(lambda: "died" in caplog.text, SOON)
        (directory / "one.py").write_text(agent("one", description="seen"))
        watched.shows("seen", SOON)
    assert caplog.text.count("died") == 1


def test_a_reload_that_fails_is_tried_again(watch: Any, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "RETRY_SECONDS", 0.1)
    watched = watch(directory)
    load = watched.registry._loader.load
    logging.getLogger("runtime.watcher").setLevel(logging.CRITICAL)
    monkeypatch.setattr(watched.registry._loader, "load", lambda: 1 / 0)
    (directory / "one.py").write_text(agent("one", description="found"))
    wait(lambda: watched.loads == 2, SOON)
    monkeypatch.setattr(watched.registry._loader, "load", load)
    watched.shows("found")
    logging.getLogger("runtime.watcher").setLevel(logging.NOTSET)
