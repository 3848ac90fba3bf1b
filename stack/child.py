"""`python -m stack.child SERVICE`: what supervisord starts. Becomes the service, with its secrets in the environment.

So the secrets are neither in supervisord's configuration nor in any argument list.
"""

import os
import signal
import sys
from pathlib import Path

from stack.home import Home
from stack.process import PROJECT, become, die_with_parent
from stack.services import SERVICES


def parent(home: Home) -> int:
    """The process that we must not outlive: supervisord, or whoever starts us without it."""
    if "SUPERVISOR_ENABLED" in os.environ:
        return int((home.path / "supervisord.pid").read_text())
    return os.getppid()


def main() -> None:
    home = Home.open(Path(os.environ["STACK_HOME"]))
    service = SERVICES[sys.argv[1]]
    started_by = parent(home)
    command = service.command(home)
    os.chdir(PROJECT)
    if command.account:
        become(command.account)
    die_with_parent(signal.Signals[f"SIG{service.orphan_signal}"], started_by)
    os.execve(command.argv[0], command.argv, dict(command.environment))


if __name__ == "__main__":
    main()
