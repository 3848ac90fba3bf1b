"""The ClickHouse server out of the chdb-core wheel: `python -m stack.clickhouse_server DIR`.

DIR holds config.xml, users.xml and, in environment.json, the variables that they take (stack.clickhouse.prepare writes
all three), and gets the data. The engine in the wheel is a whole ClickHouse, and since 2026 its `SYSTEM START LISTEN`
opens the HTTP and native ports. chDB's public API does not pass that statement on, its private `_chdb.query` does:
hence the pinned wheel and the checks.

Exit codes: 0 stopped by SIGTERM or SIGINT, 1 the server failed, 2 it could not start as asked (usage, ports,
lock), 3 the wheel has no server that we know how to start.
"""

import faulthandler
import fcntl
import importlib.metadata
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PORTS = ("CLICKHOUSE_HTTP_PORT", "CLICKHOUSE_TCP_PORT")
VERIFIED = "26.9.0"  # the chdb-core that the tests ran against
START_SECONDS = 60.0  # attaching a large database takes a while: 10 million spans took 2.5 s
STOP_SECONDS = 1.0  # for running queries to end; what is acknowledged is on disk already
HANG_SECONDS = 5.0  # then the process ends itself, with a traceback, though the engine may hold Python's lock


class StartError(Exception):
    """Why the server cannot run, in words for its operator. `code` is the exit code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def main() -> None:
    try:
        if len(sys.argv) != 2:
            raise StartError(2, "usage: python -m stack.clickhouse_server DIR")
        code = serve(Path(sys.argv[1]).resolve())
    except StartError as error:
        say(str(error))
        code = error.code
    # The engine's threads outlive the interpreter's shutdown, so leave without it.
    sys.stderr.flush()
    os._exit(code)


def serve(directory: Path) -> int:
    """Runs the server on `directory` until a signal; returns the exit code."""
    environment = read_environment(directory / "environment.json")
    ports = [int(environment[name]) for name in PORTS]
    _lock = take_lock(directory / "lock")
    for port in ports:
        require_free(port)
    version = importlib.metadata.version("chdb-core")
    if version != VERIFIED:
        say(f"chdb-core {version} is installed; this launcher was verified with {VERIFIED} only")
    query = find_entry_point(version)

    hold = directory / "hold.fifo"
    if not hold.exists():
        os.mkfifo(hold, 0o600)
    stopping = threading.Event()

    def stop(*_: object) -> None:
        stopping.set()
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        release(hold)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    os.environ.update(environment)
    os.chdir(directory)  # where the engine looks for config.xml
    errors: list[str] = []
    engine = threading.Thread(target=run, args=(query, directory, hold, errors), daemon=True)
    engine.start()
    try:
        wait_until_listening(ports, engine, stopping)
        if not stopping.is_set() and engine.is_alive():
            say(f"ready on 127.0.0.1, HTTP {ports[0]}, native {ports[1]}, chdb-core {version}")
        while engine.is_alive() and not stopping.is_set():
            engine.join(0.2)
        engine.join(STOP_SECONDS)
    finally:
        hold.unlink(missing_ok=True)
    if errors:
        raise StartError(*explain(errors[0], version))
    if not stopping.is_set():
        raise StartError(1, "the engine returned without being asked to stop")
    say("stopped" if not engine.is_alive() else "stopped, with clients still connected")
    return 0


def run(query: Callable[..., Any], directory: Path, hold: Path, errors: list[str]) -> None:
    """Listens until something is written to the fifo `hold`; an engine error goes into `errors`."""
    statements = (
        "SYSTEM START LISTEN HTTP",
        "SYSTEM START LISTEN TCP",
        f"SELECT * FROM file('{hold}', 'LineAsString') FORMAT Null",  # blocks: nobody writes before release()
        "SYSTEM STOP LISTEN HTTP",
        "SYSTEM STOP LISTEN TCP",
    )
    try:
        answer = query("; ".join(statements), "TabSeparated", path=str(directory / "data"))
        if answer.has_error():
            errors.append(str(answer.error_message()))
    except Exception as error:
        errors.append(f"{type(error).__name__}: {error}")


def release(hold: Path) -> None:
    """Ends the statement that run() waits in."""
    fifo = os.open(hold, os.O_RDWR | os.O_NONBLOCK)
    os.write(fifo, b"stop\n")
    os.close(fifo)


def read_environment(path: Path) -> dict[str, str]:
    try:
        environment = {name: str(value) for name, value in dict(json.loads(path.read_text())).items()}
        if any(not environment[name].isdecimal() for name in PORTS):
            raise ValueError("a port is a number")
    except FileNotFoundError:
        raise StartError(2, f"{path} is missing; stack.clickhouse.prepare() writes it") from None
    except (ValueError, TypeError, KeyError) as error:
        raise StartError(2, f"{path} has no usable {' and '.join(PORTS)}: {error}") from None
    return environment


def take_lock(path: Path) -> Any:
    """The open lock file; the kernel gives the lock back when this process ends, however it ends."""
    file = open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")  # noqa: SIM115 - held until the process ends
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = file.read().strip() or "unknown"
        raise StartError(2, f"another ClickHouse server (process {owner}) runs on {path.parent}") from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def require_free(port: int) -> None:
    """The engine only logs a port that it cannot have, so ask first."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise StartError(2, f"cannot listen on 127.0.0.1:{port}: {error.strerror}") from None


def find_entry_point(version: str) -> Callable[..., Any]:
    """chDB's private query function. Importing chdb opens an engine that reads ./config.xml: hence chdir."""
    os.chdir("/")
    try:
        from chdb import _chdb

        private: Any = _chdb  # a compiled module without annotations
        private.set_signal_handlers_enabled(0)  # SIGTERM is ours
        query: Callable[..., Any] = private.query
        return query
    except (ImportError, AttributeError, TypeError) as error:
        raise StartError(3, changed(version, str(error))) from error


def wait_until_listening(ports: list[int], engine: threading.Thread, stopping: threading.Event) -> None:
    deadline = time.monotonic() + START_SECONDS
    for port in ports:
        while engine.is_alive() and not stopping.is_set():
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise StartError(1, f"port {port} silent {START_SECONDS:.0f} s after the start") from None
                stopping.wait(0.05)


def explain(error: str, version: str) -> tuple[int, str]:
    """Exit code and message for what the engine or the entry point said."""
    signs = ("TypeError", "SYNTAX_ERROR", "UNSUPPORTED", "NOT_IMPLEMENTED")
    if any(sign in error for sign in signs):
        return 3, changed(version, error)
    return 1, f"the ClickHouse engine failed: {error}"


def changed(version: str, detail: str) -> str:
    return (
        f"chdb-core {version} does not start a server the way {VERIFIED} does ({detail}). "
        f"Install chdb-core=={VERIFIED}, or adapt stack/clickhouse_server.py to the new wheel."
    )


def say(message: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} clickhouse: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
