"""Python logging and agno's own loggers as OpenTelemetry log records, with the trace and run that they belong to."""

import logging
from collections.abc import Callable, Sequence

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource

from telemetry.buffer import Buffer, Limits, Outcome
from telemetry.entries import Entry, entry_of, readable
from telemetry.losses import Announcer, Destination

# What carries telemetry away must not make more of it: an exporter that cannot reach its destination says so in a log.
_OWN = {"opentelemetry", "telemetry", "grpc", "urllib3", "clickhouse_connect", "psycopg"}


class Handler(logging.Handler):
    """Puts an entry for each record. It never waits nor raises, and console handlers stay as they are."""

    def __init__(self, put: Callable[[Entry], None], level: int = logging.INFO) -> None:
        super().__init__(level)
        self._put = put

    def handle(self, record: logging.LogRecord) -> bool:
        """As every handler does, but without a lock: a value that takes long to show holds up only its own thread."""
        if passed := self.filter(record):
            self.emit(record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.partition(".")[0] in _OWN:
            return
        try:
            self._put(entry_of(record))
        except Exception:
            self.handleError(record)  # says it on stderr, as all handlers do


class Logs:
    """Python's and agno's loggers, handled until `stop`. `send` raises to be called again with the same records.

    `handled(outcome, records)`: for the metric.
    """

    def __init__(
        self,
        resource: Resource,
        send: Callable[[Sequence[ReadableLogRecord]], None],
        close: Callable[[], None],
        limits: Limits,
        handled: Callable[[str, int], None],
    ) -> None:
        self._known = Destination()
        self._announcer = Announcer("records")
        self._handled = handled
        self._buffer: Buffer[Entry] = Buffer(
            "logs", lambda entries: send([readable(entry, resource) for entry in entries]), limits, self._count
        )
        self._close = close
        self._handler = Handler(lambda entry: self._buffer.put(entry, entry.size))
        self._attached = loggers()
        for logger in self._attached:
            logger.addHandler(self._handler)

    def state(self) -> tuple[int, Destination]:
        """How many records wait, and what became of the others."""
        self._known.last_error = self._buffer.last_error
        return self._buffer.waiting(), self._known

    def flush(self, timeout: float) -> bool:
        """Sends what is there now. False when `timeout` (seconds) passed first."""
        return self._buffer.flush(timeout)

    def stop(self, timeout: float) -> None:
        """Flushes for at most `timeout` seconds, then drops and counts the rest."""
        self._detach()
        self._buffer.stop(timeout)
        self._close()

    def after_fork(self) -> None:
        """In a forked child, which has no thread to send anything."""
        self._buffer.after_fork()
        self._detach()

    def _detach(self) -> None:
        for logger in self._attached:
            logger.removeHandler(self._handler)

    def _count(self, outcome: Outcome, records: int, reason: str) -> None:
        self._known.count(outcome, reason, records)
        self._handled(outcome, records)
        self._announcer.look({"the logs": self._known})


def loggers() -> list[logging.Logger]:
    """The loggers to attach to: the root, and those that do not propagate to it (agno's, uvicorn's).

    Not uvicorn.access: it has no handler because nobody wants a line for each request, and a handler would make them.
    """
    found = [logging.getLogger()]
    for name in ("agno", "agno-team", "agno-workflow", "uvicorn"):
        logger = logging.getLogger(name)
        if not logger.propagate:
            found.append(logger)
    return found
