"""What agents and libraries log, in ClickHouse: beside the spans and the run that it belongs to."""

import logging
import os
import subprocess
import threading
from pathlib import Path

from agno.agent import Agent
from agno.utils.log import log_warning, use_agent_logger

from runtime.offline import OfflineModel
from stack import collector
from stack.alone import wait
from stack.home import Home
from telemetry import pipeline, recorder
from telemetry.pipeline import Settings, Telemetry
from tests.integration.conftest import ClickHouse
from tests.integration.runtimes import until

log = logging.getLogger("an.application")
QUERY = """
SELECT Body, SeverityText, ScopeName, TraceId != '', LogAttributes['agno.run.id'], LogAttributes['exception.type']
FROM otel_logs FINAL WHERE Body LIKE 'it %' ORDER BY Timestamp
"""
ROWS = [
    ["it is looked up: x", "WARN", "an.application", 1, "r1", ""],
    ["it is agno's", "WARN", "agno", 1, "r1", ""],
    ["it is a thread's", "WARN", "an.application", 0, "", ""],
    ["it asks https://host/?key=***", "ERROR", "an.application", 1, "r1", "ValueError"],
    ["it has half a ? of one", "WARN", "an.application", 1, "r1", ""],
    ["it is over", "WARN", "an.application", 0, "", ""],
]


def lookup() -> str:
    log.warning("it is looked up: %s", "x")
    log_warning("it is agno's")
    thread = threading.Thread(target=lambda: log.warning("it is a thread's"))
    thread.start()
    thread.join()
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("it asks https://me:secret@host/?key=secret")
    log.warning("it has half a \ud800 of one")
    return "found"


def run(telemetry: Telemetry) -> None:
    recorder.install(telemetry)
    use_agent_logger()  # agno has one for all: a team's run before this one would have left its own
    try:
        agent = Agent(id="support", model=OfflineModel(latency=0), tools=[lookup], telemetry=False)
        agent.run("[tool lookup] go", run_id="r1", session_id="s1")
        log.warning("it is over")
    finally:
        recorder.uninstall()
        telemetry.shutdown(20)


def test_direct(clickhouse: ClickHouse) -> None:
    telemetry = pipeline.start(Settings("agent-runtime", "test", "direct", clickhouse_url=clickhouse.otel_url))
    run(telemetry)
    assert clickhouse.rows(QUERY) == ROWS
    same_trace = "SELECT uniqExact(TraceId) FROM otel_logs WHERE TraceId IN (SELECT TraceId FROM otel_traces)"
    assert clickhouse.rows(same_trace) == [[1]]
    counted = "SELECT Attributes['outcome'], max(Value) >= 6 FROM otel_metrics_sum"
    assert clickhouse.rows(f"{counted} WHERE MetricName = 'agno.telemetry.logs' GROUP BY 1") == [["exported", 1]]


def test_through_the_collector(
    clickhouse: ClickHouse, stack_home: Home, collector_binary: Path, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        **collector.environment(stack_home),
        "CLICKHOUSE_DATABASE": clickhouse.database,
        "QUEUE_DIRECTORY": str(tmp_path / "queue"),
    }
    with (tmp_path / "log").open("wb") as output:
        command = [str(collector_binary), "--config", str(collector.CONFIG)]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            wait(lambda: collector.check(stack_home), 30, process, tmp_path / "log")
            endpoint = f"http://127.0.0.1:{stack_home.ports['otlp_grpc']}"
            telemetry = pipeline.start(Settings("agent-runtime", "test", "collector", otlp_endpoint=endpoint))
            run(telemetry)
            until(lambda: len(clickhouse.rows(QUERY)) == len(ROWS), 60)
        finally:
            process.terminate()
            process.wait(30)
    assert clickhouse.rows(QUERY) == ROWS
