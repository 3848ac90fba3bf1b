"""Direct mode in the foreground: no collector, the same rows; Ctrl-C ends everything and flushes."""

import json
import signal
import subprocess
import time
from pathlib import Path

import clickhouse_connect
import pytest

from stack.trajectories import counts, read
from tests import trajectories
from tests.e2e.conftest import Stack, stack

pytestmark = pytest.mark.timeout(400)


def wait_until_healthy(it: Stack, up: subprocess.Popen[str], names: set[str]) -> None:
    deadline = time.monotonic() + 180  # beside other stacks and a browser on two cores
    while time.monotonic() < deadline:
        assert up.poll() is None, up.communicate()[0]
        status = it.run("status", "--json")
        if status.returncode in (0, 1):
            services = {line["name"]: line["healthy"] for line in json.loads(status.stdout)["services"]}
            if names <= services.keys() and all(services[name] for name in names):
                return
        time.sleep(0.5)
    logs = [f"{log.name}:\n{log.read_text(errors='replace')[-1000:]}" for log in sorted(it.home.logs.glob("*.log"))]
    pytest.fail("\n".join(["the stack did not become healthy", status.stdout, *logs]))


def test_direct_mode_gives_the_same_counts(tmp_path: Path) -> None:
    recordings = trajectories.file(tmp_path)
    expected = counts(read(recordings), 1)
    with stack(STACK_MODE="direct") as it:
        up = it.start("up", "--no-phoenix")
        wait_until_healthy(it, up, {"postgres", "clickhouse", "runtime"})
        assert "direct" in it.run("status").stdout
        result = json.loads(it.must("replay", str(recordings), "--speed", "0", "--json"))
        it.must("verify", "--timeout", "60")

        found = it.clickhouse(
            "SELECT countIf(startsWith(SpanName, 'invoke_agent ')), countIf(startsWith(SpanName, 'chat ')),"
            " countIf(startsWith(SpanName, 'execute_tool ')) FROM otel_traces"
            " WHERE has({runs:Array(String)}, SpanAttributes['agno.run.id'])",
            runs=result["run_ids"],
        )
        assert found == [(expected.runs, expected.model_calls, sum(expected.tool_calls.values()))]

        client = clickhouse_connect.get_client(dsn=it.home.clickhouse_url)
        client.command("DELETE FROM otel_traces WHERE SpanName LIKE 'chat %' SETTINGS mutations_sync = 1")
        client.close()
        assert it.run("verify", "--timeout", "0").returncode == 1
        repaired = json.loads(it.must("verify", "--timeout", "10", "--repair", "--json"))
        assert repaired["ok"] and repaired["repair"]["replayed"] >= expected.model_calls
        assert json.loads(it.must("verify", "--repair", "--json"))["repair"] is None

        up.send_signal(signal.SIGINT)
        said, _ = up.communicate(timeout=90)
        assert up.returncode == 0, said
        assert it.processes() == []
