"""Sees that the agents' directory changed, and reloads once what is written has settled.

Truth is a look at the directory: names, sizes, times and inodes, and where its links lead. inotify only says when to
look; without it (a network file system, no watches left) the look is taken once a second all the same.
"""

import logging
import os
import threading
import time
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from runtime.registry import Registry
from runtime.sources import SUFFIXES, Snapshot, matters, snapshot

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
QUIET_SECONDS = 0.2  # a write has settled when nothing has changed for so long
LEISURE = 20  # to look at thousands of files takes a while: at most a twentieth of a processor goes into it
RETRY_SECONDS = 5.0  # a reload that failed may succeed without a change
LONGEST_SECONDS = 2.0  # what never settles is loaded as it is
STOP_SECONDS = 5.0
_READS = ("opened", "closed_no_write")  # our own looks


class Watcher(FileSystemEventHandler):
    """Watches from `start` to `stop`, which blocks until a reload that is under way has ended, or STOP_SECONDS."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._directory = registry.directory
        self._woken = threading.Event()
        self._stopped = False
        self._observer: BaseObserver | None = None
        self._watched: frozenset[tuple[str, bool]] = frozenset()
        self._thread = threading.Thread(target=self._run, name="watch-agents", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Not on the event loop: a reload publishes there."""
        self._stopped = True
        self._woken.set()
        self._thread.join(STOP_SECONDS)

    def on_any_event(self, event: FileSystemEvent) -> None:
        """On the observer's thread: something that may matter has happened."""
        if event.event_type in _READS:
            return
        for path in (event.src_path, event.dest_path):
            name = os.path.basename(os.fsdecode(path))
            # Links and directories have any name; most else is a file that nobody loads.
            if name and matters(name) and (event.is_directory or "." not in name or name.endswith((*SUFFIXES, ".env"))):
                self._woken.set()

    def _run(self) -> None:
        while not self._stopped:
            began = time.thread_time()  # not the clock: on a busy machine a look that waits costs nothing
            try:
                self._observe()
                seen = snapshot(self._directory)
                pause = max(POLL_SECONDS, (time.thread_time() - began) * LEISURE)
                if seen != self._registry.seen and self._settles(seen):
                    self._registry.reload()
            except Exception:
                log.exception("the agents could not be reloaded; this is tried again")
                pause = RETRY_SECONDS
            self._woken.wait(pause)
            self._woken.clear()
        self._unobserve()

    def _settles(self, seen: Snapshot) -> bool:
        """Waits until nothing has changed for a while; False when the watcher is stopped meanwhile."""
        deadline = time.monotonic() + LONGEST_SECONDS
        while not self._stopped:
            time.sleep(QUIET_SECONDS)
            now = snapshot(self._directory)
            if now == seen or time.monotonic() > deadline:
                return True
            seen = now
        return False

    def _observe(self) -> None:
        """inotify on the directory, and on those in which a link on the way to it lies, or the directory itself."""
        places = _places(self._directory)
        is_dead = self._observer is not None and not all(
            part.is_alive() for part in (self._observer, *self._observer.emitters)
        )
        if places == self._watched:
            if not is_dead:
                return
            # Also when the directory was removed and made again; its own removal ends a watch.
            log.warning("the watcher of %s died; another one is started", self._directory)
        self._unobserve()
        self._watched = places
        observer = Observer()
        try:
            for place, is_recursive in sorted(places):
                observer.schedule(self, place, recursive=is_recursive)
            observer.start()
        except FileNotFoundError:  # gone again: look anew at once
            observer.unschedule_all()
            self._watched = frozenset()
            self._woken.set()
            return
        except Exception as error:  # no inotify watches or instances left
            log.warning("%s cannot be watched (%s); it is looked at once a second", self._directory, error)
            observer.unschedule_all()
            return
        self._observer = observer

    def _unobserve(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(STOP_SECONDS)
            self._observer = None


def _places(directory: Path) -> frozenset[tuple[str, bool]]:
    """(path, whether to watch below it too). git-sync exchanges a link: `agents`, or one above it such as `current`."""
    real = os.path.realpath(directory)
    places = {(real, True)} if os.path.isdir(real) else set()
    waiting, seen = [str(directory)], set()
    while waiting:
        path = waiting.pop()
        for part in [Path(path), *Path(path).parents]:
            if part.is_symlink() and str(part) not in seen:
                seen.add(str(part))
                places.add((os.path.realpath(part.parent), False))
                waiting.append(os.path.normpath(part.parent / os.readlink(part)))
    above = os.path.realpath(directory.parent)
    if os.path.isdir(above):
        places.add((above, False))  # the directory itself may be removed and made again
    return frozenset(places)
