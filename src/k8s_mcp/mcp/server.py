"""The MCP front end: translates tool calls into calls of `Runs`, and events into progress and results.

Two transports: Streamable HTTP, stateless, so that any replica can answer any request; and the older SSE transport,
whose session lives in one replica. https://modelcontextprotocol.io/specification/2025-11-25/basic/transports
"""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import Any

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from k8s_mcp import __version__
from k8s_mcp.auth.guard import principal_of
from k8s_mcp.errors import K8sMcpError, MalformedRequest
from k8s_mcp.mcp.calls import Calls
from k8s_mcp.mcp.sessions import Sessions, learning_id
from k8s_mcp.mcp.tools import ARGUMENTS, INSTRUCTIONS, tools
from k8s_mcp.models import Principal
from k8s_mcp.observe.facts import Observe, Refused
from k8s_mcp.runs.handles import Handles
from k8s_mcp.runs.runs import Runs
from k8s_mcp.web import refusals
from k8s_mcp.web.body import MAX_BYTES, as_model, read_again, read_json
from k8s_mcp.web.problems import fields_of, status_of

_SESSION = "mcp-session-id"
_LAST_ANSWERS_SECONDS = 0.5
"""How long, after the last run at a shutdown, answers have to reach the sessions of the older transport."""

_Context = ServerRequestContext[Any, Request]


