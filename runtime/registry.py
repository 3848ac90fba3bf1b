"""What is served now: agents, teams, workflows and triggers, here and in AgentOS; replaced at once by a reload."""

import asyncio
import copy
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agno.agent import Agent
from agno.os import AgentOS
from agno.team import Team

from runtime.components import KINDS, Component
from runtime.loader import Failure, File, Loaded, Loader
from runtime.sources import Snapshot, snapshot
from runtime.triggers import Trigger
from telemetry.metrics import Instruments

log = logging.getLogger(__name__)

BUSY_SECONDS = 30.0  # how long a reload waits for another
PUBLISH_SECONDS = 30.0  # how long a reload waits for the event loop


@dataclass(frozen=True)
class Reload:
    """What one changed: ids, sorted; and all errors that there are now, by file."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    errors: Mapping[Path, Failure] = field(default_factory=dict)
    seconds: float = 0.0


class LiveAgentOS(AgentOS):
    """An AgentOS whose routers see the agents and teams of now: some are given `_agents` once, as they are made."""

    @property
    def _agents(self) -> list[Agent]:
        return self.agents  # type: ignore[return-value]  # all of ours are Agents

    @property
    def _teams(self) -> list[Team]:
        return self.teams  # type: ignore[return-value]


class Registry:
    """`publish_to` an AgentOS, `reload`, and from then on read from any thread. `instruments` comes with telemetry."""

    def __init__(self, directory: Path) -> None:
        self.directory = Path(os.path.abspath(directory))  # not resolved: a link may lead elsewhere tomorrow
        self.instruments: Instruments | None = None
        self.seen: Snapshot | None = None  # how the directory looked as it was last loaded
        self._loader = Loader(self.directory, self._prepare)
        self._loaded = Loaded()
        self._agent_os: AgentOS | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    @property
    def components(self) -> Mapping[str, Component]:
        return self._loaded.components

    @property
    def triggers(self) -> Mapping[str, tuple[Trigger, ...]]:
        """By source, in order of file names and lines."""
        return self._loaded.triggers

    @property
    def files(self) -> tuple[File, ...]:
        return self._loaded.files

    @property
    def errors(self) -> Mapping[Path, Failure]:
        return self._loaded.errors

    def counts(self) -> Iterator[tuple[float, dict[str, str]]]:
        """For agno.agents.loaded."""
        components = self.components.values()
        for kind in KINDS.values():
            yield sum(c.kind == kind for c in components), {"kind": kind}

    def resolve(self, kind: str, id: str) -> Any | None:
        """A copy for one run, which goes on with it whatever is reloaded meanwhile."""
        found = self.components.get(id)
        return found.value.deep_copy() if found is not None and found.kind == kind else None

    def publish_to(self, agent_os: AgentOS) -> None:
        """From now on what is loaded is served by it. Before its get_app()."""
        self._agent_os = agent_os

    def serve_on(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """The loop that answers requests, while it runs: reloads publish on it, in between two of their steps."""
        self._loop = loop

    def reload(self) -> Reload:
        """Loads what changed and publishes it. From any thread but the loop's own; one at a time, others wait.

        Raises TimeoutError when another one does not end, or when the event loop is blocked: then what was loaded is
        published as soon as it is not.
        """
        if not self._lock.acquire(timeout=BUSY_SECONDS):
            raise TimeoutError("another reload is under way")
        try:
            began = time.perf_counter()
            before = self._loaded
            self.seen = snapshot(self.directory)
            loaded = _in_thread(self._loader.load)
            if not _is_same(before, loaded):
                self._publish(loaded)
            self._loaded = loaded
            done = _difference(before, loaded, time.perf_counter() - began)
        except BaseException:
            self.seen = None  # who watches the directory tries again
            raise
        finally:
            self._lock.release()
        self._tell(before, done)
        return done

    def _tell(self, before: Loaded, done: Reload) -> None:
        new_errors = any(before.errors.get(path) != failure for path, failure in done.errors.items())
        changes = (done.added, done.changed, done.removed, new_errors, before.errors.keys() - done.errors.keys())
        if not any(changes) and before.triggers == self.triggers:
            return
        log.info(
            "agents reloaded in %.2f s: %d added, %d changed, %d removed, %d errors",
            done.seconds,
            len(done.added),
            len(done.changed),
            len(done.removed),
            len(done.errors),
        )
        if self.instruments is not None:
            self.instruments.agents_reloaded("error" if new_errors else "ok")

    def _prepare(self, components: Iterable[Component]) -> None:
        """Gives new components the database and the rest as AgentOS does it, on a copy that serves nobody."""
        if self._agent_os is None:
            return
        private = copy.copy(self._agent_os)
        _assign(private, {kind: [c.value for c in components if c.kind == kind] for kind in KINDS.values()})
        if self._loop is not None:
            private.mcp_tools = []  # AgentOS connects those of its start; agents connect others for each run
        private._initialize_agents()
        private._initialize_teams()
        private._initialize_workflows()

    def _publish(self, loaded: Loaded) -> None:
        """Everything is made beside what serves; then it takes one uninterrupted step of the loop to put it there.

        The catalogue, which GET /registry shows, comes a step later: agno compares each tool with each other one.
        """
        served = self._agent_os
        if served is None:
            return
        private = copy.copy(served)
        _assign(private, {kind: _of_kind(loaded, kind) for kind in KINDS.values()})
        try:
            private._auto_discover_knowledge_instances()
        except ValueError as error:
            log.error("the pages of knowledge stay as they were: %s", error)
        private._auto_discover_databases()

        def serve() -> None:
            self._loaded = loaded
            # The routers hold these very lists and dictionaries.
            for name in ("agents", "teams", "workflows", "knowledge_instances"):
                _list(served, name)[:] = _list(private, name)
            for name in ("dbs", "knowledge_dbs"):
                if hasattr(served, name):  # get_app() makes them
                    getattr(served, name).clear()
                    getattr(served, name).update(getattr(private, name))

        self._on_loop(serve)
        private.registry = None
        private._populate_registry()
        private._populate_registry_managers()
        private._populate_registry_knowledge()
        private._populate_registry_components()

        def catalogue() -> None:
            vars(served.registry).clear()
            vars(served.registry).update(vars(private.registry))

        self._on_loop(catalogue)

    def _on_loop(self, step: Callable[[], None]) -> None:
        if self._loop is None:
            step()
            return
        done: Future[None] = Future()

        def run() -> None:
            try:
                step()
                done.set_result(None)
            except BaseException as error:
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        done.result(PUBLISH_SECONDS)


def _list(agent_os: AgentOS, name: str) -> list[Any]:
    found: list[Any] = getattr(agent_os, name)
    return found


def _assign(agent_os: AgentOS, values: Mapping[str, list[Any]]) -> None:
    agent_os.agents, agent_os.teams, agent_os.workflows = values["agent"], values["team"], values["workflow"]


def _of_kind(loaded: Loaded, kind: str) -> list[Any]:
    return [c.value for c in loaded.components.values() if c.kind == kind]


def _is_same(one: Loaded, other: Loaded) -> bool:
    """The same objects in the same order; components are equal when they hold the same object."""
    pairs = zip(one.components.values(), other.components.values(), strict=False)
    same = len(one.components) == len(other.components) and all(a.value is b.value for a, b in pairs)
    return same


def _difference(before: Loaded, after: Loaded, seconds: float) -> Reload:
    old, new = before.components, after.components
    return Reload(
        added=sorted(new.keys() - old.keys()),
        changed=sorted(id for id in new.keys() & old.keys() if new[id].value is not old[id].value),
        removed=sorted(old.keys() - new.keys()),
        errors=after.errors,
        seconds=round(seconds, 4),
    )


def _in_thread(load: Callable[[], Loaded]) -> Loaded:
    """In a thread of its own, also at the start: there a KeyboardInterrupt is the file's, and signals are nobody's."""
    done: Future[Loaded] = Future()

    def run() -> None:
        try:
            done.set_result(load())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="load-agents", daemon=True).start()
    return done.result()
