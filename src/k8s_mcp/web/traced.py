"""Requests that start runs, told to whoever traces what comes of them."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from k8s_mcp.observe.asked import asked


class Traced:
    """Around `POST /sse`, to the end of its stream. Tool calls of MCP have their own: a request can hold several."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == "/sse":
            with asked("POST /sse", Headers(scope=scope)):
                await self._app(scope, receive, send)
        else:
            await self._app(scope, receive, send)
