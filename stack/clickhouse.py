"""What the embedded ClickHouse server (stack.clickhouse_server runs it) is started with.

Its configuration is that of every other deployment, deploy/clickhouse; here is what differs.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

from stack.process import PROJECT

FILES = PROJECT / "deploy" / "clickhouse"
MEMORY = 2_000_000_000  # bytes; the server refuses queries beyond it

# The server's own session is the user `default`, without a password, and the only one it may have.
LAUNCHER = """\
<clickhouse>
  <profiles>
    <launcher><max_sessions_for_user>1</max_sessions_for_user></launcher>
  </profiles>
  <users>
    <default>
      <password></password>
      <networks><ip>::1</ip></networks>
      <profile>launcher</profile><quota>default</quota>
      <grants>
        <query>GRANT SYSTEM LISTEN ON *.*</query>
        <query>GRANT FILE ON *.*</query>
        <query>GRANT CREATE TEMPORARY TABLE ON *.*</query>
      </grants>
    </default>
  </users>
</clickhouse>
"""


def prepare(
    directory: Path,
    *,
    http_port: int,
    tcp_port: int,
    otel_password: str,
    readonly_password: str,
    memory: int = MEMORY,
) -> None:
    """Writes config.xml, users.xml and environment.json into `directory` (made if missing, mode 0700), where the data
    goes, too.

    `memory` is in bytes. Run before every start: the files follow the ports and passwords given here.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / "users.d").mkdir(mode=0o700, exist_ok=True)
    environment = {
        "CLICKHOUSE_LISTEN": "127.0.0.1",
        "CLICKHOUSE_CLIENTS": "127.0.0.1",
        "CLICKHOUSE_HTTP_PORT": str(http_port),
        "CLICKHOUSE_TCP_PORT": str(tcp_port),
        "CLICKHOUSE_MEMORY": str(memory),
        "CLICKHOUSE_BACKUPS": f"{directory.absolute()}/backups/",
        "CLICKHOUSE_PASSWORD_SHA256": _sha256(otel_password),
        "CLICKHOUSE_READONLY_PASSWORD_SHA256": _sha256(readonly_password),
    }
    _write(directory / "environment.json", json.dumps(environment, indent=2))
    for name in ("config.xml", "users.xml"):
        _write(directory / name, (FILES / name).read_text())
    _write(directory / "users.d" / "launcher.xml", LAUNCHER)


def command(directory: Path) -> list[str]:
    """Runs the server on `directory` in the foreground; it logs to stderr and stops on SIGTERM."""
    return [sys.executable, "-m", "stack.clickhouse_server", str(directory)]


def _sha256(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    """Replaces `path`, readable by the owner only from its first byte on."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)
