"""Agents, teams, workflows and triggers found in a directory, by path: the files are nobody's package.

Loading again imports what changed, and what imports it, and leaves the rest as it is. A file that cannot be loaded
keeps its last good version, a file that is gone takes its agents with it.
"""

import logging
import os
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from types import ModuleType

from dotenv import dotenv_values

from runtime.components import KINDS, Component, component
from runtime.generation import PACKAGE, Generation, forget
from runtime.sources import ENV, Node, NoDirectory, Sources, read
from runtime.triggers import Trigger
from telemetry import secrets

log = logging.getLogger(__name__)

_COLLECTED = (*KINDS, Trigger)
_OUR_NAMES = re.compile(rf"\b{PACKAGE}\d+\.?")


@dataclass(frozen=True)
class Failure:
    """Why a file is not served as it is. `where` names the file and line, when there is one."""

    message: str
    where: str | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC), compare=False)


@dataclass(frozen=True)
class Version:
    """A file as it was imported. `origins` names, by component id, the helper that it comes from, or the file."""

    fingerprint: str
    hash: str
    module: ModuleType
    components: tuple[Component, ...]
    triggers: tuple[Trigger, ...]
    origins: Mapping[str, str]
    loaded_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass
class File:
    """A file or package of agents. `hash` is of its content now, `serving` the version that serves, if one does.

    `candidate` is that content's version, when it could be imported.
    """

    path: Path
    hash: str
    serving: Version | None = None
    candidate: Version | None = None
    failure: Failure | None = None


@dataclass(frozen=True)
class Loaded:
    """What a directory holds. Agents, teams and workflows share one space of ids. Never mutated."""

    components: Mapping[str, Component] = field(default_factory=dict)
    triggers: Mapping[str, tuple[Trigger, ...]] = field(default_factory=dict)
    files: tuple[File, ...] = ()

    @property
    def errors(self) -> dict[Path, Failure]:
        return {file.path: file.failure for file in self.files if file.failure is not None}


