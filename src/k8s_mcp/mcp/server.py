"""The MCP front end: translates tool calls into calls of `Runs`, and events into progress and results.

Two transports: Streamable HTTP, stateless, so that any replica can answer any request; and the older SSE transport,
whose session lives in one replica. https://modelcontextprotocol.io/specification/2025-11-25/basic/transports
"""

import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
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
from k8s_mcp.mcp.call import Call
from k8s_mcp.mcp.calls import Calls
from k8s_mcp.mcp.clusters import Clusters
from k8s_mcp.mcp.limits import McpLimits
from k8s_mcp.mcp.quiet_log import messages_kept_from_the_log
from k8s_mcp.mcp.reading import Reading
from k8s_mcp.mcp.resources import Resources, templates
from k8s_mcp.mcp.running import Running
from k8s_mcp.mcp.sessions import Sessions
from k8s_mcp.mcp.sse_transport import SseTransport, escape_separators
from k8s_mcp.mcp.tools import ARGUMENTS, CACHE_HINTS, INSTRUCTIONS, Offer, starts_run
from k8s_mcp.models import Principal
from k8s_mcp.observe.asked import asked
from k8s_mcp.observe.facts import Observe, Refused
from k8s_mcp.runs.handles import Handles
from k8s_mcp.runs.past import PastRuns
from k8s_mcp.runs.runs import Runs
from k8s_mcp.web import refusals, sse
from k8s_mcp.web.body import MAX_BYTES, as_model, read_again, read_json
from k8s_mcp.web.problems import fields_of, status_of

_SESSION = "mcp-session-id"
_LINKS_SINCE, _HEADERS_SINCE = "2025-06-18", "2026-07-28"  # in the protocol; versions are dates, and sort as such

_Context = ServerRequestContext[Any, Request]


class McpApi:
    """The MCP server and its transports."""

    def __init__(self, runs: Runs, past: PastRuns, handles: Handles, limits: McpLimits, observe: Observe) -> None:
        self._runs = runs
        self._limits = limits
        self._observe = observe
        self._sessions = sessions = Sessions(limits.sessions, limits.session_idle)
        clusters = Clusters(handles, kubeconfigs=limits.kubeconfigs)
        reading = Reading(runs, past, limits.text, limits.run_idle)
        self._resources = Resources(runs, reading)
        self._calls = Calls(runs, clusters, Running(runs, clusters, limits.text, limits.run_idle), reading)
        self._server: Server[Any] = Server(
            "k8s-mcp-server",
            version=__version__,
            title="Kubernetes commands",
            instructions=INSTRUCTIONS,
            cache_hints=CACHE_HINTS,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_resources=self._list_resources,
            on_list_resource_templates=self._list_templates,
            on_read_resource=self._read_resource,
        )
        self._sse = SseTransport(self._server, sessions, runs.drained)
        self._http = StreamableHTTPSessionManager(self._server, stateless=True, max_request_body_size=MAX_BYTES)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Serve MCP until the context ends."""
        with messages_kept_from_the_log():
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
        self._check_scope(request, message)
        if isinstance(message, types.JSONRPCNotification) and message.method == "notifications/cancelled":
            await self._calls.cancel(principal_of(request), _key(request, (message.params or {}).get("requestId")))
        if isinstance(message, types.JSONRPCRequest) and message.method == "initialize":
            send = _with_header(send, _SESSION, secrets.token_hex(16))
        await self._http.handle_request(scope, read_again(body, receive), _escaping(send))

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI application: the stream of a session of the older SSE transport."""
        if _SESSION in Headers(scope=scope):
            # A client of Streamable HTTP asks for what we have to say outside of its requests: nothing.
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})
        await self._sse.stream(scope, receive, send)

    async def _post_message(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI application: what clients of the older SSE transport send."""
        request = Request(scope, receive)
        session_id = request.query_params.get("session_id")
        if not session_id:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "send messages to the address in the stream's first event")
        session = self._sessions.of(principal_of(request), session_id)
        try:
            message, _ = await _read_message(request)
        except _NotAMessage as error:
            await error.response(scope, receive, send)
            return
        self._check_scope(request, message)
        session.used = time.monotonic()
        response = await self._sse.take(session, message, request)
        await response(scope, receive, send)

    def _check_scope(self, request: Request, message: types.JSONRPCMessage) -> None:
        """Raise InsufficientScope for what no run could be started with.

        As an answer of HTTP: by it clients ask for another scope, as the authorization specification says.
        """
        if isinstance(message, types.JSONRPCRequest) and starts_run(message):
            self._runs.check_scope(principal_of(request))

    async def _list_tools(self, context: _Context, _: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        offer = Offer(
            access=self._runs.most_access(_caller(context)),
            can_be_read_only=self._runs.can_be_read_only,
            kubeconfigs=self._limits.kubeconfigs,
            headers=context.protocol_version >= _HEADERS_SINCE,
        )
        return types.ListToolsResult(tools=offer.tools())

    async def _call_tool(self, context: _Context, call: types.CallToolRequestParams) -> types.CallToolResult:
        model = ARGUMENTS.get(call.name)
        if model is None:
            raise MCPError(
                types.INVALID_PARAMS, f"unknown tool {call.name[:100]!r}; there are {', '.join(ARGUMENTS)}"
            )
        request = _request(context)
        caller = principal_of(request)

        def refused(error: K8sMcpError) -> None:
            self._observe(_fact(call.name, error, caller))

        key = _key(request, context.request_id)
        takes_links = context.protocol_version >= _LINKS_SINCE
        made = Call(caller, context.session.report_progress, key, refused, takes_links)
        try:
            arguments = as_model(call.arguments or {}, model)
            with (
                self._sessions.busy(caller, request.query_params.get("session_id", "")),
                asked(f"tools/call {call.name}", context.meta or {}, request.headers),
            ):
                return await self._calls.answer(made, arguments)
        except K8sMcpError as error:
            refused(error)
            text = types.TextContent(type="text", text=error.message.removeprefix("body: "))
            return types.CallToolResult(content=[text], is_error=True)  # not a protocol error: the model reads it

    async def _list_resources(
        self, context: _Context, _: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        return self._resources.list(_caller(context))

    async def _list_templates(
        self, _context: _Context, _: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        return templates()

    async def _read_resource(
        self, context: _Context, wanted: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        return await self._resources.read(_caller(context), wanted.uri)


def _request(context: _Context) -> Request:
    if context.request is None:
        raise TypeError("a message without its request is nobody's")
    return context.request


def _caller(context: _Context) -> Principal:
    return principal_of(_request(context))


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


def _escaping(send: Send) -> Send:
    """`send` of an answer that may be a stream of events, each in one piece."""
    is_stream = False

    async def send_escaped(message: Message) -> None:
        nonlocal is_stream
        if message["type"] == "http.response.start":
            is_stream = Headers(raw=message["headers"]).get("content-type", "").startswith(sse.MEDIA_TYPE)
        elif is_stream:
            message["body"] = escape_separators(message.get("body", b""))
        await send(message)

    return send_escaped
