"""What was logged, on its way to an OpenTelemetry log record.

Who logs pays for the text and the ids; all else is done in the thread that sends it.
"""

import logging
import traceback
from typing import NamedTuple

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext
from opentelemetry.util.types import AnyValue

from telemetry import runs, secrets, semconv

LONGEST = 8_192  # characters of a text; of a stack trace the last ones, since the error stands at its end

_SEVERITIES = (
    (logging.CRITICAL, SeverityNumber.FATAL, "FATAL"),
    (logging.ERROR, SeverityNumber.ERROR, "ERROR"),
    (logging.WARNING, SeverityNumber.WARN, "WARN"),
    (logging.INFO, SeverityNumber.INFO, "INFO"),
    (logging.DEBUG, SeverityNumber.DEBUG, "DEBUG"),
)


class Entry(NamedTuple):
    """What was logged. `run`: ids of run, session and agent; `error`: type, message and stack trace."""

    logger: str
    level: int
    created: float
    body: str
    where: tuple[str, str, int]
    run: tuple[str, str, str] | None
    span: SpanContext
    error: tuple[str, str, str] | None

    @property
    def size(self) -> int:
        """In bytes, at most."""
        texts = (self.body, *(self.error or ()))
        return 1000 + sum(len(text) if text.isascii() else 4 * len(text) for text in texts)


def entry_of(record: logging.LogRecord) -> Entry:
    """With the trace and the run that are current."""
    run = runs.current()
    return Entry(
        record.name,
        record.levelno,
        record.created,
        _body(record),
        (record.funcName or "", record.pathname, record.lineno),
        (run.run_id, run.session_id, run.component_id) if run else None,
        trace.get_current_span().get_span_context(),
        _error(record) if record.exc_info and record.exc_info[1] else None,
    )


def readable(entry: Entry, resource: Resource) -> ReadableLogRecord:
    """The entry as the exporters take it, without secrets: clients log the addresses that they ask, and more."""
    number, severity = _severity(entry.level)
    function, path, line = entry.where
    attributes: dict[str, AnyValue] = {
        "code.function.name": function,
        "code.file.path": path,
        "code.line.number": line,
    }
    if entry.run is not None:
        keys = (semconv.RUN_ID, semconv.SESSION_ID, semconv.AGENT_ID)
        attributes.update(zip(keys, entry.run, strict=True))
    if entry.error is not None:
        keys = ("exception.type", "exception.message", "exception.stacktrace")
        attributes.update(zip(keys, map(_clean, entry.error), strict=True))
    record = LogRecord(
        timestamp=int(entry.created * 1e9),
        context=trace.set_span_in_context(NonRecordingSpan(entry.span), Context()),
        severity_number=number,
        severity_text=severity,
        body=_clean(entry.body),
        attributes=attributes,
    )
    return ReadableLogRecord(record, resource, InstrumentationScope(entry.logger))


def _body(record: logging.LogRecord) -> str:
    try:
        return _cut(record.getMessage())
    except Exception as error:  # a value without a place in the text, or one that cannot be shown
        template = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        return f"{_cut(template)} (its values cannot be shown: {type(error).__name__})"


def _error(record: logging.LogRecord) -> tuple[str, str, str]:
    kind, error, _ = record.exc_info or (None, None, None)
    try:
        message = _cut(str(error))
    except Exception as failed:
        message = f"(it cannot be shown: {type(failed).__name__})"
    # a console handler has made the text of it already
    stack = record.exc_text or "".join(traceback.format_exception(error))
    stack = stack.rstrip("\n")
    return kind.__name__ if kind else "", message, stack if len(stack) <= LONGEST else secrets.hide(stack)[-LONGEST:]


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    text = secrets.hide(text)  # now: half of one would not be known again
    return f"{text[:LONGEST]}... ({len(text) - LONGEST} more characters)"


def _clean(text: str) -> str:
    return secrets.without(text.encode("utf-8", "replace").decode())  # half a surrogate would make the batch unsendable


def _severity(level: int) -> tuple[SeverityNumber, str]:
    return next(((n, t) for at_least, n, t in _SEVERITIES if level >= at_least), (SeverityNumber.TRACE, "TRACE"))
