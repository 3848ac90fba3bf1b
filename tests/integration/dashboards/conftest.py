"""A page on a database of the module's own, with some spans."""

import time
from collections.abc import Iterator

import pytest

from stack.home import Home
from telemetry.clickhouse.direct import DirectWriter
from tests.integration.conftest import fresh_clickhouse
from tests.integration.dashboards.viewing import Page, viewing
from tests.integration.test_clickhouse_schema import SECOND, run_spans


@pytest.fixture(scope="module")
def page(clickhouse_server: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Two runs of `helper`, that began ten minutes ago."""
    with fresh_clickhouse(clickhouse_server) as clickhouse:
        given = [span for n in range(2) for span in run_spans(f"run-{n}", time.time_ns() - 600 * SECOND)]
        writer = DirectWriter(clickhouse.otel_url)
        writer.write_spans(given)
        writer.close()
        directory = tmp_path_factory.mktemp("page")
        with viewing(directory, clickhouse.readonly_url, phoenix_url="http://phoenix.example/") as page:
            page.spans = len(given)
            yield page
