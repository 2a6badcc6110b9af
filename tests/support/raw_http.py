"""HTTP as bytes, for what no client library would send."""

import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from http.client import HTTPResponse

from tests.support.service import Service


@contextmanager
def connect(service: Service) -> Generator[socket.socket]:
    host, _, port = service.url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        yield connection


def post(body: bytes) -> bytes:
    """A request to run what the body says."""
    head = b"POST /sse HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


def next_status(connection: socket.socket) -> int:
    """The status of the next answer, which is read to its end; the connection can be used again."""
    response = HTTPResponse(connection)
    response.begin()
    response.read()
    return response.status


def answer(connection: socket.socket) -> bytes:
    """Everything until the connection is closed."""
    parts: list[bytes] = []
    with suppress(ConnectionResetError):  # what was still on its way was thrown away
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)
