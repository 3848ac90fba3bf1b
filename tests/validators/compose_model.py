"""compose.yaml as `docker compose` resolves it: by that client's loader, out of its Go module (ten seconds, once)."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from stack.collector_build import find_go, install_go
from tests.validators.tools import CACHE, only_one

SOURCE = Path(__file__).parent / "compose"
_BUILD = {"GOFLAGS": "-mod=readonly", "GOWORK": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}


def install() -> Path:
    """The program of tests/validators/compose, built once. Raises RuntimeError when it cannot be."""
    files = sorted(SOURCE.iterdir())
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    program = CACHE / f"compose-model-{digest}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with only_one(program.with_suffix(".lock")):
        if program.exists():
            return program
        go = find_go() or install_go(print)
        with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
            shutil.copytree(SOURCE, temporary, dirs_exist_ok=True)
            argv = [str(go), "build", "-ldflags=-s -w", "-o", "model", "."]
            environment = {**os.environ, **_BUILD}
            done = subprocess.run(argv, cwd=temporary, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"Compose' loader cannot be built: {done.stderr[-1000:]}")
            os.replace(Path(temporary) / "model", program)
    return program


def resolve(file: Path, **environment: str) -> dict[str, Any]:
    """With all profiles, and no other variables than these. Raises ValueError with what the loader says."""
    argv, directory = [str(install()), str(file)], tempfile.gettempdir()
    done = subprocess.run(argv, env=environment, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr.strip())
    model: dict[str, Any] = json.loads(done.stdout)
    return model
