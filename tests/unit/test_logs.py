"""What is logged becomes a record with its trace and run, whatever is logged and wherever; nobody who logs notices."""

import asyncio
import contextlib
import io
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from agno.agent import Agent
from agno.utils.log import log_warning
from agno.utils.log import logger as agno_logger
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource

from runtime.offline import OfflineModel
from telemetry import entries, logs, semconv
from telemetry.buffer import Limits
from tests.unit.conftest import Recorded

log = logging.getLogger("an.application")


class Sent:
    """What came out; `failing` makes the destination one that is away."""

    def __init__(self) -> None:
        self.records: list[ReadableLogRecord] = []
        self.counts: dict[str, int] = {}
        self.failing = False

    def send(self, records: Sequence[ReadableLogRecord]) -> None:
        if self.failing:
            raise ConnectionError("away")
        encode_logs(records).SerializeToString()
        self.records.extend(records)

    def count(self, outcome: str, records: int) -> None:
        self.counts[outcome] = self.counts.get(outcome, 0) + records


class Started:
    def __init__(self, sent: Sent, limits: Limits) -> None:
        self.sent = sent
        self._logs = logs.Logs(Resource({"service.name": "test"}), sent.send, lambda: None, limits, sent.count)
        self.stop = self._logs.stop

    def record(self, body: str = "") -> Any:
        """The one whose body begins so."""
        assert self._logs.flush(30)
        (found,) = [r.log_record for r in self.sent.records if str(r.log_record.body).startswith(body)]
        return found


@pytest.fixture
def start() -> Iterator[Callable[..., Started]]:
    started: list[Started] = []

    def begin(sent: Sent | None = None, **limits: Any) -> Started:
        started.append(Started(sent or Sent(), Limits(**limits)))
        return started[-1]

    yield begin
    for each in started:
        each.stop(0.1)


@pytest.fixture
def started(start: Callable[..., Started]) -> Started:
    return start()


def run(tool: Callable[[], str]) -> None:
    model = OfflineModel(latency=0)
    agent = Agent(id="support", name="Support", model=model, tools=[tool], telemetry=False)
    agent.run(f"[tool {tool.__name__}] go", run_id="r1", session_id="s1")


def test_a_tool_that_logs_is_in_its_span_and_run(recorded: Recorded, started: Started) -> None:
    def lookup() -> str:
        log.warning("looked up %s in %d ms", "x", 5)
        log_warning("agno says this")
        return "found"

    run(lookup)
    span = recorded.span("execute_tool lookup")
    for body, severity in (("looked up x in 5 ms", "WARN"), ("agno says this", "WARN")):
        record = started.record(body)
        assert (record.body, record.severity_text) == (body, severity)
        assert (record.trace_id, record.span_id) == (span.context.trace_id, span.context.span_id)
        assert record.attributes[semconv.RUN_ID] == "r1"
        assert record.attributes[semconv.SESSION_ID] == "s1"
        assert record.attributes[semconv.AGENT_ID] == "support"
    assert started.record("looked").attributes["code.function.name"] == "lookup"
    assert abs(started.record("looked").timestamp - time.time_ns()) < 600e9


def test_a_thread_that_a_tool_starts_has_no_ids_and_does_no_harm(recorded: Recorded, started: Started) -> None:
    def spread() -> str:
        thread = threading.Thread(target=lambda: log.warning("in a thread"))
        thread.start()
        thread.join()
        return "done"

    run(spread)
    record = started.record("in a thread")
    assert (record.trace_id, record.span_id) == (0, 0)
    assert semconv.RUN_ID not in record.attributes


def test_a_task_of_a_run_has_its_ids(recorded: Recorded, started: Started) -> None:
    async def wait() -> str:
        async def inner() -> None:
            log.warning("in a task")

        await asyncio.gather(inner())
        return "done"

    agent = Agent(id="support", model=OfflineModel(latency=0), tools=[wait], telemetry=False)
    asyncio.run(agent.arun("[tool wait] go", run_id="r2"))
    assert started.record("in a task").attributes[semconv.RUN_ID] == "r2"


