"""The MCP front end: translates tool calls into calls of `Runs`, and events into progress and results.

Two transports: Streamable HTTP, stateless, so that any replica can answer any request; and the older SSE transport,
whose session lives in one replica. https://modelcontextprotocol.io/specification/2025-11-25/basic/transports
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from k8s_mcp import __version__
from k8s_mcp.errors import K8sMcpError
from k8s_mcp.handles import Handles
from k8s_mcp.http_body import MAX_BYTES
from k8s_mcp.mcp_calls import Calls
from k8s_mcp.mcp_tools import ARGUMENTS, INSTRUCTIONS, tools
from k8s_mcp.runs import Runs

_Context = ServerRequestContext[Any, Any]


class McpApi:
    """The MCP server and its transports. `text_limit`: most characters of output in one result."""

    def __init__(self, runs: Runs, handles: Handles, text_limit: int) -> None:
        self._calls = Calls(runs, handles, text_limit)
        self._server: Server[Any] = Server(
            "k8s-mcp-server",
            version=__version__,
            title="Kubernetes commands",
            instructions=INSTRUCTIONS,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
        )
        self._sse = SseServerTransport("/messages/", max_request_body_size=MAX_BYTES)
        self._http = StreamableHTTPSessionManager(self._server, stateless=True, max_request_body_size=MAX_BYTES)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Serve MCP until the context ends."""
        async with self._http.run():
            yield

    def routes(self) -> list[Route]:
        """The paths of this front end, besides JSON-RPC at `POST /sse`."""
        return [
            Route("/mcp", _Application(self.streamable_http), methods=["GET", "POST", "DELETE"]),
            Route("/sse", _Application(self._stream), methods=["GET"]),
            Route("/messages/", _Application(self._sse.handle_post_message), methods=["POST"]),
        ]

    async def streamable_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI application: MCP over Streamable HTTP."""
        await self._http.handle_request(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI application: the stream of a session of the older SSE transport."""
        async with self._sse.connect_sse(scope, receive, send) as (incoming, outgoing):
            await self._server.run(incoming, outgoing, self._server.create_initialization_options())

    async def _list_tools(self, _: _Context, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=tools())

    async def _call_tool(self, context: _Context, call: types.CallToolRequestParams) -> types.CallToolResult:
        model = ARGUMENTS.get(call.name)
        if model is None:
            raise MCPError(
                types.INVALID_PARAMS, f"unknown tool {call.name[:100]!r}; there are {', '.join(ARGUMENTS)}"
            )
        try:
            arguments = model.model_validate(call.arguments or {})
            return await self._calls.answer(arguments, context.session.report_progress)
        except ValidationError as error:
            problems = [
                f"{'.'.join(map(str, item['loc'])) or 'arguments'}: {item['msg'].removeprefix('Value error, ')}"
                for item in error.errors(include_input=False)
            ]
            return _failure("; ".join(problems))
        except K8sMcpError as error:
            return _failure(error.message)


class _Application:
    """An ASGI application as a route's endpoint: Starlette takes functions there for something else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def _failure(message: str) -> types.CallToolResult:
    """A call that could not be carried out, as a result that the model reads."""
    return types.CallToolResult(content=[types.TextContent(type="text", text=message)], is_error=True)
