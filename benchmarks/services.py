"""The collector for a benchmark, found or built as `stack up` does."""

import sys

from stack import collector_build
from stack.home import Home


def use_collector(home: Home) -> None:
    log = home.logs / "build.log"
    home.state.collector = str(
        collector_build.find_or_build(home.settings, lambda line: print(line, file=sys.stderr), log)
    )
    home.save()
