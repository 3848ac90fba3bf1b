"""telemetrygen, OpenTelemetry's own generator: built from its Go module once, then it is in the cache."""

import os
import subprocess
import tempfile
from pathlib import Path

from stack import collector_build
from stack.collector_build import find_go, install_go
from tests.validators.tools import only_one

MODULE = "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen"
VERSION = "v0.161.0"


def path() -> Path:
    """Raises subprocess.CalledProcessError, with the output, when it cannot be built."""
    built = collector_build.cached().parents[2] / "telemetrygen" / VERSION / "telemetrygen"
    built.parent.mkdir(parents=True, exist_ok=True)
    with only_one(built.with_suffix(".lock")):
        if not built.exists():
            with tempfile.TemporaryDirectory(dir=built.parent) as directory:
                os.replace(_build(Path(directory)), built)
    return built


def _build(directory: Path) -> Path:
    go = str(find_go() or install_go(print))
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "GOWORK": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    for argv in (
        [go, "mod", "init", "generator"],  # a module of our own: its own has directives that `go install` refuses
        [go, "get", f"{MODULE}@{VERSION}"],
        [go, "build", "-ldflags=-s -w", "-o", "telemetrygen", MODULE],
    ):
        subprocess.run(argv, cwd=directory, env=environment, check=True, capture_output=True, text=True)
    return directory / "telemetrygen"


if __name__ == "__main__":  # `make test` has it before the tests begin, so that none of them waits for a compiler
    print(path())
