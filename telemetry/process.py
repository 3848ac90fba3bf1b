"""The exporter's process as the process that it works for sees it."""

import marshal
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from telemetry.exporter import SIGNALS
from telemetry.losses import Counts
from telemetry.progress import Progress

START_SECONDS = 60.0  # until it says for the first time that it lives
HUNG_SECONDS = 30.0  # without a sign of life; it gives ten in a second
PROJECT = Path(__file__).resolve().parents[1]

# A fork in the midst of a start would copy descriptors that the start is about to close, and the end of the process
# would go unnoticed for as long as the copy lives.
starting = threading.Lock()


class Process:
    """One exporter process. Signals that are meant to end the group of processes do not end it, even as it starts."""

    def __init__(self, slots: int) -> None:
        with starting:
            self._start(slots)
        self.gone = False
        self.hung = False
        self.counts: dict[str, Counts] = {}  # as it last reported
        self.cut: dict[str, int] = {}
        self._beats, self._silent, self._looked = 0, 0.0, time.monotonic()

    def _start(self, slots: int) -> None:
        page = Progress.file()
        self.connection, theirs = multiprocessing.Pipe()
        path = os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"))))
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # it inherits this
        try:
            self.progress = Progress(page, slots)
            command = [sys.executable, "-P", "-m", "telemetry.exporter", str(theirs.fileno()), str(page)]
            self._popen = subprocess.Popen(
                [*command, str(os.getpid())],
                env={**os.environ, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), page],
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            theirs.close()
            os.close(page)

    def send(self, *message: Any) -> None:
        """Waits for as long as the process takes to read; raises OSError when it is gone."""
        self.connection.send_bytes(marshal.dumps(message))

    def end_if_hung(self) -> None:
        """To be called often."""
        now = time.monotonic()
        seconds, self._looked = min(1.0, now - self._looked), now  # at most one: who calls may have been stopped itself
        beats = self.progress.beats()
        self._silent = 0.0 if beats != self._beats else self._silent + seconds
        self._beats = beats
        if self._silent > (HUNG_SECONDS if beats else START_SECONDS):
            self.hung = True
            self.kill()

    def kill(self) -> None:
        self._popen.kill()

    def wait(self) -> int:
        return self._popen.wait()

    def close(self) -> None:
        self.connection.close()
        self.progress.close()
