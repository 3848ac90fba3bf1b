"""supervisord keeps the services running; this starts it and talks to it.

Who ends when, on Linux: `stack up` in the foreground killed -> supervisord stops everything in order (SIGTERM from
the kernel); supervisord killed -> the kernel ends each service (stack.child asked for it). So nothing is orphaned.
"""

import hashlib
import os
import shlex
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ProtocolError, ServerProxy

from supervisor.xmlrpc import Faults, SupervisorTransport  # type: ignore[import-untyped]

from stack.errors import StackError
from stack.home import Home
from stack.process import PROJECT
from stack.services import SERVICES

START_SECONDS = 15.0

SUPERVISORD = """\
[supervisord]
nodaemon=true
silent=true
identifier=stack
{user}
logfile={home}/logs/supervisord.log
logfile_maxbytes=5MB
logfile_backups=2
childlogdir={home}/logs
pidfile={home}/supervisord.pid
directory={project}

[unix_http_server]
file={socket}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""

# A process that ends within startsecs counts as failed, and each failure in a row makes the next wait 1 s longer.
PROGRAM = """\
[program:{name}]
command={command}
priority={priority}
autostart=false
autorestart=true
startsecs=5
startretries=1000
stopsignal={signal}
stopwaitsecs={seconds}
killasgroup=true
redirect_stderr=true
stdout_logfile={home}/logs/{name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""


@dataclass(frozen=True)
class Process:
    """`state` as supervisord names it: STOPPED STARTING RUNNING BACKOFF STOPPING EXITED FATAL. `pid` 0: none."""

    name: str
    state: str
    pid: int
    seconds: int
    note: str


def configuration(home: Home) -> str:
    """The text of supervisord.conf. It holds no secret."""
    common = {"home": _escape(str(home.path)), "project": _escape(str(PROJECT))}
    user = "user=root" if os.geteuid() == 0 else ""  # says that this is meant
    parts = [SUPERVISORD.format(socket=_escape(str(socket_path(home))), user=user, **common)]
    for priority, service in enumerate(SERVICES.values(), start=1):
        command = shlex.join([sys.executable, "-m", "stack.child", service.name])
        parts.append(
            PROGRAM.format(
                name=service.name,
                command=_escape(command),
                priority=priority,  # they stop in the reverse order
                signal=service.stop_signal,
                seconds=service.stop_seconds,
                **common,
            )
        )
    return "\n".join(parts)


def socket_path(home: Home) -> Path:
    """In the home, unless that makes the path longer than a unix socket's may be (104 bytes on macOS)."""
    path = home.path / "supervisord.sock"
    if len(os.fsencode(path)) < 90:  # supervisord binds a longer, temporary name first
        return path
    digest = hashlib.sha256(os.fsencode(home.path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"stack-{os.getuid()}-{digest}.sock"


class Supervisor:
    """supervisord of one home. Every call opens a connection of its own, so threads may share one Supervisor."""

    def __init__(self, home: Home) -> None:
        self.home = home

    def launch(self, *, attached: bool) -> None:
        """Starts supervisord, with no service yet. `attached`: it ends with the thread that calls this.

        Raises StackError when it does not come up.
        """
        path = self.home.path / "supervisord.conf"
        path.write_text(configuration(self.home))
        log = self.home.logs / "supervisord.out"
        environment = {**os.environ, "STACK_HOME": str(self.home.path)}
        argv = [sys.executable, "-m", "stack.daemon", str(path), str(os.getpid() if attached else 0)]
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            actions = [(os.POSIX_SPAWN_DUP2, null, 0)] + [(os.POSIX_SPAWN_DUP2, output, number) for number in (1, 2)]
            pid = os.posix_spawn(argv[0], argv, environment, file_actions=actions)  # we do not wait for its end
        finally:
            os.close(output)
            os.close(null)
        deadline = time.monotonic() + START_SECONDS
        while not self.running():
            if not _alive(pid) or time.monotonic() > deadline:
                raise StackError(f"supervisord did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    def running(self) -> bool:
        """Also while it shuts down."""
        try:
            self._call("getPID")
        except Fault as fault:
            if fault.faultCode != Faults.SHUTDOWN_STATE:
                raise
        except (OSError, ProtocolError):
            return False
        return True

    def pid(self) -> int:
        return int(self._call("getPID"))

    def processes(self) -> dict[str, Process]:
        """Empty when supervisord does not run, or not for long."""
        try:
            found: list[dict[str, Any]] = self._call("getAllProcessInfo")
        except (OSError, ProtocolError, Fault):
            return {}
        return {
            item["name"]: Process(
                item["name"],
                item["statename"],
                item["pid"],
                max(0, item["now"] - item["start"]) if item["pid"] else 0,
                item["spawnerr"] or item["description"],
            )
            for item in found
        }

    def start(self, name: str) -> None:
        """Does not wait until the service is ready."""
        self._tolerant(Faults.ALREADY_STARTED, "startProcess", name, False)

    def stop(self, name: str) -> None:
        """Returns when the process has ended: by its stop signal, or killed after `stop_seconds`."""
        self._tolerant(Faults.NOT_RUNNING, "stopProcess", name, True)

    def restart(self, name: str) -> None:
        self.stop(name)
        self.start(name)

    def shutdown(self) -> None:
        """Ends supervisord, and whatever still runs under it. Returns when it is gone."""
        pid = self.pid()
        self._call("shutdown")
        deadline = time.monotonic() + sum(service.stop_seconds for service in SERVICES.values())
        while self.running() and time.monotonic() < deadline:
            time.sleep(0.05)
        while _alive(pid) and time.monotonic() < deadline:
            time.sleep(0.05)

    def _tolerant(self, harmless: int, method: str, *arguments: Any) -> None:
        try:
            self._call(method, *arguments)
        except Fault as fault:
            if fault.faultCode not in (harmless, Faults.SHUTDOWN_STATE):
                raise StackError(f"supervisord, {method} {arguments[0]}: {fault.faultString}") from fault

    def _call(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{socket_path(self.home)}")
        try:
            proxy = ServerProxy("http://localhost", transport=transport)
            return getattr(proxy.supervisor, method)(*arguments)
        finally:
            transport.close()


def _alive(pid: int) -> bool:
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # when it is our child it would stay a zombie
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _escape(text: str) -> str:
    return text.replace("%", "%%")  # supervisord expands %(name)s
