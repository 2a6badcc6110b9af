"""One connection to the service's HTTP server, without the network; and h11, which reads what was sent as well."""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import h11
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from k8s_mcp.transport.connections import Connections
from k8s_mcp.transport.counted_protocol import CountedProtocol
from k8s_mcp.transport.http_protocol import HEAD_BYTES

Request: TypeAlias = tuple[bytes, list[tuple[bytes, bytes]], bytes]
"""Method, headers and body."""

_BODY = b"an answer"
_HEAD = rb"HTTP/1\.1 202 Accepted\r\ncontent-length: 9\r\n(connection: close\r\n)?\r\n"
_CONTINUE = rb"(HTTP/1\.1 100 Continue\r\n\r\n)?"
_REFUSAL = rb"(HTTP/1\.1 (400|431) [A-Za-z ]+\r\n([a-z-]+: [^\r]+\r\n)+\r\n[A-Za-z' ]+\.?)?"


class Wire(asyncio.Transport):
    """Keeps what is written. Once it is closed nothing is read or written any more."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 9096)})
        self.written = b""
        self._open = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._open:
            self.written += data

    def close(self) -> None:
        self._open = False

    abort = close

    def is_closing(self) -> bool:
        return not self._open

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


@dataclass(frozen=True)
class Seen:
    """The requests that the application was given, and what was answered."""

    requests: list[Request]
    written: bytes

    def is_well_answered(self) -> bool:
        """Whether a whole answer to each request was written, behind them at most one refusal, and nothing else."""
        answers = [_CONTINUE + _HEAD + (b"" if method == b"HEAD" else _BODY) for method, _, _ in self.requests]
        return re.fullmatch(b"".join(answers) + _CONTINUE + _REFUSAL, self.written) is not None


class Listener:
    """Answers connections, each with the bytes that were sent on it."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._requests: list[Request] = []
        self._steps = 0
        self._config = uvicorn.Config(
            self._answer, interface="asgi3", lifespan="off", log_config=None, proxy_headers=False, ws="none"
        )

    def close(self) -> None:
        self._runner.close()

    def read(self, *parts: bytes) -> Seen:
        """What the service makes of these bytes, that arrive in these parts."""
        return self._runner.run(self._read(parts))

    async def _read(self, parts: tuple[bytes, ...]) -> Seen:
        self._requests = []
        state, wire = ServerState(), Wire()
        uvicorns: dict[str, Any] = {"config": self._config, "server_state": state, "app_state": {}}
        protocol = CountedProtocol(Connections(2), None, _loop=asyncio.get_running_loop(), **uvicorns)
        protocol.connection_made(wire)
        for part in parts:
            if part and not wire.is_closing():
                protocol.data_received(part)
                await self._while_something_happens(state)
        seen = Seen(self._requests, wire.written)
        protocol.connection_lost(None)
        await self._while_something_happens(state)
        assert not state.tasks, "every request knows that its client has gone"
        return seen

    async def _while_something_happens(self, state: ServerState) -> None:
        quiet = 0
        while state.tasks and quiet < 8:
            before = self._steps
            await asyncio.sleep(0)
            quiet = 0 if self._steps != before else quiet + 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """When the body is there, in two steps with something else in between."""
        body, more = b"", True
        while more:
            message = await receive()
            self._steps += 1
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        self._requests.append((scope["method"].encode(), _compared(scope["headers"]), body))
        headers = [(b"content-length", b"%d" % len(_BODY))]
        await send({"type": "http.response.start", "status": 202, "headers": headers})
        await asyncio.sleep(0)
        self._steps += 1
        await send({"type": "http.response.body", "body": _BODY, "more_body": False})


def _compared(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Without what the service ignores, and with codings in lower case, as h11 has them."""
    kept = [header for header in headers if header[0] != b"upgrade"]
    return [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in kept]


def read_by_h11(data: bytes) -> list[Request]:
    """The requests that h11 reads, up to the first that it refuses."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=2 * HEAD_BYTES)
    connection.receive_data(data)
    requests: list[Request] = []
    head, body = None, b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                head, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                requests.append((head.method, _compared(head.headers), body))
                connection.send(h11.Response(status_code=404, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE:
                    return requests
                connection.start_next_cycle()
            else:
                return requests
    except h11.RemoteProtocolError:
        return requests
