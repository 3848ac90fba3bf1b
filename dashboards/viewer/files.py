"""The page's own files and plotly's script, with what lets a browser keep them."""

import gzip
import hashlib
import re
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import distribution
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from dashboards.viewer.problems import Problem

STATIC = Path(__file__).parent / "static"
PLOTLY = "plotly/package_data/plotly.min.js"  # in plotly's wheel; plotly itself takes long to import
TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}
WORTH_PACKING = 100_000  # bytes
_REFERENCE = re.compile(r'(?<=["\'])/dashboards/static/(plotly\.min\.js|[\w./-]+\.css)(?=["\'])')


@dataclass(frozen=True)
class File:
    content: bytes
    media_type: str
    version: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "version", hashlib.sha256(self.content).hexdigest()[:16])

    @cached_property
    def packed(self) -> bytes:
        """A large file takes a quarter of a second."""
        return gzip.compress(self.content, 6, mtime=0)

    def respond(self, request: Request) -> Response:
        """Kept for good when the address names the version (?v=), else asked for again, which costs no bytes."""
        named = request.query_params.get("v") == self.version
        headers = {
            "etag": f'"{self.version}"',
            "cache-control": "public, max-age=31536000, immutable" if named else "no-cache",
        }
        known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
        if headers["etag"] in known:
            return Response(status_code=304, headers=headers)
        content = self.content
        if len(content) >= WORTH_PACKING:
            headers["vary"] = "accept-encoding"
            if "gzip" in request.headers.get("accept-encoding", ""):
                content = self.packed
                headers["content-encoding"] = "gzip"
        return Response(content, headers=headers, media_type=self.media_type)


class Files:
    """All that is in static/, read once; by path relative to it."""

    def __init__(self, directory: Path = STATIC) -> None:
        self._files = {
            path.relative_to(directory).as_posix(): File(path.read_bytes(), TYPES[path.suffix])
            for path in sorted(directory.rglob("*"))
            if path.suffix in TYPES and path.is_file()
        }
        plotly = Path(str(distribution("plotly").locate_file(PLOTLY)))
        self._files["plotly.min.js"] = File(plotly.read_bytes(), TYPES[".js"])
        if page := self._files.pop("page.html", None):
            self._files["page.html"] = self._versioned(page)

    def warm(self) -> None:
        """Packs what is large before somebody waits for it."""
        for file in self._files.values():
            if len(file.content) >= WORTH_PACKING:
                _ = file.packed

    def __getitem__(self, path: str) -> File:
        """Raises a Problem (404)."""
        if path not in self._files:
            raise Problem(404, "there is no such file")
        return self._files[path]

    def _versioned(self, page: File) -> File:
        """Large files and styles by their version. Modules are not: they name each other, and must be one each."""

        def named(match: re.Match[str]) -> str:
            file = self._files.get(match[1])
            return f"{match[0]}?v={file.version}" if file else match[0]

        return File(_REFERENCE.sub(named, page.content.decode()).encode(), page.media_type)
