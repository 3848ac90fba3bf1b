"""Dashboards against Grafana's own schema: its types (@grafana/schema of 11.6, from npm), checked by the compiler.

tests/validators/grafana/board.ts puts them together, so that an unknown key, a wrong type and a value that an enum does
not have are errors in every dashboard, panel, field, override, variable and query.
"""

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.validators.tools import CACHE, only_one

SOURCE = Path(__file__).parent / "grafana"
TSC = "--noEmit --strict --skipLibCheck --pretty false --target es2022 --module esnext --moduleResolution node10"
_ERROR = re.compile(r"^(?P<name>[^(\s]+)\.ts\((?P<line>\d+),\d+\): error (?P<what>.*)$")
_HEADER = 'import { Board } from "./board";\nexport const board: Board =\n'


def install() -> Path:
    """The directory with the packages, installed once. Raises RuntimeError when they cannot be had."""
    files = [SOURCE / "package.json", SOURCE / "package-lock.json"]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    directory = CACHE / f"grafana-schema-{digest}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with only_one(directory.with_suffix(".lock")):
        if directory.exists():
            return directory
        npm = shutil.which("npm")
        if npm is None:
            raise RuntimeError("node and npm are needed for Grafana's schema: install Node.js 20 or later")
        with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
            target = Path(temporary) / "packages"
            target.mkdir()
            for file in files:
                shutil.copy(file, target)
            argv = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            done = subprocess.run(argv, cwd=target, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"Grafana's schema cannot be installed: {done.stderr[-1000:]}")
            target.rename(directory)
    return directory


def problems(boards: Mapping[str, str]) -> list[str]:
    """One line for each error, with the name of the board and the line of its JSON."""
    packages = install()
    with tempfile.TemporaryDirectory(dir=packages) as directory:  # so that imports find node_modules beside it
        shutil.copy(SOURCE / "board.ts", directory)
        for name, text in boards.items():
            (Path(directory) / f"{name}.ts").write_text(f"{_HEADER}{text.strip()};\n")
        compiler = packages / "node_modules" / "typescript" / "lib" / "tsc.js"
        argv = ["node", str(compiler), *TSC.split(), *(f"{name}.ts" for name in boards)]
        done = subprocess.run(argv, cwd=directory, capture_output=True, text=True, timeout=110, check=False)
    found = []
    for line in done.stdout.splitlines():
        match = _ERROR.match(line)
        if match:
            found.append(f"{match['name']}.json, line {int(match['line']) - 2}: {match['what']}")
        elif found:
            found[-1] += f"\n{line}"
    if done.returncode and not found:
        raise RuntimeError(f"the compiler failed: {done.stdout}{done.stderr}")
    return found
