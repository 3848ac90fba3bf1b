"""Modules out of memory. Each load of the agents' directory is a generation, with a package of its own.

So `from . import _helpers` means the helpers that were read together with the file, now and in a year: code that was
replaced goes on with the modules it began with, those it imports late included, for as long as anything refers to it.
"""

import importlib
import itertools
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.readers import FileReader
from pathlib import Path
from types import ModuleType
from weakref import WeakValueDictionary

PACKAGE = "_agent_files_"
_numbers = itertools.count(1)


class Generation(SourceLoader):
    """`modules` by their names within the package ("desk.inner"), in the order in which they were done.

    The ones that it is given are those of earlier generations that are as they were.
    """

    def __init__(self, directory: Path, files: Mapping[str, bytes], modules: Mapping[str, ModuleType]) -> None:
        self.name = f"{PACKAGE}{next(_numbers)}"
        self.directory = directory
        self.modules = dict(modules)
        self._files = files
        self._specs = {name: module.__spec__ for name, module in modules.items()}
        _finder.add(self)

    def load(self, name: str) -> ModuleType:
        """Raises what the module raises."""
        return importlib.import_module(f"{self.name}.{name}")

    def spec(self, name: str) -> ModuleSpec | None:
        """Of a module's name within the package; "" is the package."""
        path = name.replace(".", "/")
        inside = f"{path}/" if path else ""
        is_file = f"{path}.py" in self._files and f"{inside}__init__.py" not in self._files
        if not is_file and name and not any(file.startswith(inside) for file in self._files):
            return None
        full = f"{self.name}.{name}" if name else self.name
        spec = ModuleSpec(full, self, origin=self.get_filename(full), is_package=not is_file)
        spec.has_location = is_file or (f"{inside}__init__.py" in self._files and bool(name))
        if not is_file:
            spec.submodule_search_locations = [str(self.directory / path)]
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.modules.get(self._inner(spec.name))

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        name = self._inner(module.__spec__.name)
        if name in self.modules:
            module.__spec__ = self._specs[name]  # importlib has put this generation's there
            return
        super().exec_module(module)
        self.modules[name] = module
        self._specs[name] = module.__spec__

    def get_filename(self, fullname: str) -> str:
        path = self._inner(fullname).replace(".", "/")
        package = f"{path}/__init__.py" if path else "__init__.py"
        is_file = f"{path}.py" in self._files and package not in self._files
        return str(self.directory / (f"{path}.py" if is_file else package))

    def get_data(self, path: str | bytes) -> bytes:
        file = Path(path if isinstance(path, str) else path.decode())
        inner = file.relative_to(self.directory).as_posix()
        if inner in self._files and inner != "__init__.py":  # the directory itself is nobody's package
            return self._files[inner]
        return b"" if file.name == "__init__.py" else file.read_bytes()

    def get_resource_reader(self, fullname: str) -> FileReader:
        return FileReader(SourceFileLoader(fullname, self.get_filename(fullname)))

    def _inner(self, fullname: str) -> str:
        return fullname.partition(".")[2]


class _Finder(MetaPathFinder):
    def __init__(self) -> None:
        self._generations: WeakValueDictionary[str, Generation] = WeakValueDictionary()

    def add(self, generation: Generation) -> None:
        self._generations[generation.name] = generation
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        generation = self._generations.get(package)
        return generation.spec(name) if generation is not None else None


_finder = _Finder()


def forget(but: set[str]) -> None:
    """Drops all generations' modules from sys.modules `but` those of the packages that are named.

    Whoever still refers to a dropped one finds it again.
    """
    for name in list(sys.modules):  # a copy: other threads import meanwhile
        if name.startswith(PACKAGE) and name.partition(".")[0] not in but:
            del sys.modules[name]
