"""The embedded ClickHouse server under clients that nobody here wrote: clickhouse-connect and @clickhouse/client."""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import clickhouse_connect
import httpx
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from stack.clickhouse import command, prepare
from stack.ports import find_free
from telemetry.clickhouse.client import connect
from telemetry.clickhouse.direct import DirectWriter
from telemetry.clickhouse.migrate import migrate
from tests.integration.conftest import ClickHouse

NODE = Path(__file__).parent / "node"


class Server:
    """A server of the test's own, to be killed and started again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.http_port = find_free(set())
        self.tcp_port = find_free({self.http_port})
        self.otel_url = f"http://otel:writes@127.0.0.1:{self.http_port}/otel"
        self.readonly_url = f"http://readonly:reads@127.0.0.1:{self.http_port}/otel"
        ports = {"http_port": self.http_port, "tcp_port": self.tcp_port}
        prepare(directory, **ports, otel_password="writes", readonly_password="reads")
        self.process = self.start()

    def start(self) -> subprocess.Popen[str]:
        self.process = subprocess.Popen(command(self.directory), stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 30
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{self.http_port}/ping")
                return self.process
            except httpx.TransportError:
                assert self.process.poll() is None and time.monotonic() < deadline, self.end()
                time.sleep(0.05)

    def end(self, stop: signal.Signals = signal.SIGKILL) -> str:
        """Stops it; what it said on stderr."""
        self.process.send_signal(stop)
        return self.process.communicate(timeout=10)[1]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path / "clickhouse")
    yield found
    if found.process.poll() is None:
        found.end()


@contextmanager
def client(url: str) -> Iterator[Client]:
    opened = connect(url)
    try:
        yield opened
    finally:
        opened.close()


def refused(url: str, query: str) -> str:
    """The server's error text for the query."""
    with client(url) as opened, pytest.raises(DatabaseError) as error:
        opened.command(query)
    return str(error.value)


def test_strangers_are_refused_over_http(clickhouse: ClickHouse) -> None:
    port = clickhouse.http_port
    users = {"otel": ["", "wrong"], "readonly": ["", "wrong"], "default": ["", "wrong"], "nobody": [""]}
    for user, passwords in users.items():
        for password in passwords:
            with pytest.raises(DatabaseError, match=r"Authentication failed|SESSION_LIMIT"):
                clickhouse_connect.get_client(host="127.0.0.1", port=port, username=user, password=password)
    anonymous = httpx.post(f"http://127.0.0.1:{port}/", content="SELECT 1")
    assert anonymous.status_code >= 400


def test_strangers_are_refused_on_the_native_port(clickhouse: ClickHouse) -> None:
    assert hello(clickhouse.tcp_port, "otel", clickhouse.password) == 0  # the server's hello
    for user, password in (("otel", "wrong"), ("default", ""), ("readonly", "")):
        assert hello(clickhouse.tcp_port, user, password) == 2, user  # an exception


def hello(port: int, user: str, password: str) -> int:
    """The type of the packet that answers a native client's hello."""
    strings = [value.encode() for value in ("", user, password)]
    packet = b"\x00" + b"\x04test" + bytes([20, 1]) + b"\xa9\xa7\x03"  # name, version 20.1, protocol revision 54185
    packet += b"".join(bytes([len(value)]) + value for value in strings)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(packet)
        return connection.recv(1)[0]


def test_it_listens_on_loopback_only(clickhouse: ClickHouse) -> None:
    listening = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        address, state = line.split()[1], line.split()[3]
        if state == "0A" and int(address[-4:], 16) in (clickhouse.http_port, clickhouse.tcp_port):
            listening.add(address[:8])
    assert listening == {"0100007F"}
    assert not any(
        int(line.split()[1][-4:], 16) in (clickhouse.http_port, clickhouse.tcp_port)
        for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    )


WRITES = [
    "INSERT INTO otel_logs (Body) VALUES ('x')",
    "CREATE TABLE stolen (a UInt8) ENGINE = Memory",
    "DROP TABLE otel_traces",
    "TRUNCATE TABLE otel_traces",
    "ALTER TABLE otel_traces DELETE WHERE 1",
    "OPTIMIZE TABLE otel_traces",
    "CREATE DATABASE otel_other",
    "CREATE USER someone",
    "SELECT * FROM system.query_log",
    "SELECT * FROM system.processes",
    "SELECT * FROM file('/etc/hostname', 'LineAsString')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
    "SELECT * FROM remote('127.0.0.1', system.one)",
    "SYSTEM STOP LISTEN HTTP",
    "SYSTEM SHUTDOWN",
    "SET readonly = 0",
]


def test_the_reader_only_reads(clickhouse: ClickHouse) -> None:
    for query in WRITES:
        error = refused(clickhouse.readonly_url, query)
        deadline = time.monotonic() + 30
        while "UNKNOWN_TABLE" in error and time.monotonic() < deadline:  # the first flush makes the log's table
            time.sleep(0.5)
            error = refused(clickhouse.readonly_url, query)
        assert "ACCESS_DENIED" in error or "READONLY" in error, query


