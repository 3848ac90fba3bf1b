"""The page on a port of its own, with boards and rules of the test's own."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from dashboards.viewer.app import create_app, make_server
from dashboards.viewer.settings import Settings
from stack.ports import find_free
from tests.integration.runtimes import until

SPANS = "FROM otel_traces WHERE $__timeFilter(Timestamp)"
AGENTS = "$__conditionalAll(AgentId IN (${agent:singlequote}), $agent)"


def target(sql: str) -> dict[str, Any]:
    return {"refId": "A", "datasource": {"uid": "clickhouse"}, "editorType": "sql", "rawSql": sql, "format": 1}


def panel(id: int, sql: str, type: str = "table") -> dict[str, Any]:
    return {"id": id, "type": type, "title": f"Panel {id}", "targets": [target(sql)]}


BOARD: dict[str, Any] = {
    "uid": "fleet",
    "title": "Fleet",
    "description": "All agents.",
    "schemaVersion": 41,
    "templating": {
        "list": [
            {
                "name": "agent",
                "type": "query",
                "query": f"SELECT DISTINCT AgentId {SPANS} AND AgentId != '' ORDER BY AgentId",
                "multi": True,
                "includeAll": True,
                "current": {"text": "All", "value": "$__all"},
            },
            {"name": "interval", "type": "custom", "options": [{"value": "0"}, {"value": "60"}, {"value": "3600"}]},
            {"name": "run_id", "type": "textbox", "query": ""},
            {"name": "phoenix_url", "type": "constant", "query": "", "hide": 2},
            {"name": "runtime_url", "type": "constant", "query": "", "hide": 2},
        ]
    },
    "annotations": {
        "list": [
            {"name": "Annotations & Alerts", "builtIn": 1, "target": {"type": "dashboard"}},
            {"name": "Reloads", "target": target(f"SELECT min(Timestamp) AS time, 'ok' AS title, 'x' AS text {SPANS}")},
        ]
    },
    "panels": [
        panel(1, f"SELECT $__timeInterval(Timestamp) AS time, count() AS runs {SPANS} GROUP BY time", "timeseries"),
        panel(2, f"SELECT AgentId AS agent, count() AS spans {SPANS} AND {AGENTS} GROUP BY 1 ORDER BY 1"),
        panel(3, "SELECT ${run_id:singlequote} AS given, length(given) AS bytes"),
        panel(
            4,
            "SELECT toUInt64(18446744073709551615), nan, 1 / 0, toDateTime64(1.5, 3), CAST(NULL, 'Nullable(DateTime)')",
        ),
        panel(5, "SELECT number FROM numbers(10001)"),
        panel(6, "SELECT sleepEachRow(1) FROM numbers(30) SETTINGS max_block_size = 1"),
        panel(7, "SELECT * FROM no_such_table"),
        panel(8, "SELECT $interval AS seconds, $__interval_s AS asked"),
    ],
}


@dataclass
class Page:
    url: str

    def get(self, path: str, **more: Any) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", trust_env=False, timeout=60, **more)

    def panel(self, id: int | str, **parameters: Any) -> httpx.Response:
        named = {
            name.replace("_", "-", 1) if name.startswith("var_") else name: its for name, its in parameters.items()
        }
        return self.get(f"/dashboards/api/boards/fleet/panels/{id}/A", params={"from": "now-1h", **named})

    def alerts(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/dashboards/api/alerts").raise_for_status().json()
        return found


@contextmanager
def viewing(
    directory: Path, clickhouse_url: str, rules: list[Mapping[str, Any]] | None = None, **settings: Any
) -> Iterator[Page]:
    """The page as `python -m dashboards.viewer` serves it; its files and states are in `directory`."""
    boards = directory / "boards"
    boards.mkdir(exist_ok=True)
    (boards / "fleet.json").write_text(json.dumps(BOARD))
    (directory / "alerts.json").write_text(json.dumps(rules or []))
    given = Settings(
        clickhouse_readonly_url=clickhouse_url,
        dashboards_port=find_free(set()),
        dashboards_state=directory / "alerts.sqlite",
        **{"alert_seconds": 1, **settings},
    )
    app = create_app(given, dashboards=boards, alerts=directory / "alerts.json")
    server = make_server(app, given)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive(), 60)
        yield Page(f"http://127.0.0.1:{given.dashboards_port}")
    finally:
        server.should_exit = True
        thread.join()


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """What the answer says, which is a problem with this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status and found["detail"]
    return found