class Loader:
    """Of an absolute path. Not thread-safe.

    `prepare` is called with the components of each file, and may raise: then the file is broken.
    """

    def __init__(self, directory: Path, prepare: Callable[[Iterable[Component]], None] = lambda _: None) -> None:
        self.directory = directory
        self._prepare = prepare
        self._files: dict[str, File] = {}
        self._modules: dict[str, tuple[str, dict[str, ModuleType]]] = {}  # by node: its fingerprint and its modules
        self._environment: dict[str, str] = {}
        self._others: dict[Path, File] = {}  # what is wrong with no file of agents

    def load(self) -> Loaded:
        """Every `*.py` and package in the directory but those that begin with `_`; its `.env` first. Does not raise.

        A file that fails to load, an id that two files use, an agent or team without a model (agno would silently take
        OpenAI), and a trigger to something that is not loaded are errors of that file. An id stays with the file that
        serves it; of two new files the first by name has it.
        """
        self._others = {}
        try:
            sources = read(self.directory)
        except NoDirectory as error:
            self._note(self.directory, str(error))
            return self._loaded({})
        self._set_environment(sources)
        nodes, fingerprints = sources.nodes, sources.fingerprints()
        kept = [modules for name, (old, modules) in self._modules.items() if fingerprints.get(name) == old]
        generation = Generation(self.directory, sources.files, {n: m for modules in kept for n, m in modules.items()})
        units = {name: node for name, node in nodes.items() if node.is_unit}
        self._files = {name: self._file(node) for name, node in units.items()}
        imported = [name for name, node in units.items() if self._import(node, sources, generation, fingerprints[name])]
        self._collect(imported, units, generation, fingerprints)
        self._settle()
        for path, why in sources.shadowed.items():
            self._note(self.directory / path, why)
        self._modules = _by_node(generation, fingerprints)
        loaded = self._loaded(nodes)
        modules = [*generation.modules.values(), *(f.serving.module for f in self._files.values() if f.serving)]
        forget(but={generation.name, *(module.__name__.partition(".")[0] for module in modules)})
        return loaded

    def _file(self, node: Node) -> File:
        file = self._files.get(node.name)
        if file is None:
            return File(self.directory / node.path, node.version)
        return File(self.directory / node.path, node.version, file.serving, file.candidate, file.failure)

    def _import(self, node: Node, sources: Sources, generation: Generation, fingerprint: str) -> bool:
        """Whether there is a module of which the components are to be collected."""
        file = self._files[node.name]
        if file.candidate is not None and file.candidate.fingerprint == fingerprint:
            return False
        file.candidate = None
        try:
            for path in node.files:
                if path in sources.unreadable:
                    raise OSError(f"{path}: {sources.unreadable[path]}")
            generation.load(node.name)
        except BaseException as error:  # SystemExit and KeyboardInterrupt too: they are the file's own here
            self._fail(file, *_described(error, self.directory))
            return False
        return True

    def _collect(
        self, names: list[str], units: Mapping[str, Node], generation: Generation, fingerprints: Mapping[str, str]
    ) -> None:
        origins: dict[int, str] = {}
        for name, module in generation.modules.items():  # in the order in which they were done
            for value in list(vars(module).values()):
                if isinstance(value, _COLLECTED):
                    origins.setdefault(id(value), name.partition(".")[0])
        for name in names:
            file, module = self._files[name], generation.modules[name]
            # What another file of agents defines is that file's, also when this one imports it.
            found = {id(v): v for v in vars(module).values() if isinstance(v, _COLLECTED)}
            own = [v for key, v in found.items() if origins[key] == name or origins[key] not in units]
            try:
                components = tuple(component(v, file.path) for v in own if not isinstance(v, Trigger))
                self._prepare(components)
            except Exception as error:
                self._fail(file, *_described(error, self.directory))
                continue
            file.candidate = Version(
                fingerprint=fingerprints[name],
                hash=file.hash,
                module=module,
                components=components,
                triggers=tuple(v for v in own if isinstance(v, Trigger)),
                origins={c.id: origins[id(c.value)] for c in components},
            )

    def _settle(self) -> None:
        """Which version of each file serves. A file that cannot have its new one keeps the one it had."""
        new = {n: f.candidate for n, f in self._files.items() if f.candidate is not None}
        chosen = {n: v for n, f in self._files.items() if (v := new.get(n) or f.serving) is not None}
        while (found := self._conflict(chosen)) is not None:
            name, message = found
            self._fail(self._files[name], message)
            before = self._files[name].serving
            if before is None or chosen[name] is before:
                del chosen[name]
            else:
                chosen[name] = before
        for name, file in self._files.items():
            if file.candidate is not None and chosen.get(name) is file.candidate:
                file.failure = None
            file.serving = chosen.get(name)

    def _conflict(self, chosen: dict[str, Version]) -> tuple[str, str] | None:
        """A file whose version cannot serve beside the others', and why. Drops those at once that have no other."""
        holders: dict[str, str] = {}
        is_served = {n: chosen[n] is self._files[n].serving for n in chosen}
        for name in sorted(chosen, key=lambda n: (not is_served[n], n)):
            version, file = chosen[name], self._files[name]
            for item in version.components:
                holder = holders.setdefault(item.id, name)
                if holder != name and chosen[holder].origins[item.id] != version.origins[item.id]:
                    message = f"the id {item.id!r} is defined in {self._files[holder].path} and in {file.path}"
                    if file.serving is not None:
                        return name, message
                    self._fail(file, message)
                    holders = {i: n for i, n in holders.items() if n != name}
                    del chosen[name]
                    break
        for name, version in chosen.items():
            missing = [t.component_id for t in version.triggers if t.component_id not in holders]
            if missing and not is_served[name]:
                return name, f"a trigger leads to {missing[0]!r}, which is not loaded"
        return None

    def _loaded(self, nodes: Mapping[str, Node]) -> Loaded:
        served = [(file, file.serving) for file in self._files.values() if file.serving is not None]
        components: dict[str, Component] = {}
        for _, version in sorted(served, key=lambda item: item[1].loaded_at):
            components.update({item.id: item for item in version.components})
        order = [item.id for _, version in served for item in version.components]
        triggers: dict[str, list[Trigger]] = {}
        for file, version in served:
            for trigger in version.triggers:
                if trigger.component_id in components:
                    triggers.setdefault(trigger.source, []).append(trigger)
                else:
                    self._fail(file, f"a trigger leads to {trigger.component_id!r}, which is not loaded any more")
        return Loaded(
            {id: components[id] for id in dict.fromkeys(order)},
            {source: tuple(found) for source, found in triggers.items()},
            tuple([*self._files.values(), *self._others.values()]),
        )

    def _set_environment(self, sources: Sources) -> None:
        """What `.env` says, but for what was set outside. What it no longer says is unset."""
        if ENV in sources.unreadable:
            self._note(self.directory / ENV, sources.unreadable[ENV])
            return
        try:
            text = sources.files.get(ENV, b"").decode()
        except UnicodeDecodeError as error:
            self._note(self.directory / ENV, f"it is not UTF-8: {error.reason} at byte {error.start}")
            return
        mine = {n: v for n, v in self._environment.items() if os.environ.get(n) == v}
        for name in mine:
            del os.environ[name]
        values = dotenv_values(stream=StringIO(text))
        self._environment = {n: v for n, v in values.items() if v is not None and n not in os.environ}
        secrets.remember(secrets.of(self._environment))
        os.environ.update(self._environment)

    def _fail(self, file: File, message: str, where: str | None = None) -> None:
        failure = Failure(secrets.without(message), where)
        if failure != file.failure:
            rest = "its last good version serves" if file.serving is not None else "the other agents serve"
            log.error("%s cannot be loaded; %s: %s%s", file.path, rest, f"{where}: " if where else "", failure.message)
            file.failure = failure

    def _note(self, path: Path, message: str) -> None:
        failure = Failure(secrets.without(message))
        log.warning("%s: %s", path, failure.message)
        self._others[path] = File(path, "", failure=failure)


def _by_node(generation: Generation, fingerprints: Mapping[str, str]) -> dict[str, tuple[str, dict[str, ModuleType]]]:
    """The modules that the next load can use again: those of nodes that were imported to their end."""
    nodes: dict[str, tuple[str, dict[str, ModuleType]]] = {}
    for name, module in generation.modules.items():
        node = name.partition(".")[0]
        if node in generation.modules and node in fingerprints:
            nodes.setdefault(node, (fingerprints[node], {}))[1][name] = module
    return nodes


def _described(error: BaseException, directory: Path) -> tuple[str, str | None]:
    """What happened, and the last line within the directory at which it did."""
    text = _OUR_NAMES.sub(".", str(error))
    message = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_relative_to(directory):
        return f"{type(error).__name__}: {error.msg}", f"{Path(error.filename).relative_to(directory)}:{error.lineno}"
    frames: Iterator[tuple[str, int | None]] = (
        (frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)
    )
    lines = [(path, line) for path, line in frames if Path(path).is_relative_to(directory)]
    return message, f"{Path(lines[-1][0]).relative_to(directory)}:{lines[-1][1]}" if lines else None
