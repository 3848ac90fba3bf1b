"""Short versions of `benchmarks faults`: ClickHouse stores a batch and cannot say so, or says it slowly."""

from pathlib import Path

import pytest

from benchmarks.proxy import Proxy
from stack.alone import temporary_home
from telemetry import destinations
from telemetry.buffer import Limits
from telemetry.outbox import Outbox
from telemetry.settings import Settings
from tests.integration.collectors import collecting, toward
from tests.integration.conftest import ClickHouse
from tests.integration.runtimes import until
from tests.integration.test_direct import RESOURCE
from tests.integration.test_exporter import many

pytestmark = pytest.mark.timeout(180)
SPANS = 2000


def sent(outbox: Outbox, proxy: Proxy) -> None:
    """All of them arrive, though three inserts were stored and not acknowledged, and the next answers are slow."""
    proxy.hiding = 3
    for span in many(SPANS):
        outbox.put(span)
    until(lambda: proxy.hidden == 3, 60)
    proxy.delay = 0.3


def rows(clickhouse: ClickHouse) -> list[str]:
    """Rows and different spans, as readers see them."""
    (found,) = clickhouse.rows("SELECT toString(count()), toString(uniqExact(SpanId)) FROM otel_traces FINAL")
    return [str(value) for value in found]


def outbox(settings: Settings) -> Outbox:
    names = list(destinations.spans(settings))
    return Outbox(settings, RESOURCE, Limits(delay=0.05), names, lambda name, outcome, spans: None)


def test_a_batch_that_was_stored_unseen_is_counted_once(clickhouse: ClickHouse) -> None:
    proxy = Proxy(clickhouse.http_port)
    url = clickhouse.otel_url.replace(f":{clickhouse.http_port}/", f":{proxy.port}/")
    it = outbox(Settings("runtime", "test", "direct", clickhouse_url=url))
    sent(it, proxy)
    assert it.flush(60)
    assert it.destinations["clickhouse"].counts == {"exported": SPANS, "dropped": 0, "failed": 0}
    assert rows(clickhouse) == [str(SPANS), str(SPANS)]
    it.stop(5)
    proxy.close()


def test_so_it_is_when_the_collector_sent_it(clickhouse: ClickHouse, collector_binary: Path) -> None:
    proxy = Proxy(clickhouse.tcp_port)
    variables = {**toward(clickhouse), "CLICKHOUSE_ENDPOINT": f"tcp://127.0.0.1:{proxy.port}"}
    with temporary_home() as home, collecting(home, collector_binary, **variables):
        it = outbox(Settings("runtime", "test", "collector", f"http://127.0.0.1:{home.ports['otlp_grpc']}"))
        sent(it, proxy)
        assert it.flush(60)
        until(lambda: rows(clickhouse)[1] == str(SPANS), 60)
        assert rows(clickhouse) == [str(SPANS), str(SPANS)]
        it.stop(5)
    proxy.close()
