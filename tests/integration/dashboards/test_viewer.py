"""The page's API on the real engine: what it answers, and what a hostile client gets."""

import http.client
import json
import re
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from dashboards.viewer import queries
from stack.alone import running, temporary_home
from telemetry.clickhouse.migrate import migrate
from tests.integration.conftest import ClickHouse
from tests.integration.dashboards.viewing import Page, problem, viewing
from tests.integration.runtimes import until

API = "/dashboards/api"
SPANS = 6  # of the two runs


def rows(answer: httpx.Response) -> list[list[Any]]:
    assert answer.status_code == 200, answer.text
    found: list[list[Any]] = answer.json()["data"]
    return found


def test_what_the_page_reads_first(page: Page) -> None:
    assert page.get("/dashboards").headers["location"] == "/dashboards/fleet"
    assert page.get("/dashboards/api/health").json()["status"] == "ok"
    assert page.get(f"{API}/boards").json() == [{"uid": "fleet", "title": "Fleet", "description": "All agents."}]
    board = page.get(f"{API}/boards/fleet").json()
    constants = {one["name"]: one["query"] for one in board["templating"]["list"] if one["type"] == "constant"}
    assert constants == {"phoenix_url": "http://phoenix.example", "runtime_url": ""}
    assert page.get(f"{API}/settings").json() == {
        "grafana_url": None,
        "phoenix_url": "http://phoenix.example",
        "runtime_url": None,
        "environment": "local",
    }


def test_panels_variables_and_annotations(page: Page) -> None:
    answer = page.panel(1, interval=3600).json()
    assert [column["name"] for column in answer["meta"]] == ["time", "runs"]
    assert {"elapsed", "rows_read", "bytes_read"} <= set(answer["statistics"])
    assert sum(row[1] for row in answer["data"]) == SPANS and answer["rows"] == len(answer["data"])
    for at, _ in answer["data"]:
        assert isinstance(at, int) and at % 3600 == 0 and abs(at - time.time()) < 7200
    options = page.get(f"{API}/boards/fleet/variables?from=now-1h").json()
    assert options == {"agent": {"options": [{"value": "helper", "text": "helper"}]}}
    (reload,) = page.get(f"{API}/boards/fleet/annotations?from=now-1h").json()
    assert reload["kind"] == "reload" and abs(reload["time"] / 1000 - time.time() + 600) < 120


def test_values_as_the_page_wants_them(page: Page) -> None:
    assert rows(page.panel(4)) == [[18446744073709551615, None, None, 1.5, None]]
    assert rows(page.panel(8, interval=30)) == [[30, 30]]
    assert rows(page.panel(8, interval=30, var_interval="60")) == [[60, 30]]


def test_all_one_several_or_none(page: Page) -> None:
    everything = [["helper", SPANS]]
    assert rows(page.panel(2)) == rows(page.panel(2, var_agent="$__all")) == everything
    assert rows(page.panel(2, var_agent=["nobody", "helper"])) == everything
    assert rows(page.panel(2, var_agent=["nobody", "$__all"])) == everything
    assert rows(page.panel(2, var_agent="nobody")) == []
    assert rows(page.panel(2, **{"from": "now-2h", "to": "now-1h"})) == []


