"""The agents' directory, read into memory: what is imported is what was read, whatever is written meanwhile."""

import ast
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

ENV = ".env"
TEXTS = (".md", ".txt", ".j2", ".jinja", ".yaml", ".yml", ".json", ".toml", ".sql")  # what files read as they load
SUFFIXES = (".py", *TEXTS)
Snapshot = frozenset[tuple[str, int, int, int]]
_ANY = "*"
_TRIES = 5  # a directory that is exchanged while it is read is read again


class NoDirectory(Exception):
    """There is no such directory, now."""


@dataclass(frozen=True)
class Node:
    """What is loaded as one: a file, or a directory with all below it. Its name is the module's."""

    name: str
    path: str  # relative to the directory: "support.py" or "desk"
    files: tuple[str, ...]
    version: str  # a hash of the content
    is_unit: bool  # its agents are served; if not, it only helps others


@dataclass(frozen=True)
class Sources:
    """`files` by path relative to `directory`, with slashes. `unreadable` says why, by path."""

    directory: Path
    files: Mapping[str, bytes] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """By name, in order of name."""
        parts: dict[str, list[str]] = {}
        for path in [*self.files, *self.unreadable]:
            parts.setdefault(path.partition("/")[0], []).append(path)
        found: dict[str, Node] = {}
        for part in sorted(parts):
            files = tuple(sorted(parts[part]))
            is_package = f"{part}/__init__.py" in files
            is_file = files == (part,)
            if any(file.endswith(".py") for file in files) and (is_file or is_package or f"{part}.py" not in parts):
                node = Node(
                    name=part.removesuffix(".py") if is_file else part,
                    path=part,
                    files=files,
                    version=self._version(files),
                    is_unit=not part.startswith("_") and (is_file or is_package),
                )
                found.setdefault(node.name, node)  # a package goes before a file of its name, as in Python
        return dict(sorted(found.items()))

    @cached_property
    def shadowed(self) -> dict[str, str]:
        """Files that a package of the same name hides, each with its reason."""
        taken = {node.path for node in self.nodes.values()}
        hidden = (path for path in self.files if "/" not in path and path.endswith(".py") and path not in taken)
        return {path: f"the directory {path.removesuffix('.py')}/ has the same name" for path in hidden}

    @cached_property
    def shared(self) -> str:
        """A hash of what any file may read as it loads: `.env`, and texts that are not within a package."""
        of_nodes = {file for node in self.nodes.values() for file in node.files}
        return self._version(sorted(path for path in self.files if path not in of_nodes and not path.endswith(".py")))

    def fingerprints(self) -> dict[str, str]:
        """Of each node: a hash of all that it loads. While it stays, loading the node again is for nothing."""
        imports = {name: self._imports(node) for name, node in self.nodes.items()}
        return {name: self._fingerprint(name, imports) for name in self.nodes}

    def _fingerprint(self, name: str, imports: Mapping[str, frozenset[str]]) -> str:
        found: set[str] = set()
        waiting = [name]
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.add(node)
                waiting.extend(imports.get(node, ()))
        versions = ((node, self.nodes[node].version if node in self.nodes else "") for node in sorted(found))
        return _hash([self.shared, *(f"{node} {version}" for node, version in versions)])

    def _imports(self, node: Node) -> frozenset[str]:
        """The other nodes that it names in its imports, anywhere: functions import when they are called."""
        names: set[str] = set()
        for path in node.files:
            if path.endswith(".py") and path in self.files:
                names |= _imported(self.files[path], tuple(path.split("/")[:-1]))
        if _ANY in names:
            names = set(self.nodes)
        return frozenset(names - {node.name})

    def _version(self, paths: Iterable[str]) -> str:
        return _hash(part for path in paths for part in (path, self.files.get(path, b"")))


def read(directory: Path) -> Sources:
    """All files that matter to the agents. Raises NoDirectory."""
    for _ in range(_TRIES):
        root = os.path.realpath(directory)
        files: dict[str, bytes] = {}
        unreadable: dict[str, str] = {}
        gone = False
        for path, _stat in _walk(root):
            try:
                with open(os.path.join(root, path), "rb") as file:
                    files[path] = file.read()
            except FileNotFoundError:
                gone = True
            except OSError as error:
                unreadable[path] = f"{type(error).__name__}: {error.strerror}"
        if not gone and os.path.realpath(directory) == root and os.path.isdir(root):
            return Sources(directory, files, unreadable)
    if not os.path.isdir(directory):
        raise NoDirectory(f"there is no directory {directory}")
    return Sources(directory, files, unreadable)


def snapshot(directory: Path) -> Snapshot:
    """Where the directory is, and path, size, time and inode of each file that matters: another one is a change."""
    root = os.path.realpath(directory)
    found = [(path, stat.st_size, stat.st_mtime_ns, stat.st_ino) for path, stat in _walk(root)]
    return frozenset([(root, os.path.isdir(root), 0, 0), *found])


def matters(name: str) -> bool:
    """Whether a file's or directory's name is one to look at: not hidden, not an editor's, not Python's cache."""
    return name == ENV or (not name.startswith(".") and name != "__pycache__" and not name.endswith("~"))


def _walk(root: str) -> Iterator[tuple[str, os.stat_result]]:
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while waiting:
        path, above = waiting.pop()
        try:
            entries = list(os.scandir(os.path.join(root, path)))
            here = os.stat(os.path.join(root, path))
        except OSError:
            continue
        above = above | {(here.st_dev, here.st_ino)}
        for entry in entries:
            inner = f"{path}/{entry.name}" if path else entry.name
            try:
                if not matters(entry.name):
                    continue
                stat = entry.stat()  # of what a link leads to
                if entry.is_dir():
                    if (stat.st_dev, stat.st_ino) not in above:  # a link to where we are: round and round
                        waiting.append((inner, above))
                elif entry.is_file() and (entry.name.endswith(SUFFIXES) or inner == ENV):
                    yield inner, stat
            except OSError:  # gone, or a link to nowhere
                continue


@lru_cache(maxsize=10_000)  # to parse thousands of files takes longer than to read them
def _imported(source: bytes, package: tuple[str, ...]) -> frozenset[str]:
    """First names of the relative imports, seen from the directory; _ANY when the code imports what it computes."""
    if b"import" not in source:
        return frozenset()
    if b"import_module" in source or b"__import__" in source:
        return frozenset([_ANY])
    try:
        tree = ast.parse(source)
    except Exception:  # the import says what is wrong
        return frozenset()
    found: set[str] = set()
    for statement in ast.walk(tree):
        if isinstance(statement, ast.ImportFrom) and statement.level:
            base = package[: len(package) - statement.level + 1]
            named = [*base, *(statement.module or "").split(".")] if statement.module else [*base]
            if named:
                found.add(named[0])
            else:
                found |= {alias.name for alias in statement.names}  # `*` is any
    return frozenset(found)


def _hash(parts: Iterable[str | bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode(errors="surrogateescape") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:12]
