"""`stack backup` and `stack restore`: all that the stack knows, in one directory, taken while it runs.

ClickHouse first, then Postgres: so Postgres has every span that ClickHouse has, and what ClickHouse lacks is sent to it
again out of Postgres, as always (docs/architecture.md, "ClickHouse is kept complete").
"""

import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.console import Console

from stack import postgres
from stack.alone import running
from stack.errors import StackError
from stack.home import Home, read, write
from stack.process import Command
from stack.replay import told
from stack.supervision import Supervisor
from telemetry.clickhouse.client import connect, database_of

FORMAT = 1
SECONDS = 86_400  # for ClickHouse to answer
RUNNING = "is the stack running? `stack up`"
DISK = "backups"  # of ClickHouse's configuration, a directory beside its data
SQLITE = ("phoenix/phoenix.db", "dashboards/alerts.sqlite")
DATA = ("postgres", "clickhouse", "phoenix", "dashboards", "collector")  # directories that a restore makes anew


def save(home: Home, directory: Path) -> None:
    """Writes a backup into `directory`, which must be new or empty. Raises StackError, and leaves no backup then.

    The manifest is written last: a directory without one is none.
    """
    if directory.exists() and any(directory.iterdir()):
        raise StackError(f"{directory} is not empty", "name a new directory")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)  # it holds the secrets
    try:
        _save_clickhouse(home, directory / "clickhouse")
        moment = _save_postgres(home, directory / "postgres.dump")
        for name in SQLITE:
            if (home.path / name).exists():
                _copy_sqlite(home.path / name, directory / name)
        write(directory / "secrets.json", asdict(home.secrets))
        write(directory / "manifest.json", {"format": FORMAT, "saved": moment.isoformat()})
    except BaseException:
        shutil.rmtree(directory)
        raise


def load(home: Home, directory: Path) -> Home:
    """Replaces all data of `home`, whose stack must be down, and its secrets, with those of the backup.

    Answers the home as it is then. Raises StackError; a restore that was interrupted is simply begun again.
    """
    manifest = _check(directory)
    if Supervisor(home).running():
        raise StackError("the stack is running", "stack down")
    for name in DATA:
        shutil.rmtree(home.path / name, ignore_errors=True)
    write(home.path / "secrets.json", read(directory / "secrets.json"))
    home = Home(home.path, home.settings)
    home.choose_ports()
    home.state.runtime_migrated = ""  # the tables may be those of an older release
    home.state.restored = manifest["saved"]
    home.save()
    _load_clickhouse(home, directory / "clickhouse")
    _load_postgres(home, directory / "postgres.dump")
    for name in SQLITE:
        if (directory / name).exists():
            _copy_sqlite(directory / name, home.path / name)
    return home


def _check(directory: Path) -> dict[str, Any]:
    manifest = read(directory / "manifest.json")
    if manifest.get("format") != FORMAT:
        raise StackError(f"{directory} holds no complete backup", "name a directory that `stack backup` has written")
    return manifest


def _save_clickhouse(home: Home, target: Path) -> None:
    name = datetime.now(UTC).strftime("%Y%m%d%H%M%S%f")
    written = home.path / "clickhouse" / DISK / name
    try:
        _in_clickhouse(home, f"BACKUP DATABASE {database_of(home.clickhouse_url)} TO Disk('{DISK}', '{name}')")
        shutil.move(written, target)
    finally:
        shutil.rmtree(written, ignore_errors=True)


def _load_clickhouse(home: Home, source: Path) -> None:
    link = home.path / "clickhouse" / DISK / "restored"
    link.parent.mkdir(mode=0o700, parents=True)
    link.symlink_to(source)
    with running(home, "clickhouse"):
        _in_clickhouse(home, f"RESTORE DATABASE {database_of(home.clickhouse_url)} FROM Disk('{DISK}', 'restored')")
    link.unlink()


