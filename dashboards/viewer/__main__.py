"""`python -m dashboards.viewer`: the page, on loopback, until SIGTERM."""

import logging
import sqlite3
import sys

import uvicorn
from pydantic import ValidationError

from dashboards.viewer.app import create_app
from dashboards.viewer.boards import BoardError
from dashboards.viewer.rules import RulesError
from dashboards.viewer.settings import Settings


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = Settings()
        app = create_app(settings)
    except ValidationError as error:
        for wrong in error.errors():
            print(f"{str(wrong['loc'][0]).upper()}: {wrong['msg'].removeprefix('Value error, ')}", file=sys.stderr)
        raise SystemExit(2) from None
    except (BoardError, RulesError, OSError, sqlite3.Error) as error:
        print(f"Error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    uvicorn.run(
        app,
        host="127.0.0.1",  # who may see it from elsewhere is for a proxy to say
        port=settings.dashboards_port,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main()
