"""In front of everything: whose Host it is, and what a browser may do with what it gets."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboards.viewer.problems import Problem

# plotly.js writes <style> elements, and draws into data: and blob: images
POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "cache-control": "no-store",  # of what says nothing itself: the files do
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Guard:
    """A page elsewhere whose name points here (DNS rebinding) has another Host, and is refused.

    `url`: the page's public address, whose host is let in too.
    """

    def __init__(self, app: ASGIApp, url: str) -> None:
        self._app = app
        self._hosts = LOOPBACK | {urlsplit(url).hostname}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        host = Headers(scope=scope).get("host", "")
        if _name(host) not in self._hosts:
            refused = Problem(400, f"the host {host[:100]!r} is not this page's", hint="DASHBOARDS_URL names it")
            await refused.response()(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)


def _name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
