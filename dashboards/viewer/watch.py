"""Evaluates the rules every so often, and posts what they say: two threads, and neither waits for the other."""

import logging
import threading
import time
from collections.abc import Callable

from dashboards.viewer.evaluation import Evaluation
from dashboards.viewer.notify import Notifier

log = logging.getLogger(__name__)


class Watch:
    """`start` and `stop` once each. No error ends it: the next evaluation comes."""

    def __init__(self, evaluation: Evaluation, notifier: Notifier | None, seconds: float) -> None:
        self._evaluation = evaluation
        self._notifier = notifier
        self._seconds = seconds
        self._stopping = threading.Event()
        self._evaluated = threading.Event()
        # daemons: a receiver or ClickHouse that hangs must not hold up the end of the process
        self._threads = [threading.Thread(target=self._evaluate, name="evaluation", daemon=True)]
        if notifier is not None:
            self._threads.append(threading.Thread(target=self._notify, name="notifier", daemon=True))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._evaluated.set()
        for thread in self._threads:
            thread.join(timeout=2)

    def _evaluate(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            _guarded(lambda: self._evaluation.run(time.time()))
            self._evaluated.set()
            self._stopping.wait(max(0.0, self._seconds - (time.monotonic() - began)))

    def _notify(self) -> None:
        while not self._stopping.is_set():
            self._evaluated.wait()
            self._evaluated.clear()
            if not self._stopping.is_set():
                _guarded(self._deliver)

    def _deliver(self) -> None:
        if self._notifier is not None:
            self._notifier.deliver(time.time())


def _guarded(step: Callable[[], None]) -> None:
    try:
        step()
    except Exception:
        log.exception("alerts")
