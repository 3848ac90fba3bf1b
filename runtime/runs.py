"""Where a run is: what Postgres knows about it, read in one query, and links to where the rest can be seen."""

from datetime import datetime
from typing import Any
from urllib.parse import quote

from psycopg.rows import dict_row

from runtime import links as links_to
from runtime.connections import make_pool
from runtime.queue import trace_id_of
from runtime.settings import Settings
from runtime.sql import load

_SQL = load("runs")
_LONGEST_ID = 200


class Runs:
    """Reads on a pool of its own. Made in the lifespan; `close` ends it."""

    def __init__(self, database_url: str) -> None:
        self._pool = make_pool(database_url, "runs")
        self._pool.open(wait=False)

    def close(self) -> None:
        self._pool.close()

    def find(self, run_id: str) -> dict[str, Any] | None:
        """What GET /api/runs/{run_id} answers, but the links; None for a run that nobody knows. Blocks.

        `status` is queued, running, paused, completed, failed or cancelled (a run without a ticket may also be
        pending). `waits_for` is the run of the same session that comes first. `wait_seconds` is the time to the first
        claim, None once there was a second one; `started_at` and `duration_seconds` are the last attempt's. Times are
        ISO 8601. Raises one of connections.UNAVAILABLE.
        """
        if not run_id.isprintable() or len(run_id) > _LONGEST_ID:  # what cannot be an id: Postgres takes no NUL
            return None
        with self._pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(_SQL["find"], {"id": run_id}).fetchone()
        return _answer(row) if row else None


def _answer(row: dict[str, Any]) -> dict[str, Any]:
    answer = {key: _plain(value) for key, value in row.items() if key not in ("traceparent", "trace_id")}
    if answer["status"] == "error":  # agno's word for a run; its queue says failed
        answer["status"] = "failed"
    answer["attempts_left"] = None if row["attempt"] is None else max(0, row["max_attempts"] - row["attempt"])
    answer["trace_id"] = trace_id_of({"traceparent": row["traceparent"] or ""}) or row["trace_id"]
    return answer


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    return round(value, 3) if isinstance(value, float) else value


def links(run: dict[str, Any], settings: Settings) -> dict[str, str]:
    """Paths are of this server."""
    run_id, session_id, trace_id = quote(run["run_id"], safe=""), quote(run["session_id"], safe=""), run["trace_id"]
    found = {
        "run": f"/{run['kind']}s/{quote(run['agent_id'], safe='')}/runs/{run_id}?session_id={session_id}",
        "session": f"/sessions/{session_id}?type={run['kind']}",
    }
    if run["waits_for"]:
        found["waits_for"] = f"/api/runs/{quote(run['waits_for'], safe='')}"
    if run["approval"]:
        found["approval"] = f"/approvals/{quote(run['approval']['id'], safe='')}"
    if trace_id:
        found["trace"] = f"/traces/{trace_id}"
        if phoenix := links_to.phoenix(settings, trace_id):
            found["phoenix"] = phoenix
    if dashboard := links_to.dashboard(settings, run_id):
        found["dashboard"] = dashboard
    return found
