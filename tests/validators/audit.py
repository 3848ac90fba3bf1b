"""`python -m tests.validators.audit`: are there known vulnerabilities in the locked versions? `uv audit` asks OSV.

Exit code 1: there are. Where the database cannot be reached it says so and ends with 0. A clean answer is good for a
day, as long as uv.lock is the same.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from tests.validators.tools import UV

PROJECT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "agent-telemetry-stack" / "audit"
DAY = 86_400
SECONDS = 60
# What cannot be mended yet: by its id until when it is let through, and why. Past that day it is an error again.
ALLOWED: dict[str, tuple[date, str]] = {}
_UNREACHED = ("request failed", "error sending request", "failed to fetch", "network", "timed out", "offline")


def main(arguments: Iterable[str] = ()) -> int:
    """Of all groups, also what only developers install. `arguments`: more of `uv audit`'s."""
    mark = CACHE / hashlib.sha256((PROJECT / "uv.lock").read_bytes() + repr((ALLOWED, *arguments)).encode()).hexdigest()
    if mark.exists() and time.time() - mark.stat().st_mtime < DAY:
        print(f"audit: nothing is known, as of {datetime.fromtimestamp(mark.stat().st_mtime, UTC):%Y-%m-%d %H:%M} UTC")
        return 0
    today = datetime.now(UTC).date()
    ignored = [f"--ignore={id}" for id, (until, _) in ALLOWED.items() if today <= until]
    command = [
        UV,
        "audit",
        "--locked",
        "--preview-features=audit-command,json-output",
        "--output-format=json",
        *ignored,
    ]
    environment = {**os.environ, "UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": "20"}
    try:
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, cwd=PROJECT, env=environment, timeout=SECONDS
        )
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        return _not_audited(f"uv: {type(error).__name__}")
    found = _vulnerabilities(done.stdout)
    if found is None:
        said = done.stderr.strip()
        if "unrecognized subcommand" in said:
            return _not_audited("this uv has no `uv audit`")
        if any(one in said.lower() for one in _UNREACHED):
            return _not_audited(said.splitlines()[-1].strip())
        print(f"audit: it failed ({done.returncode}): {said}", file=sys.stderr)
        return 1
    for one in found:
        print(f"audit: {one}", file=sys.stderr)
    if found:
        return 1
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    print("audit: no known vulnerability in the locked versions")
    return 0


def _not_audited(why: str) -> int:
    print(f"audit: NOT AUDITED, the vulnerability database was not reached: {why}")
    return 0


def _vulnerabilities(output: str) -> list[str] | None:
    """Of the report as JSON; None when it is none."""
    try:
        report: dict[str, Any] = json.loads(output)
        return [_described(one) for one in report["vulnerabilities"]]
    except (ValueError, KeyError, TypeError):
        return None


def _described(one: dict[str, Any]) -> str:
    dependency, fixed = one["dependency"], ", ".join(one["fix_versions"])
    where = f"{dependency['name']} {dependency['version']}"
    return f"{where}: {one['id']}, {one['summary']} ({f'fixed in {fixed}' if fixed else 'no fix'}) {one['link']}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
