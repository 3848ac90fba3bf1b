"""`python -m stack.daemon CONFIG PARENT`: becomes supervisord. PARENT 0: it may outlive whoever started it."""

import os
import signal
import sys

from supervisor import supervisord  # type: ignore[import-untyped]

from stack.process import die_with_parent


def main() -> None:
    configuration, parent = sys.argv[1], int(sys.argv[2])
    os.setsid()  # Ctrl-C on the terminal is for `stack up`, which stops the services in order
    if parent:
        die_with_parent(signal.SIGTERM, parent)
    supervisord.main(["--configuration", configuration])


if __name__ == "__main__":
    main()
