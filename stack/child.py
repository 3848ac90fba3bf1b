"""`python -m stack.child SERVICE`: what supervisord starts. Becomes the service, with its secrets in the environment.

So the secrets are neither in supervisord's configuration nor in any argument list. What to become was written by
stack.services.write_command into STACK_HOME/commands, for the eyes of the owner only.
"""

import json
import os
import signal
import sys
from pathlib import Path

from stack.process import PROJECT, Command, become, die_with_parent


def parent(home: Path) -> int:
    """The process that we must not outlive: supervisord, or whoever starts us without it."""
    if "SUPERVISOR_ENABLED" in os.environ:
        return int((home / "supervisord.pid").read_text())
    return os.getppid()


def main() -> None:
    home = Path(os.environ["STACK_HOME"])
    started_by = parent(home)
    plan = json.loads((home / "commands" / f"{sys.argv[1]}.json").read_text())
    command = Command(**plan["command"])
    os.chdir(PROJECT)
    os.nice(command.nice)
    if command.account:
        become(command.account)
        os.chdir("/")  # the account may not be able to read the project
    die_with_parent(signal.Signals[plan["orphan_signal"]], started_by)
    os.execve(command.argv[0], command.argv, command.full_environment())


if __name__ == "__main__":
    main()
