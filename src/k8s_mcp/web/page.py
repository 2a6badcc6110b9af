"""The page at `/`, for who opens the service's address in a browser; programs are told that nothing is there.

Its files are those in `page/`, as they are: scripts, styles and words of ours, nothing from elsewhere, no build. They
hold nothing that a stranger must not see, and are served without a token: who is asked for one, is asked by them.
What callers and commands have written comes to it as data, and is shown as text.
"""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import Response

from k8s_mcp import errors
from k8s_mcp.auth.guard import wants_html

_FILES = Path(__file__).parent / "page"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "; ".join(_POLICY),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-cache",
}
_INDEX = "index.html"
ROOT = "/"
_TO_DOCS = {"Location": "docs", "Vary": "Accept", "Cache-Control": "no-store"}


@dataclass(frozen=True)
class _File:
    content: bytes
    compressed: bytes
    headers: Mapping[str, str]

    def answer(self, request: Request) -> Response:
        """The whole, compressed for who takes that; or that it is what they have."""
        tags = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
        if self.headers["ETag"].removeprefix("W/") in tags:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=self.headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(self.compressed, headers={**self.headers, "Content-Encoding": "gzip"})
        return Response(self.content, headers=self.headers)


class Page:
    """The page, or without `wanted` the way to `/docs`. Its files are read once."""

    def __init__(self, *, wanted: bool) -> None:
        files = sorted(file for file in _FILES.iterdir() if file.suffix in _TYPES) if wanted else []
        self._files = {file.name: _read(file) for file in files}
        self.paths = frozenset(f"/page/{name}" for name in self._files if name != _INDEX)
        """For everybody."""
        self.html_paths = frozenset({ROOT} if wanted else ())
        """For everybody who asks for HTML."""

    def add_to(self, app: FastAPI) -> None:
        """Serve it."""

        @app.api_route(ROOT, methods=["GET", "POST", "PUT", "DELETE", "PATCH"], include_in_schema=False)
        async def root(request: Request) -> Response:
            if request.method != "GET" or not wants_html(request.headers):
                raise errors.NotFound("no such path; /docs lists all there are")
            if not self._files:
                return Response(status_code=HTTPStatus.SEE_OTHER, headers=_TO_DOCS)
            return self._files[_INDEX].answer(request)

        for path in self.paths:
            app.add_api_route(path, self._endpoint(path.removeprefix("/page/")), include_in_schema=False)

    def _endpoint(self, name: str):  # noqa: ANN202 - an endpoint, as FastAPI reads it
        async def file(request: Request) -> Response:
            return self._files[name].answer(request)

        return file


def _read(file: Path) -> _File:
    content = file.read_bytes()
    tag = f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'
    varies = "Accept, Accept-Encoding" if file.name == _INDEX else "Accept-Encoding"
    headers = {**HEADERS, "Vary": varies, "Content-Type": _TYPES[file.suffix], "ETag": tag}
    return _File(content, gzip.compress(content, mtime=0), headers)
