"""`python -m dashboards.viewer`: the page, on loopback, until SIGTERM."""

import logging
import sys

from pydantic import ValidationError

from dashboards.viewer.app import create_app, make_server
from dashboards.viewer.boards import BoardError
from dashboards.viewer.rules import RulesError
from dashboards.viewer.settings import Settings
from telemetry import secrets
from telemetry.configuration import complaints


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    secrets.guard_console()
    try:
        settings = Settings()
        secrets.remember(secrets.of(settings.model_dump()))
        app = create_app(settings)
    except ValidationError as error:
        print(*complaints(error), sep="\n", file=sys.stderr)
        raise SystemExit(2) from None
    except (BoardError, RulesError, OSError) as error:
        print(secrets.without(f"Error: {error}"), file=sys.stderr)
        raise SystemExit(2) from None
    make_server(app, settings).run()


if __name__ == "__main__":
    main()
