"""The older SSE transport: `GET /sse` opens a session, and what its client has to say comes to `POST /messages/`.

Our own, and not the SDK's: a session is ready from its beginning, has an id that is known here, and names its
endpoint in a way that survives a proxy which strips a prefix.
https://modelcontextprotocol.io/specification/2024-11-05/basic/transports#http-with-sse
"""

import asyncio
import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream
from mcp.server.connection import Connection
from mcp.server.lowlevel.server import Server
from mcp.server.runner import serve_connection
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp.shared.transport_context import TransportContext
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from k8s_mcp.auth.guard import principal_of
from k8s_mcp.mcp.sessions import Session, Sessions
from k8s_mcp.web import sse
from k8s_mcp.web.event_stream import SEND_SECONDS

_LAST_ANSWERS_SECONDS = 0.5
"""How long, after the last run at a shutdown, answers have to reach their clients."""

_HEADERS = [
    (b"content-type", f"{sse.MEDIA_TYPE}; charset=utf-8".encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
_SEPARATORS = {char.encode(): json.dumps(char)[1:-1].encode() for char in "\x85\u2028\u2029"}

_logger = logging.getLogger(__name__)


def escape_separators(message: bytes) -> bytes:
    r"""The same JSON without characters that some clients take for the end of a line.

    They stand only in its strings, where `\u2028` means the same. httpx-sse 0.4.1 splits there (str.splitlines), and
    a client built on it waits for ever.
    """
    for separator, escaped in _SEPARATORS.items():
        message = message.replace(separator, escaped)
    return message


class SseTransport:
    """All sessions of this replica. They end, with what they still had to say, when `drained` is set."""

    def __init__(self, server: Server[Any], sessions: Sessions, drained: asyncio.Event) -> None:
        self._server = server
        self._sessions = sessions
        self._drained = drained

    async def stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open a session, and send what there is to say until it is over. Raises TooManySessions."""
        incoming, to_serve = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        said, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
        end = anyio.CancelScope()
        with incoming, to_serve, said, outgoing:  # noqa: SIM117 - closed also when no session could be opened
            with self._sessions.opened(principal_of(Request(scope)), incoming, end.cancel) as session, end:
                async with anyio.create_task_group() as group:
                    group.start_soon(_until_disconnect, receive, end.cancel)
                    group.start_soon(self._at_shutdown, end.cancel)
                    group.start_soon(self._serve, to_serve, said)
                    try:
                        await _send_all(session, outgoing, send)
                    except TimeoutError:
                        _logger.info("nothing was read for %g s, closing the session", SEND_SECONDS)
                        end.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def take(self, session: Session, message: types.JSONRPCMessage, request: Request) -> Response:
        """What the session's client has to say."""
        metadata = ServerMessageMetadata(request_context=request)
        try:
            await session.incoming.send(SessionMessage(message, metadata=metadata))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return Response("the session is over", HTTPStatus.NOT_FOUND)
        return Response("Accepted", HTTPStatus.ACCEPTED)

    async def _serve(
        self,
        incoming: MemoryObjectReceiveStream[SessionMessage | Exception],
        said: anyio.abc.ObjectSendStream[SessionMessage],
    ) -> None:
        """Answer what comes in.

        Without a handshake, if the client makes none: one that lost its session opens another by itself, and knows
        nothing of it. One that makes a handshake is answered as always.
        """
        dispatcher: JSONRPCDispatcher[TransportContext] = JSONRPCDispatcher(
            incoming, said, inline_methods=frozenset({"initialize"})
        )
        connection = Connection.for_loop(dispatcher)
        connection.initialized.set()
        async with self._server.lifespan(self._server) as state:
            await serve_connection(self._server, dispatcher, connection=connection, lifespan_state=state)

    async def _at_shutdown(self, end: Callable[[], None]) -> None:
        await self._drained.wait()
        await asyncio.sleep(_LAST_ANSWERS_SECONDS)
        end()


async def _send_all(session: Session, outgoing: MemoryObjectReceiveStream[SessionMessage], send: Send) -> None:
    """The stream's events, with a comment when there are none for a while. Raises TimeoutError."""

    async def write(data: bytes) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await send({"type": "http.response.body", "body": data, "more_body": True})

    await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": _HEADERS})
    # Relative to /sse, as the client knows it: behind a proxy that strips a prefix, only the client knows that.
    await write(b"event: endpoint\ndata: messages/?session_id=%b\n\n" % session.session_id.encode())
    pending = asyncio.ensure_future(outgoing.receive())
    try:
        while True:
            done, _ = await asyncio.wait([pending], timeout=sse.PING_SECONDS)
            if not done:
                await write(sse.PING)
                continue
            message = pending.result().message.model_dump_json(by_alias=True, exclude_unset=True)
            await write(b"event: message\ndata: %b\n\n" % escape_separators(message.encode()))
            pending = asyncio.ensure_future(outgoing.receive())
    finally:
        pending.cancel()
        outgoing.close()  # so that nobody waits to say more


async def _until_disconnect(receive: Receive, then: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    then()