def test_outside_of_runs_there_are_no_ids(started: Started) -> None:
    log.error("at the start")
    record = started.record()
    assert (record.trace_id, record.span_id, record.trace_flags) == (0, 0, 0)
    assert record.severity_text == "ERROR"


@pytest.mark.parametrize(
    ("level", "severity"),
    [(50, "FATAL"), (40, "ERROR"), (35, "WARN"), (30, "WARN"), (20, "INFO"), (25, "INFO")],
)
def test_severities(started: Started, level: int, severity: str) -> None:
    log.setLevel(logging.DEBUG)
    log.log(level, "said")
    log.debug("not said")
    log.setLevel(logging.NOTSET)
    assert started.record().severity_text == severity


def test_an_exception_comes_with_its_stack(started: Started) -> None:
    try:
        raise ValueError("broken") from KeyError("why")
    except ValueError:
        log.exception("it failed")
    attributes = started.record("it failed").attributes
    assert (attributes["exception.type"], attributes["exception.message"]) == ("ValueError", "broken")
    stack = attributes["exception.stacktrace"]
    assert "KeyError: 'why'" in stack and stack.endswith("ValueError: broken") and "test_logs.py" in stack


def test_exc_info_without_an_exception(started: Started) -> None:
    log.error("nothing is wrong", exc_info=True)
    assert "exception.type" not in started.record("nothing").attributes


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class HostileError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("message", "values"),
    [
        ("%s", (Hostile(),)),
        ("%d", ("five",)),
        ("%s %s", ("one",)),
        ("none", ("one",)),
        ("%(a)s", ({"b": 1},)),
        (Hostile(), ()),
        ("%", (1,)),
    ],
)
def test_what_cannot_be_shown_is_said(
    started: Started, message: Any, values: tuple[Any, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    (ours,) = [handler for handler in logging.getLogger().handlers if isinstance(handler, logs.Handler)]
    log.propagate = False  # to pytest's own handler, which raises
    log.addHandler(ours)
    try:
        log.error(message, *values)
    finally:
        log.removeHandler(ours)
        log.propagate = True
    body = started.record().body
    assert "cannot be shown" in body
    assert not isinstance(message, str) or body.startswith(message)
    assert capsys.readouterr().err == ""


def test_an_exception_that_cannot_be_shown(started: Started) -> None:
    try:
        raise HostileError
    except HostileError:
        log.exception("it failed")
    attributes = started.record("it failed").attributes
    assert attributes["exception.type"] == "HostileError"
    assert "cannot be shown" in attributes["exception.message"]
    assert "HostileError" in attributes["exception.stacktrace"]


def test_what_is_huge_is_cut(started: Started) -> None:
    try:
        raise ValueError("y" * 50_000)
    except ValueError:
        log.exception("x" * 100_000)
    record = started.record("x")
    assert record.body.startswith("x" * entries.LONGEST)
    assert record.body.endswith(f"... ({100_000 - entries.LONGEST} more characters)")
    assert len(record.attributes["exception.message"]) < entries.LONGEST + 100
    assert len(record.attributes["exception.stacktrace"]) == entries.LONGEST


def test_half_a_surrogate_costs_only_itself(started: Started) -> None:
    log.warning("half \ud800 of one")
    log.warning("whole")
    assert started.record("half").body == "half ? of one"
    assert started.record("whole").body == "whole"
    assert started.sent.counts == {"exported": 2}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://user:pa55@host/x failed", "GET https://host/x failed"),
        ("postgresql://agents:p%40ss@db:5432/a?sslmode=on", "postgresql://db:5432/a?sslmode=on"),
        ("GET https://g.com/v1?key=AIza12345&alt=sse", "GET https://g.com/v1?key=***&alt=sse"),
        ('"https://h/?a=1&api_key=s3cr3t"', '"https://h/?a=1&api_key=***"'),
        ("https://h/?access_token=s3cr3t end", "https://h/?access_token=*** end"),
        ("https://h/?X-Amz-Signature=1&sig=s3cr3t", "https://h/?X-Amz-Signature=1&sig=***"),
        ("authorization: Bearer s3cr3t.t0ken-x", "authorization: Bearer ***"),
        ("the bearer of news", "the bearer of news"),
        ("a@b and c://d", "a@b and c://d"),
        ("see https://h/a@b?monkey", "see https://h/a@b?monkey"),
    ],
)
def test_secrets_of_addresses_are_left_out(started: Started, text: str, shown: str) -> None:
    try:
        raise ValueError(text)
    except ValueError:
        log.exception("%s", text)
    record = started.record()
    assert record.body == shown
    assert record.attributes["exception.message"] == shown
    assert "s3cr3t" not in str(record.attributes) and "pa55" not in str(record.attributes)


