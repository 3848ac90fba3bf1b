"""Python logging and agno's own loggers as OpenTelemetry log records, with the trace and run that they belong to."""

import logging
import traceback
from collections.abc import Callable, Sequence

from opentelemetry import context
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.util.types import AnyValue

from telemetry import runs, semconv
from telemetry.buffer import Buffer, Limits
from telemetry.losses import Announcer, Destination

# What carries telemetry away must not make more of it: an exporter that cannot reach its destination says so in a log.
_OWN = ("opentelemetry", "telemetry", "grpc", "urllib3", "clickhouse_connect", "psycopg")
_SEVERITIES = (
    (logging.CRITICAL, SeverityNumber.FATAL, "FATAL"),
    (logging.ERROR, SeverityNumber.ERROR, "ERROR"),
    (logging.WARNING, SeverityNumber.WARN, "WARN"),
    (logging.INFO, SeverityNumber.INFO, "INFO"),
    (logging.DEBUG, SeverityNumber.DEBUG, "DEBUG"),
)


class Handler(logging.Handler):
    """Emits each record into `provider`. Console handlers stay as they are."""

    def __init__(self, provider: LoggerProvider, level: int = logging.INFO) -> None:
        super().__init__(level)
        self._provider = provider

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.split(".")[0] in _OWN:
            return
        number, severity = _severity(record.levelno)
        attributes: dict[str, AnyValue] = {
            "code.function.name": record.funcName,
            "code.file.path": record.pathname,
            "code.line.number": record.lineno,
        }
        if run := runs.current():
            attributes[semconv.RUN_ID] = run.run_id
            attributes[semconv.SESSION_ID] = run.session_id
            attributes[semconv.AGENT_ID] = run.component_id
        if record.exc_info and record.exc_info[0]:
            attributes["exception.type"] = record.exc_info[0].__name__
            attributes["exception.message"] = str(record.exc_info[1])
            attributes["exception.stacktrace"] = "".join(traceback.format_exception(*record.exc_info))
        self._provider.get_logger(record.name).emit(
            LogRecord(
                timestamp=int(record.created * 1e9),
                context=context.get_current(),
                severity_number=number,
                severity_text=severity,
                body=record.getMessage(),
                attributes=attributes,
            )
        )


class Logs:
    """Python's and agno's loggers, handled until `stop`. `send` raises to be called again with the same records."""

    def __init__(
        self,
        resource: Resource,
        send: Callable[[Sequence[ReadableLogRecord]], None],
        close: Callable[[], None],
        limits: Limits,
    ) -> None:
        self._known = Destination()
        self._announcer = Announcer("records")
        self._buffer = Buffer("logs", send, limits, self._count)
        self._close = close
        provider = LoggerProvider(resource, shutdown_on_exit=False)
        provider.add_log_record_processor(_Buffered(self._buffer, resource))
        self._handler = Handler(provider)
        self._attached = loggers()
        for logger in self._attached:
            logger.addHandler(self._handler)

    def state(self) -> tuple[int, Destination]:
        """How many records wait, and what became of the others."""
        self._known.last_error = self._buffer.last_error
        return self._buffer.waiting(), self._known

    def stop(self, timeout: float) -> None:
        """Flushes for at most `timeout` seconds, then drops and counts the rest."""
        self._detach()
        self._buffer.stop(timeout)
        self._close()

    def after_fork(self) -> None:
        self._buffer.after_fork()
        self._detach()

    def _detach(self) -> None:
        for logger in self._attached:
            logger.removeHandler(self._handler)

    def _count(self, outcome: str, records: int, reason: str) -> None:
        self._known.count(outcome, reason, records)
        self._announcer.look({"the logs": self._known})


class _Buffered(LogRecordProcessor):
    def __init__(self, buffer: Buffer[ReadableLogRecord], resource: Resource) -> None:
        self._buffer = buffer
        self._resource = resource

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        record = log_record.log_record
        its = log_record.resource or self._resource
        self._buffer.put(ReadableLogRecord(record, its, log_record.instrumentation_scope), len(str(record.body)))

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._buffer.flush(timeout_millis / 1000)


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


def _severity(level: int) -> tuple[SeverityNumber, str]:
    return next(((n, t) for at_least, n, t in _SEVERITIES if level >= at_least), (SeverityNumber.TRACE, "TRACE"))