HOSTILE = [
    "'",
    "''",
    "\\",
    "\\'",
    "') OR 1=1 --",
    "'; DROP TABLE otel_traces; --",
    "{run_id_0:String}",
    "{x:String}",
    "$__all",
    "$__timeFilter(Timestamp)",
    "${agent:singlequote}",
    "%s %(run_id)s %",
    "\\N",
    "NULL",
    "\n\r\t",
    "[1, 2]",
    "é😀\u202e\ufeff",
    "\x01\x7f",
    "-- \n /* */",
    "FORMAT Native",
    "a" * 19_000,
    "😀" * 4000,
    "<script>alert(1)</script>",
]


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_value_is_a_value(page: Page, value: str) -> None:
    assert rows(page.panel(3, var_run_id=value)) == [[value, len(value.encode())]]
    if value != "$__all":
        assert rows(page.panel(2, var_agent=value)) == []
        assert len(rows(page.panel(2, var_agent=["helper", value]))) == 1


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"from": "now-6h'"}, "from"),
        ({"from": "now", "to": "now-1h"}, "to"),
        ({"to": "9" * 400}, "to"),
        ({"interval": "1 second"}, "interval"),
        ({"interval": "0"}, "interval"),
        ({"interval": "1", "from": "now-1d"}, "interval"),
        ({"interval": ["60", "60"]}, "interval"),
        ({"var-interval": "61"}, "var-interval"),
        ({"var-interval": "60; SELECT 1"}, "var-interval"),
        ({"var-interval": ["0", "60"]}, "var-interval"),
        ({"var-run_id": ["a", "b"]}, "var-run_id"),
        ({"var-run_id": "a\0b"}, "var-run_id"),
        ({"var-agent": [str(n) for n in range(501)]}, "var-agent"),
        ({"var-phoenix_url": "javascript:alert(1)"}, "var-phoenix_url"),
        ({"var-nobody": "x"}, "var-nobody"),
        ({"query": "SELECT 1"}, "query"),
        ({"rawSql": "SELECT 1"}, "rawSql"),
    ],
)
def test_what_a_client_may_not_ask(page: Page, parameters: dict[str, Any], named: str) -> None:
    assert problem(page.panel(3, **parameters), 400)["parameter"] == named
    wrong = page.get(f"{API}/boards/fleet/variables", params=parameters)
    assert wrong.status_code == 400


def raw(page: Page, query: str) -> tuple[int, bytes]:
    """Status and body for a query of any length, which httpx would not send."""
    with closing(http.client.HTTPConnection(page.url.removeprefix("http://"), timeout=60)) as connection:
        connection.request("GET", f"{API}/boards/fleet/panels/3/A?{query}")
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_ten_thousand_values_and_very_long_ones(page: Page) -> None:
    many = ["var-agent=a"] * 10_000
    for query in (
        "&".join(many),
        "&".join(many[:5000]),
        f"var-run_id={'x' * 60_000}",
        f"{'n' * 30_000}=1",
        "var-run_id=%ff%fe%00",
        "&" * 60_000,
    ):
        status, body = raw(page, query)
        assert status in (200, 400) and len(body) < 2000, (status, body[:200])
        assert status == 400 or set(query) == {"&"}
    with suppress(ConnectionError):  # while it sends, or else it is told
        assert raw(page, f"var-run_id={'x' * 10_000_000}")[0] == 400
    assert raw(page, f"var-run_id={'%F0%9F%98%80' * 20_000}")[0] == 200
    assert raw(page, f"var-run_id={'%F0%9F%98%80' * 20_001}")[0] == 400
    status, body = raw(page, "var-run_id=%ff%fe")
    assert (status, json.loads(body)["data"]) == (200, [["\ufffd\ufffd", 6]])


@pytest.mark.parametrize(
    "path",
    [
        "boards/nobody",
        "boards/..%2f..%2fpyproject.toml",
        "boards/fleet/panels/99/A",
        "boards/fleet/panels/3/B",
        "boards/fleet/panels/-1/A",
        "boards/fleet/panels/²/A",
        "boards/fleet/panels/3.0/A",
        f"boards/fleet/panels/{'9' * 5000}/A",
        "boards/fleet/panels/3'/A",
        "boards/fleet/nothing",
        "nothing",
    ],
)
def test_what_there_is_not(page: Page, path: str) -> None:
    problem(page.get(f"{API}/{path}"), 404)


def test_sql_cannot_be_sent(page: Page) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = httpx.request(method, f"{page.url}{API}/boards/fleet/panels/3/A", content="SELECT 1", trust_env=False)
        problem(answer, 405)