def _in_clickhouse(home: Home, statement: str) -> None:
    try:
        client = connect(home.clickhouse_url, database="", send_receive_timeout=SECONDS)
        client.command(statement)
        client.close()
    except ClickHouseError as error:
        raise StackError(f"ClickHouse: {str(error).splitlines()[0][:500]}", RUNNING) from error


def _save_postgres(home: Home, target: Path) -> datetime:
    """As it was at the moment that is answered. The roles are made anew at the restore."""
    try:
        with postgres.connect(home, "agents") as database, database.transaction():
            database.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            ((snapshot, moment),) = database.execute("SELECT pg_export_snapshot(), clock_timestamp()").fetchall()
            options = ["--format=custom", "--compress=1", f"--snapshot={snapshot}", f"--file={target}"]
            _in_postgres(home, "pg_dump", options)
    except psycopg.Error as error:
        raise StackError(f"PostgreSQL: {str(error).splitlines()[0]}", RUNNING) from error
    found: datetime = moment
    return found.astimezone(UTC)


def _load_postgres(home: Home, source: Path) -> None:
    postgres.prepare(home)
    with running(home, "postgres"):
        postgres.create_database(home)
        _in_postgres(home, "pg_restore", ["--exit-on-error", str(source)])
        with postgres.connect(home, "agents") as database:
            database.execute("DELETE FROM telemetry_comparison")  # what ClickHouse has is older: compare it all
            database.execute("ANALYZE")


def _in_postgres(home: Home, program: str, arguments: list[str]) -> None:
    """As the superuser, who may give the tables to their owners."""
    where = ["--host=127.0.0.1", f"--port={home.ports['postgres']}", "--username=postgres", "--dbname=agents"]
    argv = [str(postgres.binary(program)), *where, "--no-password", *arguments]
    environment = {**Command(argv).full_environment(), "PGPASSWORD": home.secrets.postgres_superuser}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        end = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise StackError(f"{program} failed: {end}", RUNNING)


def _copy_sqlite(source: Path, target: Path) -> None:
    """Also while it is written to."""
    target.parent.mkdir(mode=0o700, exist_ok=True)
    target.unlink(missing_ok=True)
    with closing(sqlite3.connect(source)) as there, closing(sqlite3.connect(target)) as here:
        there.backup(here)


def backup(directory: Annotated[Path, typer.Argument(help="A new or empty directory.")]) -> None:
    """Save everything into DIRECTORY while the stack runs: data of all stores, and the secrets.

    Postgres is as it was at one moment; runs that were under way then begin again
    after a restore. ClickHouse is saved before it, and what it lacks of Postgres'
    spans is sent again after a restore. Metrics and logs that were still on their
    way are not in the backup. Keep it as you keep passwords.

    Example:  stack backup /backups/$(date +%F)
    """
    console = Console()
    with told(console), console.status("saving ..."):
        save(Home.open(), directory.expanduser().absolute())
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    console.print(f"Saved {size / 1e6:,.1f} MB in {directory}", highlight=False, soft_wrap=True)


def restore(
    directory: Annotated[Path, typer.Argument(help="What `stack backup` has written.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Replace all data and secrets of this stack, which must be down, with those of a backup.

    What was accepted after the backup is gone; a delivery that its sender repeats
    runs again. Then start it, and see that all is there:

    Example:  stack restore /backups/2026-11-21 && stack up --detach && stack verify --since 7d
    """
    console = Console()
    with told(console):
        home, directory = Home.open(), directory.expanduser().absolute()
        manifest = _check(directory)
        if not yes and any((home.path / name).exists() for name in DATA):
            typer.confirm(
                f"Delete the data in {home.path}, and put there what was saved at {manifest['saved']}?", abort=True
            )
        with console.status("restoring ..."):
            load(home, directory)
    console.print("Restored. Next: stack up, then stack verify", highlight=False, soft_wrap=True)
