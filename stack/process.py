"""What a service is started with, and as whom. Loads fast: every start of a service goes through it (stack.child)."""

import ctypes
import os
import pwd
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from stack.errors import StackError

PROJECT = Path(__file__).resolve().parents[1]
PR_SET_PDEATHSIG = 1
FOREIGN = ("PG", "OTEL_", "PHOENIX_", "CLICKHOUSE_")  # would configure a service behind our back


@dataclass(frozen=True)
class Command:
    """The environment of the service: `defaults`, over them what is inherited, over all of it `environment`.

    `inherit_all`: also the variables FOREIGN. `account`: the system account to change to; None: stay who we are.
    """

    argv: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, str] = field(default_factory=dict)
    inherit_all: bool = False
    account: str | None = None
    nice: int = 0  # more than 0: gets the processor when the others leave it

    def full_environment(self) -> dict[str, str]:
        foreign = () if self.inherit_all else FOREIGN
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return {**self.defaults, **inherited, "PYTHONUNBUFFERED": "1", **self.environment}


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
