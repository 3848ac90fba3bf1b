"""Python logging and agno's own loggers as OpenTelemetry log records, with the trace and run that they belong to."""

import logging
import traceback

from opentelemetry import context
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.util.types import AnyValue

from telemetry import runs, semconv

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
