"""The page itself, its files, and the runbook of the alerts."""

import re
from html import escape
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request
from markdown_it import MarkdownIt
from starlette.responses import HTMLResponse, RedirectResponse, Response

from dashboards.viewer.context import Context
from dashboards.viewer.problems import Problem

DOCS = Path(__file__).resolve().parents[2] / "docs"
SHOWN = ("alerts", "dashboards")
_FRAME = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
:root {{ color-scheme: light dark }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 50rem; padding: 0 1rem }}
:target {{ background: #fc04 }} pre {{ overflow-x: auto; background: #8882; padding: .6rem }}
th, td {{ border-bottom: 1px solid #8884; padding: .15rem .7rem .15rem 0; text-align: left; vertical-align: top }}
</style></head><body><p><a href="/dashboards/alerts">Alerts</a></p>
{body}</body></html>
"""


def pages(context: Context) -> APIRouter:
    router = APIRouter()

    @router.get("/", include_in_schema=False)
    @router.get("/dashboards")
    async def index(request: Request) -> Response:
        first = next(iter(context.boards), "alerts")
        return RedirectResponse(f"/dashboards/{first}", 307)

    @router.get("/dashboards/api/health")
    async def health() -> dict[str, object]:
        """200 also while ClickHouse is away: a restart of the page would not help."""
        current = context.evaluation.current
        return {
            "status": "ok",
            "boards": len(context.boards),
            "rules": len(context.evaluation.rules),
            "evaluated_at": current.at,
            "error": current.error,
        }

    @router.get("/dashboards/static/{path:path}")
    def static(path: str, request: Request) -> Response:
        return context.files[path].respond(request)

    @router.get("/dashboards/docs/{name}")
    def docs(name: str) -> Response:
        path = DOCS / f"{name}.md"
        if name not in SHOWN or not path.exists():
            raise Problem(404, "there is no such document")
        return HTMLResponse(_FRAME.format(title=escape(name.capitalize()), body=rendered(path.read_text())))

    @router.get("/d/{uid}")
    async def as_in_grafana(uid: str, request: Request) -> Response:
        """Who links a dashboard need not know which of the two shows it."""
        return RedirectResponse(f"/dashboards/{quote(uid, safe='')}?{request.url.query}", 307)

    @router.get("/dashboards/{uid}")
    def page(uid: str, request: Request) -> Response:
        if uid != "alerts":
            context.board(uid)
        return context.files["page.html"].respond(request)

    return router


def rendered(text: str) -> str:
    """Markdown as HTML; a heading has the id that GitHub gives it. HTML within is shown as text."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(text)
    for opening, content in pairwise(tokens):
        if opening.type == "heading_open":
            words = re.sub(r"[^\w\- ]", "", content.content.lower())
            opening.attrSet("id", words.replace(" ", "-"))
    return str(markdown.renderer.render(tokens, markdown.options, {}))
