"""`python -m runtime serve` and `python -m runtime migrate`."""

import ipaddress
import logging
import os
import sys

import typer
import uvicorn
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from runtime.settings import Settings, settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def serve() -> None:
    """Serve agents, webhooks and AgentOS until SIGTERM; runs get 10 s to end, telemetry is flushed."""
    current = _settings()
    if not _is_loopback(current.runtime_host) and not current.is_protected:
        _fail(
            f"RUNTIME_HOST={current.runtime_host} can be reached from other machines, and nothing protects AgentOS: "
            "set OS_SECURITY_KEY (or JWT_VERIFICATION_KEY), or listen on 127.0.0.1"
        )
    os.environ["AGNO_TELEMETRY"] = "false"  # agno phones home unless told not to
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    from runtime.main import create_app  # seconds of imports that --help need not wait for
    from runtime.migrate import is_migrated

    try:
        if not is_migrated(current.database_url):
            _fail("the database has no tables yet: run `python -m runtime migrate`")
    except SQLAlchemyError as error:
        _fail(f"DATABASE_URL cannot be used: {error.args[0] if error.args else error}")
    uvicorn.run(
        create_app(current),
        host=current.runtime_host,
        port=current.runtime_port,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=10,
    )


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


def _settings() -> Settings:
    try:
        return settings()
    except ValidationError as error:
        for wrong in error.errors():
            print(f"{str(wrong['loc'][0]).upper()}: {wrong['msg'].removeprefix('Value error, ')}", file=sys.stderr)
        _fail("these settings cannot be used")
        raise AssertionError from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _fail(message: str) -> None:
    print(f"Error: {message}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    app()
