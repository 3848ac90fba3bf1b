"""A page on a database of the module's own, with some spans."""

import time
from collections.abc import Iterator

import pytest

from stack.home import Home
from telemetry.clickhouse.direct import DirectWriter
from tests.integration.conftest import ClickHouse, fresh_clickhouse
from tests.integration.dashboards.viewing import Page, viewing
from tests.integration.test_clickhouse_schema import SECOND, run_spans


@pytest.fixture(scope="module")
def database(clickhouse_server: Home) -> Iterator[ClickHouse]:
    """Two runs of `helper`, that began ten minutes ago."""
    with fresh_clickhouse(clickhouse_server) as clickhouse:
        writer = DirectWriter(clickhouse.otel_url)
        writer.write_spans([span for n in range(2) for span in run_spans(f"run-{n}", time.time_ns() - 600 * SECOND)])
        writer.close()
        yield clickhouse


@pytest.fixture(scope="module")
def page(database: ClickHouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    directory = tmp_path_factory.mktemp("page")
    with viewing(directory, database.readonly_url, phoenix_url="http://phoenix.example/") as page:
        yield page
