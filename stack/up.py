"""`stack up`: from nothing to a running stack."""

import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import httpx

from stack import collector_build, phoenix, postgres
from stack.board import Board
from stack.errors import StackError
from stack.home import Home
from stack.ports import DEFAULTS
from stack.services import SERVICES, Service, migrate, runtime_version, write_command
from stack.supervision import Supervisor

DISK_BYTES = 2_000_000_000  # fresh data directories, logs, and the build of the collector
LOG_LINES = 20
FAILURES = 4  # a service that ended so often before it was ready does not come up


def check_machine(home: Home) -> None:
    """Raises StackError when there is no point in trying."""
    free = shutil.disk_usage(home.path).free
    if free < DISK_BYTES:
        raise StackError(
            f"{home.path} has {free / 1e9:.1f} GB free; the stack needs {DISK_BYTES / 1e9:.0f} GB",
            "free some space, or set STACK_HOME to another disk",
        )
    postgres.binary("postgres")
    if find_spec("chdb") is None:
        raise StackError(
            "chdb-core is not installed: it has wheels for Linux (glibc) and macOS, x86-64 and arm64",
            "`uv sync`; on another platform use compose.yaml",
        )


def moved_ports(home: Home) -> list[str]:
    """One line for each service that did not get its usual port."""
    return [
        f"{name}: port {home.ports[name]}, because {default} is taken"
        for name, default in DEFAULTS.items()
        if home.ports[name] != default and home.settings.port(name) is None
    ]


class Interrupted(Exception):
    """Another service failed, or the user pressed Ctrl-C."""


class Startup:
    """One start of the services under a supervisord that runs already. `run()` returns when all are ready."""

    def __init__(self, home: Home, supervisor: Supervisor, board: Board) -> None:
        self.home = home
        self.supervisor = supervisor
        self.board = board
        self.warnings: list[str] = []
        self._built = ""
        self._stopping = threading.Event()
        self._runtime = threading.Lock()  # its start, and its restart in another mode

    def run(self) -> None:
        """Raises StackError when Postgres, ClickHouse or the runtime does not come up."""
        with ThreadPoolExecutor(thread_name_prefix="up") as pool:
            try:
                database = pool.submit(self._postgres)
                analytics = pool.submit(self._clickhouse)
                collector = pool.submit(self._collector)
                database.result()
                analytics.result()
                reading = pool.submit(self._phoenix)
                viewing = pool.submit(self._dashboards)
                self._start_runtime()
                collector.result()
                reading.result()
                viewing.result()
            finally:
                self._stopping.set()

    def _postgres(self) -> None:
        self.board.working("postgres", "preparing its data")
        postgres.prepare(self.home)
        self._start("postgres", done=False)
        postgres.create_database(self.home)
        self.board.done("postgres")
        current = runtime_version()
        if self.home.state.runtime_migrated != current:  # it takes seconds: it imports all of agno
            self._migrate("runtime", "runtime", "migrating its tables")
            self.home.state.runtime_migrated = current
            self.home.save()

    def _clickhouse(self) -> None:
        self._start("clickhouse", done=False)
        self._migrate("clickhouse", "telemetry.clickhouse", "migrating the schema")
        self.board.done("clickhouse")

    def _start_runtime(self) -> None:
        with self._runtime:
            self._start("runtime")

    def _phoenix(self) -> None:
        if not self.home.state.phoenix:
            return
        try:
            self._start("phoenix")
            phoenix.keep_password(self.home)
        except httpx.HTTPError as error:
            self.warnings.append(f"Phoenix will ask for a new password at the first login: {error}")
        except StackError as error:
            self.board.failed("phoenix", "does not come up")
            self.warnings.append(f"{error}\nPhoenix is tried again and again; everything else works without it.")

    def _dashboards(self) -> None:
        """It needs ClickHouse only: alerts go on when the runtime is dead."""
        try:
            self._start("dashboards")
        except StackError as error:
            self.board.failed("dashboards", "does not come up")
            self.warnings.append(f"{error}\nThe page is tried again and again; until then there are no alerts.")

    def _collector(self) -> None:
        if self.home.mode == "direct":
            self.board.failed("collector", "not used: direct mode")
            return
        try:
            self.board.working("collector", "looking for it")
            log = self.home.logs / "collector-build.log"
            path = collector_build.find_or_build(self.home.settings, self._building, log)
            self.home.state.collector = str(path)
            self.home.save()
            self._start("collector")
        except StackError as error:
            if self.home.settings.mode == "collector":
                raise
            self._go_direct(f"{error}. {error.hint}".strip())

    def _building(self, line: str) -> None:
        if self._stopping.is_set():
            raise Interrupted
        if line and line != self._built:
            self._built = line
            self.board.working("collector", f"building: {line}")

    def _go_direct(self, reason: str) -> None:
        """The runtime may run already, with its telemetry waiting for a collector that will not come."""
        self.board.failed("collector", "none: direct mode")
        self.supervisor.stop("collector")
        self.home.state.mode = "direct"
        self.home.state.mode_reason = reason
        self.home.save()
        with self._runtime:
            if self.supervisor.processes()["runtime"].pid:
                write_command(self.home, SERVICES["runtime"])
                self.supervisor.restart("runtime")
                self._wait(SERVICES["runtime"])

    def _start(self, name: str, *, done: bool = True) -> None:
        self.board.working(name, "starting")
        write_command(self.home, SERVICES[name])
        self.supervisor.start(name)
        self._wait(SERVICES[name])
        if done:
            self.board.done(name)

    def _wait(self, service: Service) -> None:
        """Until the service is healthy. Raises StackError with the end of its log."""
        deadline = time.monotonic() + service.ready
        pids: set[int] = set()
        while not self._stopping.is_set():
            process = self.supervisor.processes().get(service.name)
            if process is None:
                raise StackError("supervisord is gone", f"see {self.home.logs / 'supervisord.log'}")
            pids |= {process.pid} - {0}
            if process.pid and healthy(service.check, self.home):
                return
            late = time.monotonic() > deadline
            if late or len(pids) > FAILURES or process.state == "FATAL":
                what = f"is not ready after {service.ready:.0f} s" if late else "ends as soon as it is started"
                self.board.failed(service.name, what)
                raise StackError(f"{service.title} {what}. The end of its log:\n{self.tail(service.name)}")
            time.sleep(0.1)
        raise Interrupted

    def _migrate(self, row: str, module: str, note: str) -> None:
        self.board.working(row, note)
        done = migrate(self.home, module)
        with (self.home.logs / "migrate.log").open("a") as log:
            log.write(done.stdout + done.stderr)
        if done.returncode:
            lines = (done.stdout + done.stderr).strip().splitlines()[-LOG_LINES:]
            raise StackError(f"`python -m {module} migrate` failed:\n" + "\n".join(lines))

    def tail(self, name: str) -> str:
        log = self.home.logs / f"{name}.log"
        if not log.exists():
            return "(empty)"
        return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])


def healthy(check: Callable[[Home], None], home: Home) -> bool:
    """Whatever a check raises means "not yet"."""
    try:
        check(home)
    except Exception:
        return False
    return True
