"""STACK_HOME: the directory that holds the stack's data, its secrets and what is known of the running stack."""

import base64
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self

from stack import ports
from stack.errors import StackError
from stack.ports import DEFAULTS
from stack.settings import Settings

Mode = Literal["collector", "direct"]


def _token() -> str:
    return secrets.token_hex(24)


def _phoenix_secret() -> str:
    return "a1" + _token()  # Phoenix wants at least 32 characters with a digit and a lower case letter


@dataclass(frozen=True)
class Secrets:
    """Generated once per home. Hexadecimal, so that they need no quoting in URLs, XML or YAML."""

    postgres_superuser: str = field(default_factory=_token)
    postgres: str = field(default_factory=_token)
    postgres_readonly: str = field(default_factory=_token)
    clickhouse: str = field(default_factory=_token)
    clickhouse_readonly: str = field(default_factory=_token)
    phoenix_secret: str = field(default_factory=_phoenix_secret)
    phoenix_api_key: str = field(default_factory=_phoenix_secret)
    phoenix_password: str = field(default_factory=lambda: secrets.token_hex(8))
    webhook: str = field(default_factory=lambda: "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())
    alerts: str = field(default_factory=_token)  # the stack's alerts prove themselves to the runtime with it


@dataclass
class State:
    """What `up` decided. Written by `up`, read by the children at each start and by the other commands."""

    ports: dict[str, int] = field(default_factory=lambda: dict(DEFAULTS))
    mode: Mode = "collector"
    mode_reason: str = ""  # why direct
    collector: str = ""  # path of the collector binary
    phoenix: bool = True
    restored: str = ""  # the moment (ISO 8601) at which what was last restored had been saved
    runtime_migrated: str = ""  # stack.services.runtime_version of the last migration


class Home:
    """Open it with `Home.open()`; `state` is what was last saved."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        self.settings = settings
        self.secrets = self._load_secrets()
        self.state = self._load_state()

    @classmethod
    def open(cls, path: Path | None = None) -> Self:
        """Opens `path`, else STACK_HOME, else ./.stack, and creates it when it is not there.

        Raises StackError when the directory cannot be written.
        """
        settings = Settings()
        path = (path or settings.home).expanduser().absolute()
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            (path / "logs").mkdir(mode=0o700, exist_ok=True)
            return cls(path, settings)
        except PermissionError as error:
            raise StackError(f"cannot use {path}: {error}", "set STACK_HOME to another directory") from error

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def ports(self) -> dict[str, int]:
        return self.state.ports

    @property
    def mode(self) -> Mode:
        return self.state.mode

    @property
    def database_url(self) -> str:
        return f"postgresql://agents:{self.secrets.postgres}@127.0.0.1:{self.ports['postgres']}/agents"

    @property
    def database_readonly_url(self) -> str:
        return (
            f"postgresql://agents_readonly:{self.secrets.postgres_readonly}@127.0.0.1:{self.ports['postgres']}/agents"
        )

    @property
    def clickhouse_url(self) -> str:
        return f"http://otel:{self.secrets.clickhouse}@127.0.0.1:{self.ports['clickhouse_http']}/otel"

    @property
    def clickhouse_readonly_url(self) -> str:
        return f"http://readonly:{self.secrets.clickhouse_readonly}@127.0.0.1:{self.ports['clickhouse_http']}/otel"

    @property
    def phoenix_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['phoenix']}"

    @property
    def phoenix_api_key(self) -> str:
        return self.secrets.phoenix_api_key

    @property
    def runtime_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['runtime']}"

    @property
    def dashboards_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['dashboards']}"

    @property
    def webhook_secret(self) -> str:
        return self.secrets.webhook

    @property
    def collector_metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['collector_metrics']}/metrics"

    def choose_ports(self) -> None:
        """Only while nothing runs. Raises StackError when a port that the user set is busy."""
        self.state.ports = ports.choose(self.settings, self.state.ports)

    def save(self) -> None:
        write(self.path / "state.json", asdict(self.state))

    def _load_state(self) -> State:
        known = {item.name for item in fields(State)}
        saved = {name: value for name, value in read(self.path / "state.json").items() if name in known}
        state = State(**saved)
        state.ports = {**DEFAULTS, **state.ports}
        return state

    def _load_secrets(self) -> Secrets:
        known = {item.name for item in fields(Secrets)}
        path = self.path / "secrets.json"
        with _locked(self.path):  # two commands at once on a new home have the same secrets
            saved = {name: value for name, value in read(path).items() if name in known}
            loaded = Secrets(**saved)
            if saved != asdict(loaded):
                write(path, asdict(loaded))
        return loaded


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read(path: Path) -> dict[str, Any]:
    """The JSON object in the file; empty when there is no file. Raises StackError when it is damaged."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StackError(f"{path} is damaged: {error}", "`stack reset` deletes it with all data") from error
    if not isinstance(content, dict):
        raise StackError(f"{path} is damaged: not a JSON object", "`stack reset` deletes it with all data")
    return content


def write(path: Path, content: dict[str, Any]) -> None:
    """Replaces the file at once, readable by its owner only, so that a reader never sees half of it."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
