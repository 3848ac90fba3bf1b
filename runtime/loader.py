"""Agents, teams and workflows found in a directory, by path: the files are nobody's package."""

import importlib.util
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from agno.agent import Agent
from agno.team import Team
from agno.utils.string import generate_id_from_name
from agno.workflow import Workflow
from dotenv import load_dotenv

log = logging.getLogger(__name__)

_PACKAGE = "_agent_files"
KINDS: dict[type, str] = {Agent: "agent", Team: "team", Workflow: "workflow"}


@dataclass(frozen=True)
class Component:
    """Something that can run: `kind` is agent, team or workflow, `value` agno's object, `file` where it is defined."""

    id: str
    kind: str
    value: Any
    file: Path


@dataclass
class Loaded:
    """What a directory holds. Agents, teams and workflows share one space of ids. A broken file is in `errors` only."""

    components: dict[str, Component] = field(default_factory=dict)
    errors: dict[Path, str] = field(default_factory=dict)

    def of_kind(self, kind: str) -> list[Any]:
        return [c.value for c in self.components.values() if c.kind == kind]

    def counts(self) -> Iterator[tuple[float, dict[str, str]]]:
        """For agno.agents.loaded."""
        for kind in KINDS.values():
            yield len(self.of_kind(kind)), {"kind": kind}


def load(directory: Path) -> Loaded:
    """Every `*.py` and package in `directory` but those that begin with `_`; its `.env` first.

    A file that fails to load, an id that two files use, and an agent or team without a model (agno would silently
    take OpenAI) are errors of that file: logged, kept in `errors`, and the others serve.
    """
    loaded = Loaded()
    load_dotenv(directory / ".env")
    _begin(directory)
    for path in _files(directory):
        try:
            for component in _components(path):
                other = loaded.components.get(component.id)
                if other and other.value is component.value:  # imported from the file that defines it
                    continue
                if other:
                    raise ValueError(f"the id {component.id!r} is defined in {other.file} and in {path}")
                loaded.components[component.id] = component
        except (Exception, SystemExit) as error:
            loaded.errors[path] = f"{type(error).__name__}: {error}"
            loaded.components = {i: c for i, c in loaded.components.items() if c.file != path}
            log.exception("%s cannot be loaded; the other agents serve", path)
    return loaded


def _files(directory: Path) -> list[Path]:
    if not directory.is_dir():
        log.warning("there is no directory %s: no agents are served", directory)
        return []
    found = [*directory.glob("*.py"), *(path.parent for path in directory.glob("*/__init__.py"))]
    return sorted(path for path in found if not path.name.startswith(("_", ".")))


def _components(path: Path) -> Iterator[Component]:
    seen: set[int] = set()
    for value in list(vars(_import(path)).values()):
        kind = next((kind for cls, kind in KINDS.items() if isinstance(value, cls)), None)
        if kind is None or id(value) in seen:
            continue
        seen.add(id(value))
        if not value.id and not value.name:
            raise ValueError(f"one {kind} has neither an id nor a name")
        if not value.id:
            value.id = generate_id_from_name(value.name)
        if kind != "workflow" and value.model is None:
            raise ValueError(f"{kind} {value.id!r} has no model: give it one, or agno takes OpenAI's")
        yield Component(value.id, kind, value, path)


def _import(path: Path) -> ModuleType:
    """The file as a module of our own package, so that `from . import _helpers` works, and `import agents` does not."""
    name = f"{_PACKAGE}.{path.stem}"
    if name in sys.modules:  # another file of the directory imported it
        return sys.modules[name]
    package = path.is_dir()
    spec = importlib.util.spec_from_file_location(
        name,
        path / "__init__.py" if package else path,
        submodule_search_locations=[str(path)] if package else None,
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be read as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and packages look themselves up while they load
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _begin(directory: Path) -> None:
    """An empty package at `directory`: nothing that was loaded before is seen again."""
    for name in [name for name in sys.modules if name.split(".")[0] == _PACKAGE]:
        del sys.modules[name]
    package = ModuleType(_PACKAGE)
    package.__path__ = [str(directory)]
    sys.modules[_PACKAGE] = package
