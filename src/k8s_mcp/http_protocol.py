"""Bounds what surrounds a request's body in size, and its head in time: httptools and uvicorn have no limits.

Without them one connection could grow without end, or stay for ever (https://cwe.mitre.org/data/definitions/770.html).
What comes behind the head is bounded by `http_body`, and an idle connection is closed by uvicorn.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024
"""Most bytes of a request's line and headers. The longest thing in them is a token of a few KiB."""
HEAD_SECONDS = 20.0
"""How long a head may take to arrive, from its first byte or from the connection's start."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 30\r\nconnection: close\r\n\r\n"
    b"The request's head is too long"
)


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._parsed = 0  # bytes of the head that the parser has told
        self._arrived = 0  # bytes since it last told the end of a head, a piece of a body, or the end of a message
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._await_head()
        self._arrived += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            self._head_is_there()
        elif self._arrived > HEAD_BYTES:
            self._refuse()

    def on_message_begin(self) -> None:
        self._parsed = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._parsed += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._parsed += len(name) + len(value) + 4
        if self._parsed > HEAD_BYTES:
            raise ValueError  # the parser stops, and `send_400_response` is called
        if (
            self._in_head
        ):  # behind the body it is a trailer, which must not pass for a header: RFC 9110, section 6.5.1
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._parsed > HEAD_BYTES:
            raise ValueError
        self._in_head = False
        self._arrived = 0
        self._head_is_there()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._arrived = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head = True
        self._arrived = 0

    def send_400_response(self, msg: str) -> None:
        if self._parsed > HEAD_BYTES:
            self._refuse()
        else:
            super().send_400_response(msg)

    def _refuse(self) -> None:
        self._head_is_there()
        if not self._is_answering():
            self.transport.write(_TOO_LARGE)
        self.transport.close()

    def _await_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self._late)

    def _head_is_there(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if not self._is_answering():
            self.transport.close()

    def _is_answering(self) -> bool:
        cycle: Any = self.cycle  # None before the first request, whatever its type says
        return cycle is not None and not cycle.response_complete