def test_the_readers_limits_hold_and_may_be_lowered(clickhouse: ClickHouse) -> None:
    url = clickhouse.readonly_url
    slow = "SELECT sum(sleepEachRow(0.1)) FROM numbers(100) SETTINGS max_execution_time = 0.5, max_block_size = 1"
    assert "TIMEOUT_EXCEEDED" in refused(url, slow)
    assert "TOO_MANY_ROWS_OR_BYTES" in refused(url, "SELECT * FROM numbers(2000000) FORMAT Null")
    greedy = "SELECT length(groupArray(number)) FROM numbers(1000000000)"
    assert "MEMORY_LIMIT_EXCEEDED" in refused(url, greedy)
    for name in ("max_execution_time", "max_memory_usage", "max_result_rows"):
        for value in ("0", "1000000000000"):
            assert "SETTING_CONSTRAINT_VIOLATION" in refused(url, f"SELECT 1 SETTINGS {name} = {value}"), name


def test_the_reader_gets_what_grafana_asks_for(clickhouse: ClickHouse) -> None:
    with client(clickhouse.readonly_url) as reader:
        databases = {row[0] for row in reader.query("SHOW DATABASES").result_rows}
        tables = {row[0] for row in reader.query("SHOW TABLES").result_rows}
        columns = [row[0] for row in reader.query("DESCRIBE TABLE otel_traces").result_rows]
        assert clickhouse.database in databases
        assert {"otel_traces", "otel_logs", "runs"} <= tables
        assert columns[:3] == ["Timestamp", "TraceId", "SpanId"]
        assert reader.command("SELECT version()").startswith("26.9")  # the verified engine
        for table in ("columns", "tables", "databases", "functions", "settings"):
            assert reader.query(f"SELECT * FROM system.{table} LIMIT 1 SETTINGS max_execution_time = 20").row_count


def test_the_writer_stays_in_its_databases(clickhouse: ClickHouse) -> None:
    for query in (
        "CREATE DATABASE other",
        "CREATE TABLE default.t (a UInt8) ENGINE = Memory",
        "CREATE USER someone",
        "INSERT INTO FUNCTION file('out.csv') SELECT 1",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
    ):
        assert "ACCESS_DENIED" in refused(clickhouse.otel_url, query), query


def test_a_query_can_be_killed(clickhouse: ClickHouse) -> None:
    errors: list[str] = []
    slow = "SELECT sleepEachRow(0.1) FROM numbers(250) SETTINGS max_block_size = 1 FORMAT Null"
    thread = threading.Thread(target=lambda: errors.append(refused(clickhouse.readonly_url, slow)))
    thread.start()
    with client(clickhouse.otel_url) as writer:
        mine = "user = 'readonly' AND query LIKE '%sleepEachRow%'"
        wait_for(lambda: writer.query(f"SELECT query_id FROM system.processes WHERE {mine}").row_count == 1)
        writer.command(f"KILL QUERY WHERE {mine} SYNC")
    thread.join(5)
    assert "QUERY_WAS_CANCELLED" in errors[0]


