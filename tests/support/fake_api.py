"""An API server that answers as a test wants, also as no real one does."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from kubernetes.aio import client

from k8s_mcp.cluster.client import Api
from k8s_mcp.cluster.connect import ConfiguredServer


@dataclass
class Said:
    """The bytes of one HTTP answer. With `hold` the connection stays open behind them, as that of a watch."""

    data: bytes
    hold: bool = False


Answer = Callable[[str, bytes], Said]
"""Takes `METHOD /path?query` and the body of a request."""


def http(status: str, body: bytes | object = b"", media_type: str = "application/json", *headers: str) -> bytes:
    """An answer that ends with its connection."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status}", f"Content-Type: {media_type}", f"Content-Length: {len(data)}", "Connection: close"]
    return "\r\n".join([*head, *headers, "", ""]).encode() + data


def stream(*parts: bytes, media_type: str = "application/json") -> bytes:
    """The beginning of an answer in chunks, whose end has not come."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return f"HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + chunks


class FakeApi:
    """`answer` may be replaced at any time; `asked` are the requests so far."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.url = ""
        self._open: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield
        finally:
            server.close()
            self.cut()
            await server.wait_closed()

    def on_head(self, head: str) -> None:
        """A request begins so: for who wants to know more of it."""

    def cut(self) -> None:
        """Break all connections off."""
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = head.lower().partition("content-length:")[2].partition("\r\n")[0]
            body = await reader.readexactly(int(length or 0))
            call = " ".join(head.partition("\r\n")[0].split(" ")[:2])
            self.asked.append(call)
            self.on_head(head)
            said = self.answer(call, body)
            writer.write(said.data)
            await writer.drain()
            if said.hold:
                await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            self._open.discard(writer)
            writer.close()


@asynccontextmanager
async def talking_to(answer: Answer, attempts: int = 1) -> AsyncGenerator[tuple[FakeApi, Api]]:
    """Such a server, and a client of it."""
    server = FakeApi(answer)
    async with server.open():
        api = Api(ConfiguredServer(client.Configuration(host=server.url)), "here", attempts=attempts)
        try:
            yield server, api
        finally:
            await api.close()


_OBJECT = {"name": "run-1", "uid": "u", "resourceVersion": "7"}
ODD = {
    "520": http("520 Web Server Returned an Unknown Error", b"error code: 520", "text/plain"),
    "502 without a body": http("502 Bad Gateway"),
    "503 in Latin-1": http("503 Service Unavailable", "hors service: d\xe9sol\xe9".encode("latin-1"), "text/plain"),
    "503, a JSON string": http("503 Service Unavailable", "no healthy upstream"),
    "a JSON string": http("200 OK", "no healthy upstream"),
    "404 of a default backend": http("404 Not Found", b"default backend - 404", "text/plain"),
    "403 in HTML": http("403 Forbidden", b"<html>blocked</html>", "text/html"),
    "302 to a login": http("302 Found", b"", "text/html", "Location: http://127.0.0.1:1/login"),
    "204": b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
    "empty": http("200 OK"),
    "HTML": http("200 OK", b"<html>log in first</html>", "text/html"),
    "Latin-1": http("200 OK", b'{"kind": "\xe9"}'),
    "half a JSON": http("200 OK", b'{"kind": "JobList", "items": [{"meta'),
    "half an answer": http("200 OK", b'{"kind": "JobList"}').replace(b"Content-Length: 19", b"Content-Length: 99"),
    "a number": http("200 OK", b"1"),
    "null": http("200 OK", b"null"),
    "half a character": http("200 OK", b'{"kind": "\\ud800"}'),
    "too deep": http("200 OK", b"[" * 100_000),
    "another kind": http("200 OK", {"kind": "ConfigMap", "metadata": _OBJECT}),
    "a list without items": http("200 OK", {"kind": "JobList", "metadata": {"resourceVersion": "7"}}),
    "items that are none": http("200 OK", {"kind": "JobList", "metadata": {"resourceVersion": "7"}, "items": [1]}),
    "items without names": http(
        "200 OK", b'{"kind": "JobList", "metadata": {"resourceVersion": "7"}, "items": [{"metadata": {}}]}'
    ),
    "a list without a version": http("200 OK", {"kind": "JobList", "metadata": {}, "items": []}),
    "an object without metadata": http("200 OK", {"kind": "Job", "spec": {}}),
    "a Status instead": http("200 OK", {"kind": "Status", "status": "Failure", "code": 500}),
    "compressed, but not": http("200 OK", b"{}", "application/json", "Content-Encoding: gzip"),
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nothing at all": b"",
    "a bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a bad header": b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
}
"""Answers of what stands before an API server, and none of an API server."""
