"""Heads of requests are bounded in size and time; see docs/security.md for the attacks that this ends."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TypeAlias

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from k8s_mcp.transport import http_protocol
from k8s_mcp.transport.http_protocol import HEAD_BYTES, BoundedProtocol
from tests.support.raw_http import answer, connect, next_status, post
from tests.support.service import Service

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


def test_head_of_usual_size_is_read(server: Service) -> None:
    with connect(server) as connection:
        for _ in range(2):
            connection.sendall(GET + b"Authorization: Bearer " + b"a" * 40_000 + b"\r\n\r\n")
            assert next_status(connection) == 200


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
    body = b'{"command": "' + b"x" * 500_000 + b'"}'
    with connect(server) as connection:
        for _ in range(2):
            connection.sendall(post(body))
            assert next_status(connection) == 422


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

    async def echo(request: Request) -> PlainTextResponse:
        return PlainTextResponse(await request.body())

    async def header(request: Request) -> PlainTextResponse:
        return PlainTextResponse(repr(request.headers["x"]))

    routes = [Route("/slow", slow), Route("/quick", quick), Route("/header", header)]
    app = Starlette(routes=[*routes, Route("/echo", echo, methods=["POST"])])
    config = uvicorn.Config(app, port=0, http=BoundedProtocol, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        yield listener.getsockname()[1]
        server.should_exit = True
        await serving


Opened: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
SLOW, QUICK = (b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % path for path in (b"slow", b"quick"))


@pytest.fixture
async def opened(port: int) -> AsyncIterator[Opened]:
    """A connection to it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield reader, writer
    writer.close()


@pytest.mark.parametrize("sent", [b"", b"GET /quick HTTP/1.1\r\nHost: a\r\n"])
async def test_connection_whose_head_does_not_come_is_closed(opened: Opened, sent: bytes) -> None:
    reader, writer = opened
    writer.write(sent)
    assert await reader.read() == b""


async def test_second_head_of_a_connection_has_to_come_as_well(opened: Opened) -> None:
    reader, writer = opened
    writer.write(QUICK)
    assert (await reader.readuntil(b"quick")).startswith(b"HTTP/1.1 200")
    writer.write(b"GET /quick")
    assert await reader.read() == b""


async def test_stream_is_not_cut_off_by_a_head_behind_it(opened: Opened) -> None:
    reader, writer = opened
    writer.write(SLOW)
    await reader.readuntil(b"one")
    writer.write(b"GET /quick")
    assert (await reader.readuntil(b"two")).endswith(b"two")


@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(b"GARBAGE\r\n\r\n", id="no request"),
        pytest.param(QUICK, id="a request"),
        pytest.param(b"POST /quick HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", id="half a request"),
        pytest.param(QUICK * 1000, id="many requests"),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
async def test_what_is_sent_behind_a_request_is_not_read(opened: Opened, behind: bytes, *, at_once: bool) -> None:
    """The request is answered, with nothing in between, and then the connection is closed."""
    reader, writer = opened
    writer.write(SLOW + (behind if at_once else b""))
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert await reader.readuntil(b"one\r\n") == b"3\r\none\r\n"
    if not at_once:
        writer.write(behind)
    assert await reader.read() == b"3\r\ntwo\r\n0\r\n\r\n"


@pytest.mark.parametrize("piece", [QUICK * 1000, b"a" * 50_000])
async def test_what_is_sent_without_end_behind_a_request_is_cut_off(opened: Opened, piece: bytes) -> None:
    reader, writer = opened
    writer.write(SLOW)
    await reader.readuntil(b"one\r\n")
    sent = 0
    with suppress(ConnectionError):
        while sent < 64 << 20:
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
    assert sent < 16 << 20


UPGRADE = b"Host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"


@pytest.mark.parametrize(
    "body",
    [b"Content-Length: 4\r\n\r\nbody", b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"],
    ids=["length", "chunks"],
)
@pytest.mark.parametrize("cut", range(0, 180, 30))
async def test_upgrade_is_ignored(opened: Opened, body: bytes, cut: int) -> None:
    """Java's HttpClient and `curl --http2` send it with each request, which is read as without, body and all."""
    reader, writer = opened
    request = b"POST /echo HTTP/1.1\r\n" + UPGRADE + body
    for _ in range(2):
        for part in (request[:cut], request[cut:]):
            writer.write(part)
            await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(4) == b"body"


async def test_nothing_hides_behind_an_upgrade(opened: Opened) -> None:
    """Not the head of a request, so that its body would be taken for another one."""
    reader, writer = opened
    body = b"GET /quick?smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    post = b"POST /quick HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
    writer.write(b"GET /slow HTTP/1.1\r\n" + UPGRADE + b"\r\n" + post)
    await reader.readuntil(b"one\r\n")
    writer.write(body)
    assert await reader.read() == b"3\r\ntwo\r\n0\r\n\r\n"


async def test_connect_is_refused(opened: Opened) -> None:
    """It would make a tunnel of the connection."""
    reader, writer = opened
    writer.write(b"CONNECT /quick HTTP/1.1\r\nHost: a\r\n\r\nGET /quick HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await reader.read()).count(b"HTTP/1.1 ") == 1


async def test_whitespace_around_a_value_is_not_part_of_it(opened: Opened) -> None:
    reader, writer = opened
    writer.write(b"GET /header HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: \t b c \t \r\n\r\n")
    assert (await reader.read()).endswith(b"\r\n\r\n'b c'")


CHUNKED = (
    b"POST /sse HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)


@pytest.mark.parametrize(
    "trailer", [b"Origin: http://evil.example", b"Host: evil.example", b"Authorization: Bearer x"]
)
def test_trailer_is_no_header(server: Service, trailer: bytes) -> None:
    """Uvicorn takes trailers for headers, and who is in front of us may have looked at headers only."""
    with connect(server) as connection:
        connection.sendall(CHUNKED + b"2\r\n{}\r\n0\r\n" + trailer + b"\r\n\r\n")
        assert next_status(connection) == 422
        connection.sendall(GET + b"\r\n")
        assert next_status(connection) == 200


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


@pytest.mark.parametrize("connection_header", [b"", b"Connection: keep-alive\r\n"])
def test_http_1_0_gets_no_chunks(server: Service, fake_kubeconfig: str, connection_header: bytes) -> None:
    """It does not know them: the stream ends with the connection. RFC 9112, sections 6.3 and 7.1."""
    body = json.dumps({"command": "echo one; exit 3", "kubeconfig": fake_kubeconfig}).encode()
    with connect(server) as connection:
        request = post(body).replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"\r\n\r\n", b"\r\n%b\r\n", 1)
        connection.sendall(request % connection_header)
        head, _, stream = answer(connection).partition(b"\r\n\r\n")
    assert head.split()[1] == b"200"
    assert b"transfer-encoding" not in head.lower()
    assert b"connection: close" in head.lower()
    assert stream.startswith(b"event: control\ndata: ")
    assert stream.endswith(b'data: {"status": "done", "exit_code": 3}\nid: 2\n\n')


def test_http_1_0_with_a_length_is_as_ever(server: Service) -> None:
    for host in (b"", b"Host: localhost\r\n"):
        with connect(server) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\nExpect: 100-continue\r\n%b\r\n" % host)
            head, _, body = answer(connection).partition(b"\r\n\r\n")
        if host:
            assert head.startswith(b"HTTP/1.1 200 ")
            assert body == b'{"status":"ok"}'
        else:
            assert head.startswith(b"HTTP/1.1 403 "), "without authentication the host has to be a local one"