def test_limits_of_rows_and_of_time_and_a_query_that_is_refused(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "PANEL", queries.Limits(seconds=1))
    assert "10,000 rows" in problem(page.panel(5), 400)["detail"]
    refused = problem(page.panel(7), 502)
    assert "no_such_table" in refused["detail"] and "migrate" in refused["hint"]
    slow = problem(page.panel(6), 504)
    assert "longer than 1 s" in slow["detail"] and slow["hint"]


def test_a_foreign_host_is_refused(page: Page) -> None:
    port = page.url.rpartition(":")[2]
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", "localhost"):
        assert page.get("/dashboards/api/health", headers={"host": host}).status_code == 200, host
    for host in ("evil.example", f"127.0.0.1.evil.example:{port}", "localhost.evil.example", "", "[", "127.0.0.2"):
        for path in ("/dashboards/api/health", f"{API}/boards", "/dashboards/static/plotly.min.js"):
            problem(page.get(path, headers={"host": host}), 400)


def test_the_host_of_its_public_address_is_let_in(database: ClickHouse, tmp_path: Path) -> None:
    with viewing(tmp_path, database.readonly_url, dashboards_url="https://dashboards.example/") as page:
        assert page.get("/dashboards/api/health", headers={"host": "dashboards.example"}).status_code == 200
        problem(page.get("/dashboards/api/health", headers={"host": "example"}), 400)


def test_a_link_that_is_made_for_grafana_leads_here_too(page: Page) -> None:
    answer = page.get("/d/run?var-run_id=a%26b&from=now-1h")
    assert (answer.status_code, answer.headers["location"]) == (307, "/dashboards/run?var-run_id=a%26b&from=now-1h")


def test_files_are_sent_once(page: Page) -> None:
    first = page.get("/dashboards/static/plotly.min.js")
    assert first.headers["content-encoding"] == "gzip" and "javascript" in first.headers["content-type"]
    assert len(first.content) > 1_000_000 and "plotly.js v" in first.text[:200]
    etag = first.headers["etag"]
    again = page.get("/dashboards/static/plotly.min.js", headers={"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert first.headers["cache-control"] == "no-cache"
    version = etag.strip('"')
    named = page.get(f"/dashboards/static/plotly.min.js?v={version}")
    assert "immutable" in named.headers["cache-control"]
    plain = page.get("/dashboards/static/plotly.min.js", headers={"accept-encoding": "identity"})
    assert plain.content == first.content and "content-encoding" not in plain.headers
    for path in ("nothing.js", "../settings.py", "%2e%2e/settings.py", "..%2fsettings.py", "/etc/passwd"):
        assert page.get(f"/dashboards/static/{path}").status_code == 404, path


def test_headers_keep_the_page_to_itself(page: Page) -> None:
    for path in ("/dashboards/api/health", f"{API}/boards/nobody", "/dashboards/static/plotly.min.js"):
        headers = page.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
        assert not re.search(r"script-src|unsafe-eval|\*", policy)
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers and "access-control-allow-origin" not in headers


def test_clickhouse_is_killed_and_comes_back(tmp_path: Path) -> None:
    with temporary_home() as home, running(home, "clickhouse") as process:
        migrate(home.clickhouse_url)
        with viewing(tmp_path, home.clickhouse_readonly_url) as page:
            assert rows(page.panel(3, var_run_id="a")) == [["a", 1]]
            process.kill()
            process.wait()
            away = page.panel(3)
            assert "CLICKHOUSE_READONLY_URL" in problem(away, 503)["hint"]
            assert int(away.headers["retry-after"]) > 0
            assert page.get("/dashboards/api/health").status_code == 200
            assert page.get(f"{API}/boards/fleet").status_code == 200
            with running(home, "clickhouse"):
                until(lambda: page.panel(3).status_code == 200, 60)


def test_a_page_that_starts_before_clickhouse(database: ClickHouse, tmp_path: Path) -> None:
    nowhere = database.readonly_url.replace(f":{database.http_port}/", ":1/")
    with viewing(tmp_path, nowhere) as page:
        problem(page.panel(3), 503)
        until(lambda: page.alerts()["evaluated_at"], 30)