class McpApi:
    """The MCP server and its transports. `text_limit`: most characters of output in one result."""

    def __init__(self, runs: Runs, handles: Handles, text_limit: int, observe: Observe, sessions: Sessions) -> None:
        self._runs = runs
        self._observe = observe
        self._sessions = sessions
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
        with _messages_kept_from_the_log():
            async with self._http.run(), self._sessions.expire():
                yield

    def routes(self) -> list[Route]:
        """The paths of this front end, besides JSON-RPC at `POST /sse`."""
        return [
            _route("/mcp", "POST", self.streamable_http),
            _route("/sse", "GET", self._stream),
            _route("/messages/", "POST", self._post_message),
        ]

    async def streamable_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI application: MCP over Streamable HTTP.

        A session is no more than a name: what a client of the older protocol cancels, it names by session and
        request, and the next replica must know what is meant. Nothing is kept for it.
        """
        request = Request(scope, receive)
        try:
            message, body = await _read_message(request)
        except _NotAMessage as error:
            await error.response(scope, receive, send)
            return
        if isinstance(message, types.JSONRPCNotification) and message.method == "notifications/cancelled":
            await self._calls.cancel(principal_of(request), _key(request, (message.params or {}).get("requestId")))
        if isinstance(message, types.JSONRPCRequest) and message.method == "initialize":
            send = _with_header(send, _SESSION, secrets.token_hex(16))
        await self._http.handle_request(scope, read_again(body, receive), send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI application: the stream of a session of the older SSE transport."""
        if _SESSION in Headers(scope=scope):
            # A client of Streamable HTTP asks for what we have to say outside of its requests: nothing.
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})
        ending = anyio.Event()
        with self._sessions.opened(principal_of(Request(scope)), ending.set) as session:
            async with (
                self._sse.connect_sse(scope, receive, learning_id(session, send)) as (incoming, outgoing),
                anyio.create_task_group() as group,
            ):
                group.start_soon(self._at_shutdown, group.cancel_scope)
                group.start_soon(_when, ending, group.cancel_scope)
                await self._server.run(incoming, outgoing, self._server.create_initialization_options())
                group.cancel_scope.cancel()

    async def _post_message(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI application: what clients of the older SSE transport send."""
        request = Request(scope, receive)
        if not re.fullmatch("[0-9a-f]{32}", request.query_params.get("session_id", "")):
            raise HTTPException(HTTPStatus.BAD_REQUEST, "send messages to the address in the stream's first event")
        session = self._sessions.of(principal_of(request), request.query_params["session_id"])
        try:
            _, body = await _read_message(request)
        except _NotAMessage as error:
            await error.response(scope, receive, send)
            return
        session.used = time.monotonic()
        await self._sse.handle_post_message(scope, read_again(body, receive), send)

    async def _at_shutdown(self, session: anyio.CancelScope) -> None:
        await self._runs.drained.wait()
        await asyncio.sleep(_LAST_ANSWERS_SECONDS)
        session.cancel()

    async def _list_tools(self, context: _Context, _: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        read_only = context.request is not None and self._runs.only_reads(principal_of(context.request))
        return types.ListToolsResult(tools=tools(read_only=read_only))

    async def _call_tool(self, context: _Context, call: types.CallToolRequestParams) -> types.CallToolResult:
        model = ARGUMENTS.get(call.name)
        if model is None:
            raise MCPError(
                types.INVALID_PARAMS, f"unknown tool {call.name[:100]!r}; there are {', '.join(ARGUMENTS)}"
            )
        request = context.request
        if request is None:
            raise TypeError("a call without its request is nobody's")
        key = _key(request, context.request_id)
        caller = principal_of(request)
        try:
            arguments = as_model(call.arguments or {}, model)
            with self._sessions.busy(caller, request.query_params.get("session_id", "")):
                return await self._calls.answer(caller, arguments, context.session.report_progress, key)
        except K8sMcpError as error:
            self._observe(_fact(call.name, error, caller))
            text = types.TextContent(type="text", text=error.message.removeprefix("body: "))
            return types.CallToolResult(content=[text], is_error=True)  # not a protocol error: the model reads it


class _Application:
    """An ASGI application as a route's endpoint: Starlette takes functions there for something else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def _route(path: str, method: str, app: ASGIApp) -> Route:
    """For that method alone: Starlette would have a HEAD open a session that nobody reads."""
    route = Route(path, _Application(app))
    route.methods = {method}
    return route


class _NotAMessage(Exception):
    """The body is no JSON-RPC message. `response` says so, and quotes nothing."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        error = {"code": code, "message": message}
        self.response = JSONResponse({"jsonrpc": "2.0", "id": None, "error": error}, HTTPStatus.BAD_REQUEST)


async def _when(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


@contextmanager
def _messages_kept_from_the_log() -> Generator[None]:
    """At DEBUG these write every message whole, kubeconfigs and all; above that, only what happened."""
    loggers = [logging.getLogger(name) for name in ("mcp", "sse_starlette")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(max(logger.getEffectiveLevel(), logging.INFO))
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


async def _read_message(request: Request) -> tuple[types.JSONRPCMessage, bytes]:
    """The request's JSON-RPC message, and the body as it came.

    Checked here, because the SDK writes what it cannot read into answers and into the log. Raises _NotAMessage,
    RequestTimeout, TooLarge or UnsupportedMediaType.
    """
    try:
        value, body = await read_json(request)
    except MalformedRequest as error:
        raise _NotAMessage(types.PARSE_ERROR, error.message) from None
    if not isinstance(value, dict):
        raise _NotAMessage(types.INVALID_REQUEST, "send one JSON-RPC message, not a batch")
    try:
        message = types.jsonrpc_message_adapter.validate_python(value, by_name=False)
    except ValidationError:
        raise _NotAMessage(types.INVALID_REQUEST, "this is no JSON-RPC 2.0 message") from None
    if isinstance(message, types.JSONRPCNotification) and "id" in value:
        raise _NotAMessage(types.INVALID_REQUEST, "a request's id is a string or a whole number")
    return message, body


def _fact(tool: str, error: K8sMcpError, caller: Principal) -> Refused:
    """As if the tool were a path of its own: what the model reads is an ordinary answer to HTTP."""
    fields = refusals.known(fields_of(error))
    reason = type(error).__name__
    return Refused(status_of(error), reason, "mcp", "tools/call", tool, fields, caller, caller.address)


def _key(request: Request, request_id: object) -> str | None:
    """The idempotency key of a request within its session; None where sessions have no name."""
    session = request.headers.get(_SESSION)
    return None if session is None or request_id is None else f"mcp {session} {request_id}"


def _with_header(send: Send, name: str, value: str) -> Send:
    async def send_with_header(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (name.encode(), value.encode())]
        await send(message)

    return send_with_header
