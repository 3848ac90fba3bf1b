"""A query of Grafana's ClickHouse plugin (4.20), as panels, variables, annotations and alert rules hold it."""

from typing import Any

DATASOURCE = {"type": "grafana-clickhouse-datasource", "uid": "clickhouse"}
TIME_SERIES, TABLE, LOGS, TRACES = range(4)  # the plugin's `format`
_TYPES = ("timeseries", "table", "logs", "traces")


def target(sql: str, result: int = TABLE, ref: str = "A") -> dict[str, Any]:
    """`result`: one of the formats above."""
    return {
        "refId": ref,
        "datasource": DATASOURCE,
        "editorType": "sql",
        "queryType": _TYPES[result],
        "format": result,
        "rawSql": sql,
    }
