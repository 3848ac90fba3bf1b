"""What a service is started with, and as whom."""

import ctypes
import os
import pwd
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stack.errors import StackError

PROJECT = Path(__file__).resolve().parents[1]
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Command:
    """`account`: the system account to change to; None stays who we are. `environment` is the whole environment."""

    argv: list[str]
    environment: Mapping[str, str] = field(default_factory=lambda: clean_environment())
    account: str | None = None


def clean_environment(**extra: str) -> dict[str, str]:
    """Ours without the variables that would configure a service behind our back."""
    foreign = ("PG", "OTEL_", "PHOENIX_", "CLICKHOUSE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "PYTHONUNBUFFERED": "1", **extra}


def unprivileged_account() -> str | None:
    """Whom Postgres, which refuses to run as root, runs as: None when we are not root ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise StackError(
        "running as root, and there is no account `postgres` or `nobody` to run PostgreSQL as",
        "run as an ordinary user, or create an account named postgres",
    )


def become(account: str) -> None:
    """Gives up root for good."""
    entry = pwd.getpwnam(account)
    os.initgroups(account, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def die_with_parent(signal_number: int, parent: int) -> None:
    """Asks Linux to send us the signal when our parent ends, however it ends. Elsewhere there is no such thing.

    Call it after any change of user, which clears it. It outlives exec. Exits at once when `parent` is gone already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
