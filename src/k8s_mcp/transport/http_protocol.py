"""Bounds what surrounds a request's body in size, and its head in time: httptools and uvicorn have no limits.

Without them one connection could grow without end, or stay for ever (https://cwe.mitre.org/data/definitions/770.html).
What comes behind the head is bounded by `web.body`, and an idle connection is closed by uvicorn.

One request at a time: what is sent behind a request that is not answered yet is not read, and the connection closes
after the answer, which whoever pipelines has to expect (RFC 9112, section 9.3.2). Uvicorn would write its refusal of
such bytes into the answer that is under way, and not tell the request in progress that its client has left.

An `Upgrade` is ignored, as RFC 9110 permits in section 7.8. Java's HttpClient and `curl --http2` send one with every
request. httptools drops the body of such a request, and uvicorn what came with it, to take the rest for a request.

HTTP/1.0 is answered as `http_1_0` says, and its `Expect` ignored (RFC 9110, section 10.1.1).
"""

import asyncio
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from k8s_mcp.transport import http_1_0

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
        self._served: ASGIApp = self.app
        self.app = self._answer
        self._in_head = True
        self._parsed = 0  # bytes of the head that the parser has told
        self._arrived = 0  # bytes since it last told the end of a head, a piece of a body, or the end of a message
        self._deadline: asyncio.TimerHandle | None = None
        self._finishing = False  # nothing more is read, and the connection closes after the answer

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._arrived += len(data)
        if not self._finishing:
            if self._in_head:
                self._await_head()
            self._unset_keepalive_if_required()
            self._parse(data)
        if self.transport.is_closing():
            self._head_is_there()
        elif self._arrived > HEAD_BYTES:
            self._refuse()

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            head = self._head_without_upgrade()
            self.parser = HttpRequestParser(self)
            self._parse(head + data[upgrade.args[0] :])
        except HttpParserError:
            message = "Invalid HTTP request received."
            self.logger.warning(message)
            self.send_400_response(message)

    def _head_without_upgrade(self) -> bytes:
        """The head that was just read, as it would be without one."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        headers = [b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, b"".join(headers))

    def on_message_begin(self) -> None:
        if self._is_answering():
            raise ValueError
        self._parsed = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._parsed += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._parsed += len(name) + len(value) + 4
        if self._parsed > HEAD_BYTES:
            raise ValueError  # the parser stops, and `send_400_response` is called
        if self._in_head:  # else it is a trailer, which must not pass for a header: RFC 9110, section 6.5.1
            super().on_header(name, value.rstrip(b" \t"))  # section 5.5: whitespace around a value is not part of it

    def on_headers_complete(self) -> None:
        if self._parsed > HEAD_BYTES or self.parser.get_method() == b"CONNECT":
            raise ValueError
        if self.parser.should_upgrade():
            return  # the head is read once more, by `_parse`
        self._in_head = False
        self._arrived = 0
        self._head_is_there()
        if self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False
        super().on_headers_complete()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["http_version"] == "1.0":
            await http_1_0.answer(self._served, self.cycle, scope, receive, send)
        else:
            await self._served(scope, receive, send)

    def on_body(self, body: bytes) -> None:
        self._arrived = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._in_head = True
        self._arrived = 0

    def send_400_response(self, msg: str) -> None:
        if self._parsed > HEAD_BYTES:
            self._refuse()
        elif self._in_head and self._is_answering():
            self._head_is_there()
            self._finishing = True
            self.cycle.keep_alive = False
        elif self._is_answering() and self.cycle.response_started:
            self.transport.close()
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
