"""Heads of requests are bounded in size and time; see docs/security.md for the attacks that this ends."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from k8s_mcp import http_protocol
from k8s_mcp.http_protocol import HEAD_BYTES, BoundedProtocol
from tests.support.raw_http import answer, connect
from tests.support.service import Service

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


def test_head_of_usual_size_is_read(server: Service) -> None:
    with connect(server) as connection:
        connection.sendall(GET + b"Authorization: Bearer " + b"a" * 40_000 + b"\r\n\r\n")
        connection.sendall(GET + b"Connection: close\r\n\r\n")
        assert re.findall(rb"HTTP/1.1 (\d+)", answer(connection)) == [b"200", b"200"]


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(GET + b"X: " + b"a" * 2 * HEAD_BYTES + b"\r\n\r\n", id="one long header"),
        pytest.param(GET + b"X: y\r\n" * 20_000 + b"\r\n", id="many short headers"),
        pytest.param(b"GET /" + b"a" * 2 * HEAD_BYTES + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", id="a long path"),
    ],
)
def test_head_that_is_too_large_is_refused(server: Service, head: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(head)
        assert answer(connection).partition(b"\r\n")[0] in {b"HTTP/1.1 431 Request Header Fields Too Large", b""}


@pytest.mark.parametrize("beginning", [b"", b"GET /", GET, GET + b"X: ", GET + b"X"])
def test_head_without_end_is_cut_off(server: Service, beginning: bytes) -> None:
    sent = 0
    with connect(server) as connection:
        connection.sendall(beginning)
        with suppress(ConnectionError):
            while sent < 64 << 20:
                connection.sendall(b"a" * 10_000)
                sent += 10_000
    assert sent < 16 << 20, "and what was sent is what the kernel holds, not the service"


def test_long_body_is_no_head(server: Service) -> None:
    """Also when its last bytes come with the next request's first ones."""
    body = b'{"command": "' + b"x" * 500_000 + b'"}'
    post = b"POST /sse HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with connect(server) as connection:
        connection.sendall(2 * (post % len(body) + body) + GET + b"Connection: close\r\n\r\n")
        assert re.findall(rb"HTTP/1.1 (\d+)", answer(connection)) == [b"422", b"422", b"200"]


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A server that does not wait long for heads. `/slow` answers with two parts, and a pause between them."""
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.3)

    async def slow(_: Request) -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"one"
            await asyncio.sleep(1)
            yield b"two"

        return StreamingResponse(parts())

    async def quick(_: Request) -> PlainTextResponse:
        return PlainTextResponse("quick")

    app = Starlette(routes=[Route("/slow", slow), Route("/quick", quick)])
    config = uvicorn.Config(app, port=0, http=BoundedProtocol, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        yield listener.getsockname()[1]
        server.should_exit = True
        await serving


@pytest.mark.parametrize("sent", [b"", b"GET /quick HTTP/1.1\r\nHost: a\r\n"])
async def test_connection_whose_head_does_not_come_is_closed(port: int, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    assert await reader.read() == b""
    writer.close()


async def test_second_head_of_a_connection_has_to_come_as_well(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /quick HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await reader.readuntil(b"quick")).startswith(b"HTTP/1.1 200")
    writer.write(b"GET /quick")
    assert await reader.read() == b""
    writer.close()


async def test_stream_is_not_cut_off_by_a_head_behind_it(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    await reader.readuntil(b"one")
    writer.write(b"GET /quick")
    assert (await reader.readuntil(b"two")).endswith(b"two")
    writer.close()


CHUNKED = (
    b"POST /sse HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)


@pytest.mark.parametrize(
    "trailer", [b"Origin: http://evil.example", b"Host: evil.example", b"Authorization: Bearer x"]
)
def test_trailer_is_no_header(server: Service, trailer: bytes) -> None:
    """Uvicorn takes trailers for headers, and who is in front of us may have looked at headers only."""
    with connect(server) as connection:
        connection.sendall(CHUNKED + b"2\r\n{}\r\n0\r\n" + trailer + b"\r\n\r\n" + GET + b"Connection: close\r\n\r\n")
        assert re.findall(rb"HTTP/1.1 (\d+)", answer(connection)) == [b"422", b"200"]


@pytest.mark.parametrize("beginning", [b"2;", b"2\r\n{}\r\n0\r\nX: "])
def test_chunks_and_trailers_without_end_are_cut_off(server: Service, beginning: bytes) -> None:
    sent = 0
    with connect(server) as connection:
        connection.sendall(CHUNKED.replace(b"POST /sse", b"POST /healthz") + beginning)
        with suppress(ConnectionError):
            while sent < 64 << 20:
                connection.sendall(b"a" * 10_000)
                sent += 10_000
    assert sent < 16 << 20
