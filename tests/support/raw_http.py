"""HTTP as bytes, for what no client library would send."""

import re
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress

from tests.support.service import Service


@contextmanager
def connect(service: Service) -> Generator[socket.socket]:
    host, _, port = service.url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        yield connection


def one_answer(connection: socket.socket) -> bytes:
    """The next answer, whose length must be told; the connection can be used again."""
    with connection.makefile("rb") as lines:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = lines.readline()
            assert line, f"closed behind {head!r}"
            head += line
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        assert length, head
        return head + lines.read(int(length[1]))


def answer(connection: socket.socket) -> bytes:
    """Everything until the connection is closed."""
    parts: list[bytes] = []
    with suppress(ConnectionResetError):  # what was still on its way was thrown away
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)