def test_the_values_are_those_at_the_time(started: Started) -> None:
    items = [1]
    log.warning("items %s", items)
    items.append(2)
    assert started.record("items").body == "items [1]"


def test_a_value_that_is_slow_to_show_holds_up_only_its_own_thread(started: Started) -> None:
    entered, released = threading.Event(), threading.Event()

    class Slow:
        def __str__(self) -> str:
            entered.set()
            assert released.wait(60)
            return "slow"

    (ours,) = [handler for handler in logging.getLogger().handlers if isinstance(handler, logs.Handler)]
    slow = logging.LogRecord("slow", logging.WARNING, "", 1, "%s", (Slow(),), None)
    thread = threading.Thread(target=ours.handle, args=(slow,))
    thread.start()
    assert entered.wait(60)
    log.warning("quick")
    assert started.record().body == "quick"
    released.set()
    thread.join(60)
    assert started.record("slow").body == "slow"


def test_what_telemetry_itself_logs_is_not_sent(started: Started) -> None:
    for name in ("telemetry.outbox", "opentelemetry.sdk", "grpc", "psycopg.pool"):
        logging.getLogger(name).error("cannot send")
    log.error("ours")
    assert started.record().body == "ours"


def test_a_destination_that_is_away_holds_nobody_up_and_losses_are_counted(start: Callable[..., Started]) -> None:
    sent = Sent()
    sent.failing = True
    started = start(sent, queue=10, batch=5, delay=0.01)
    for n in range(200):
        log.warning("line %d", n)
    dropped = sent.counts["dropped"]
    assert 180 <= dropped <= 190  # ten wait, and five may be on their way
    sent.failing = False
    started.stop(30)
    assert sent.counts == {"dropped": dropped, "exported": 200 - dropped}


def test_stopped_is_stopped(start: Callable[..., Started]) -> None:
    started = start()
    log.warning("before")
    started.stop(30)
    log.warning("after")
    assert [r.log_record.body for r in started.sent.records] == ["before"]
    assert not any(isinstance(h, logs.Handler) for each in logs.loggers() for h in each.handlers)


def test_the_console_is_as_before(start: Callable[..., Started]) -> None:
    def shown() -> str:
        output = io.StringIO()
        console = logging.StreamHandler(output)
        console.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        log.addHandler(console)
        try:
            log.error("one %s", "line")
            with contextlib.suppress(ValueError):
                try:
                    raise ValueError("broken")
                except ValueError:
                    log.exception("two")
                    raise
        finally:
            log.removeHandler(console)
        return output.getvalue()

    before = shown()
    agnos = list(agno_logger.handlers)
    started = start()
    assert [line for line in shown().splitlines() if "line " not in line] == [
        line for line in before.splitlines() if "line " not in line
    ]
    assert agno_logger.handlers[: len(agnos)] == agnos
    started.stop(1)
    assert agno_logger.handlers == agnos
