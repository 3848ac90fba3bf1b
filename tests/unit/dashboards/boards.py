"""Two small boards in which everything is right, for tests that then break one thing."""

import json
from typing import Any

SOURCE = {"type": "grafana-clickhouse-datasource", "uid": "clickhouse"}


def query(sql: str, form: int) -> dict[str, Any]:
    return {
        "refId": "A",
        "datasource": SOURCE,
        "editorType": "sql",
        "rawSql": sql,
        "format": form,
        "queryType": ("timeseries", "table", "logs", "traces")[form],
    }


def panel(number: int, kind: str, sql: str, form: int, place: tuple[int, int, int, int], **more: Any) -> dict[str, Any]:
    x, y, w, h = place
    defaults = {
        "unit": "s",
        "noValue": "no runs",
        "color": {"mode": "thresholds"},
        "thresholds": {"mode": "absolute", "steps": [{"value": None, "color": "green"}, {"value": 10, "color": "red"}]},
    }
    return {
        "id": number,
        "type": kind,
        "title": f"Panel {number}",
        "description": "How long runs take.",
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": w, "h": h},
        "targets": [query(sql, form)],
        "fieldConfig": {"defaults": defaults, "overrides": more.pop("overrides", [])},
        **more,
    }


def board(uid: str, panels: list[dict[str, Any]], variables: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "uid": uid,
        "title": uid.title(),
        "description": "A board for tests.",
        "tags": ["agents"],
        "timezone": "browser",
        "editable": False,
        "schemaVersion": 41,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "panels": panels,
        "templating": {"list": variables},
        "annotations": {"list": []},
    }


def boards() -> dict[str, dict[str, Any]]:
    """`fleet`, whose table links to `agent`."""
    agent = {"name": "agent", "type": "query", "query": "SELECT 1", "multi": True, "includeAll": True, "refresh": 2}
    where = "WHERE $__timeFilter(time) AND agent_id IN (${agent:singlequote})"
    link = {"title": "This agent", "url": "/d/agent?var-agent=${__value.raw}&${__url_time_range}"}
    overrides = [
        {
            "matcher": {"id": "byName", "options": "agent_id"},
            "properties": [{"id": "links", "value": [link]}, {"id": "custom.width", "value": 200}],
        }
    ]
    return json.loads(  # so that nothing is the same object twice
        json.dumps(
            {
                "fleet": board(
                    "fleet",
                    [
                        panel(
                            1, "stat", "SELECT avg(duration) FROM runs", 1, (0, 0, 8, 4), options={"graphMode": "none"}
                        ),
                        panel(
                            2,
                            "timeseries",
                            "SELECT time, duration FROM runs",
                            0,
                            (8, 0, 16, 4),
                            options={"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}},
                        ),
                        panel(3, "table", "SELECT agent_id, p95 FROM agents", 1, (0, 4, 24, 8), overrides=overrides),
                    ],
                    [],
                ),
                "agent": board(
                    "agent", [panel(1, "heatmap", f"SELECT time FROM runs {where}", 0, (0, 0, 24, 8))], [agent]
                ),
            }
        )
    )
