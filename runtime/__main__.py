"""`python -m runtime serve`, `python -m runtime work` and `python -m runtime migrate`."""

import ipaddress
import logging
import os
import sys
from typing import TYPE_CHECKING

import typer
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from runtime.settings import Settings, settings
from telemetry import secrets
from telemetry.configuration import complaints, export_secrets

if TYPE_CHECKING:
    from fastapi import FastAPI

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def serve() -> None:
    """Serve agents, webhooks and AgentOS until SIGTERM, and execute RUN_CONCURRENCY runs at once.

    On SIGTERM it claims nothing more; runs get DRAIN_SECONDS to end, and those that do not are begun again by another
    process.
    """
    current = _settings()
    if not _is_loopback(current.runtime_host) and not current.is_protected:
        _fail(
            f"RUNTIME_HOST={current.runtime_host} can be reached from other machines, and nothing protects AgentOS: "
            "set OS_SECURITY_KEY (or JWT_VERIFICATION_KEY), or listen on 127.0.0.1"
        )
    made = _make_app(current)
    from runtime import processes

    processes.serve(made, current)


@app.command()
def work() -> None:
    """Execute RUN_CONCURRENCY runs at once, without a server, until SIGTERM.

    What any server on the same DATABASE_URL accepts is executed; AGENTS_DIR must hold the same agents. Start as many
    as there is work for, on any machine. Servers with RUN_CONCURRENCY=0 leave all work to these.
    """
    current = _settings()
    if current.run_concurrency == 0:
        _fail("RUN_CONCURRENCY=0: there is nothing to do")
    made = _make_app(current)
    from runtime import processes

    processes.work(made, current)


@app.command()
def migrate() -> None:
    """Create or update the tables in Postgres. Safe to run again, and from several machines at once."""
    from runtime.migrate import migrate

    current = _settings()
    try:
        migrate(current.database_url)
    except SQLAlchemyError as error:
        _fail(f"the migration failed: {error.args[0] if error.args else error}")
    print("Postgres is up to date")


def _make_app(current: Settings) -> "FastAPI":
    os.environ["AGNO_TELEMETRY"] = "false"  # agno phones home unless told not to
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from runtime.main import create_app  # seconds of imports that --help need not wait for
    from runtime.migrate import is_migrated

    secrets.guard_console()  # now that agno's handlers are there, too

    try:
        if not is_migrated(current.database_url):
            _fail("the database has no tables yet: run `python -m runtime migrate`")
    except SQLAlchemyError as error:
        _fail(f"DATABASE_URL cannot be used: {error.args[0] if error.args else error}")
    return create_app(current)


def _settings() -> Settings:
    export_secrets()
    try:
        current = settings()
        secrets.remember(secrets.of(os.environ) | secrets.of(current.model_dump()))
        return current
    except ValidationError as error:
        print(*complaints(error), sep="\n", file=sys.stderr)
        _fail("these settings cannot be used")
        raise AssertionError from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _fail(message: str) -> None:
    print(f"Error: {secrets.without(message)}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    app()