def wait_for(condition: Any, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_sixteen_clients_at_once(clickhouse: ClickHouse) -> None:
    with client(clickhouse.otel_url) as writer:
        writer.command("CREATE TABLE numbers16 (worker UInt8, n UInt32) ENGINE = MergeTree ORDER BY (worker, n)")

    def work(worker: int) -> int:
        with client(clickhouse.otel_url) as writer, client(clickhouse.readonly_url) as reader:
            for start in range(0, 500, 100):
                writer.insert("numbers16", [[worker, n] for n in range(start, start + 100)], ["worker", "n"])
            return int(reader.command(f"SELECT sum(n) FROM numbers16 WHERE worker = {worker}"))

    with ThreadPoolExecutor(16) as pool:
        sums = list(pool.map(work, range(16)))
    assert sums == [sum(range(500))] * 16


@pytest.fixture(scope="session")
def node_client(pytestconfig: pytest.Config) -> Path:
    """A directory with @clickhouse/client installed from the committed lock, kept between runs."""
    assert shutil.which("npm"), "node and npm are needed for this test: install Node.js 20 or later"
    assert pytestconfig.cache is not None
    directory = pytestconfig.cache.mkdir("node-clickhouse")
    lock = (NODE / "package-lock.json").read_bytes()
    done = directory / "installed.lock"
    if not done.exists() or done.read_bytes() != lock:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(NODE / name, directory)
        install = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        answer = subprocess.run(install, cwd=directory, capture_output=True, text=True, timeout=100)
        assert answer.returncode == 0, answer.stderr
        done.write_bytes(lock)
    shutil.copy(NODE / "client.mjs", directory)
    return directory


def test_the_node_client(clickhouse: ClickHouse, node_client: Path) -> None:
    urls = {"OTEL_URL": clickhouse.otel_url, "READONLY_URL": clickhouse.readonly_url}
    answer = subprocess.run(
        ["node", "client.mjs"], cwd=node_client, env={**os.environ, **urls}, capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == {
        "ping": True,
        "stored": [{"n": 1000, "unicode": 1}],
        "streamed": 200_000,
        "concurrent": [499_500 + n for n in range(16)],
        "wrongPassword": "516",
        "defaultUser": "700",
        "readerInsert": "497",
        "readerDrop": "497",
        "runningBeforeAbort": 1,
        "aborted": True,
        "runningAfterAbort": 0,
    }


def make_spans(count: int, name: str) -> list[ReadableSpan]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    for number in range(count):
        tracer.start_span(f"{name} {number % 5}", attributes={"n": number}).end()
    return list(exporter.get_finished_spans())


def stored(url: str) -> list[str]:
    with client(url) as reader:
        return [row[0] for row in reader.query("SELECT SpanId FROM otel_traces").result_rows]


def ids(spans: list[ReadableSpan]) -> list[str]:
    return [f"{span.context.span_id:016x}" for span in spans]


def test_kill_9_loses_nothing_acknowledged_and_retries_double_nothing(server: Server) -> None:
    migrate(server.otel_url)
    batches = [make_spans(200, "work") for _ in range(60)]
    acknowledged: list[int] = []

    def write() -> None:
        writer = DirectWriter(server.otel_url)
        try:
            for number, batch in enumerate(batches):
                writer.write_spans(batch)
                acknowledged.append(number)
        except Exception:
            return
        finally:
            writer.close()

    thread = threading.Thread(target=write)
    thread.start()
    wait_for(lambda: len(acknowledged) >= 15)
    server.end(signal.SIGKILL)
    thread.join(20)
    assert 15 <= len(acknowledged) < len(batches), "the kill did not come between inserts"

    server.start()
    sent = [span for number in acknowledged for span in batches[number]]
    present = stored(server.readonly_url)
    assert set(ids(sent)) <= set(present)
    assert len(present) == len(set(present))

    # The client sends again what was not acknowledged, and the last that was, in other batches than before.
    rest = [span for batch in batches[len(acknowledged) - 2 :] for span in batch]
    writer = DirectWriter(server.otel_url)
    for start in range(0, len(rest), 333):
        writer.write_spans(rest[start : start + 333])
    writer.close()
    present = stored(server.readonly_url)
    assert sorted(present) == sorted(ids([span for batch in batches for span in batch]))

    assert "stopped" in server.end(signal.SIGTERM)
    server.start()
    assert len(stored(server.readonly_url)) == len(present)


def test_it_stops_promptly_though_a_query_runs(server: Server) -> None:
    slow = "SELECT sleepEachRow(0.1) FROM numbers(250) SETTINGS max_block_size = 1"
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(
            httpx.post, f"http://127.0.0.1:{server.http_port}/", content=slow, auth=("readonly", "reads")
        )
        time.sleep(0.5)
        began = time.monotonic()
        said = server.end(signal.SIGINT)
        assert time.monotonic() - began < 15
        assert server.process.returncode == 0 and "stopped" in said
        with pytest.raises(httpx.TransportError):
            answer.result(10)


def test_a_second_server_on_the_directory_is_refused(server: Server) -> None:
    second = subprocess.run(command(server.directory), capture_output=True, text=True, timeout=30)
    assert second.returncode == 2
    assert f"another ClickHouse server (process {server.process.pid}) runs on {server.directory}" in second.stderr
    assert httpx.get(f"http://127.0.0.1:{server.http_port}/ping").text == "Ok.\n"


def test_a_busy_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        prepare(tmp_path, http_port=find_free(set()), tcp_port=port, otel_password="a", readonly_password="b")
        answer = subprocess.run(command(tmp_path), capture_output=True, text=True, timeout=30)
    assert answer.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in answer.stderr


def test_system_logs_are_bounded(clickhouse: ClickHouse) -> None:
    with client(clickhouse.otel_url) as writer:
        writer.command("SELECT 'logged'")
        writer.command("SYSTEM FLUSH LOGS")
        logs = writer.query(
            "SELECT name, engine_full FROM system.tables WHERE database = 'system' AND engine = 'MergeTree'"
        ).result_rows
    assert [name for name, _ in logs] == ["query_log"]
    assert "PARTITION BY event_date" in logs[0][1] and "TTL event_date + toIntervalDay(3)" in logs[0][1]


def test_files_with_secrets_are_the_owners(tmp_path: Path) -> None:
    directory = tmp_path / "clickhouse"
    for _ in range(2):
        prepare(directory, http_port=1, tcp_port=2, otel_password="open sesame", readonly_password="b")
    assert directory.stat().st_mode & 0o777 == 0o700
    for name in ("users.xml", "config.xml", "users.d/launcher.xml", "environment.json"):
        assert (directory / name).stat().st_mode & 0o777 == 0o600
        assert "open sesame" not in (directory / name).read_text()
