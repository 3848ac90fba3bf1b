"""The page's API: dashboards, their variables, panels and annotations. Clients name queries, and write none."""

from typing import Any

from fastapi import APIRouter, Request

from dashboards.viewer import parameters
from dashboards.viewer.context import Context
from dashboards.viewer.problems import Problem

API = "/dashboards/api"
MOST_ANNOTATIONS = 500


def api(context: Context) -> APIRouter:
    router = APIRouter(prefix=API)

    @router.get("/settings")
    async def settings() -> dict[str, Any]:
        given = context.settings
        return {
            "grafana_url": given.grafana_url,
            "phoenix_url": given.phoenix_url,
            "runtime_url": given.runtime_url,
            "environment": given.deployment_environment,
        }

    @router.get("/boards")
    async def boards() -> list[dict[str, Any]]:
        return [
            {"uid": board.uid, "title": board.title, "description": board.description}
            for board in context.boards.values()
        ]

    @router.get("/boards/{uid}")
    async def board(uid: str) -> dict[str, Any]:
        return context.board(uid).with_constants(context.constants)

    @router.get("/boards/{uid}/variables")
    async def variables(uid: str, request: Request) -> dict[str, Any]:
        board = context.board(uid)
        values = parameters.values(board, request.query_params, context.constants)
        answers = {name: await context.clickhouse.ask(*query.expand(values)) for name, query in board.choices.items()}
        return {
            name: {"options": [{"value": str(row[0]), "text": str(row[-1])} for row in answer["data"]]}
            for name, answer in answers.items()
        }

    @router.get("/boards/{uid}/panels/{panel}/{target}")
    async def panel(uid: str, panel: str, target: str, request: Request) -> dict[str, Any]:
        board = context.board(uid)
        queries = board.queries.get(int(panel) if panel.isdecimal() and len(panel) < 10 else -1)
        if queries is None:
            raise Problem(404, f"{uid} has no panel {panel[:60]!r}")
        if target not in queries:
            raise Problem(404, f"the panel {panel} has no query {target[:60]!r}", known=list(queries))
        values = parameters.values(board, request.query_params, context.constants)
        return await context.clickhouse.ask(*queries[target].expand(values))

    @router.get("/boards/{uid}/annotations")
    async def annotations(uid: str, request: Request) -> list[dict[str, Any]]:
        """What the board's own queries mark, and which alerts began or ended to fire."""
        board = context.board(uid)
        values = parameters.values(board, request.query_params, context.constants)
        found: list[dict[str, Any]] = []
        for query in board.annotations:
            answer = await context.clickhouse.ask(*query.expand(values))
            names = [column["name"] for column in answer["meta"]]
            for row in answer["data"]:
                given = dict(zip(names, row, strict=True))
                title, text = str(given.get("title", "")), str(given.get("text", ""))
                found.append({"time": round(given["time"] * 1000), "title": title, "text": text, "kind": "reload"})
        for entry in context.history.entries(MOST_ANNOTATIONS, values.range.start / 1000, values.range.end / 1000):
            title = f"{entry['rule']} {entry['state']}"
            found.append({"time": round(entry["at"] * 1000), "title": title, "text": entry["summary"], "kind": "alert"})
        return sorted(found, key=lambda one: one["time"])[-MOST_ANNOTATIONS:]

    return router
