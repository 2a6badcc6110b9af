"""Answers for HTTP/1.0, which has no chunks: without a length, the end of the connection ends them.

RFC 9112, section 7.1: no `Transfer-Encoding` unless the request says HTTP/1.1. Uvicorn sends chunks to everybody.
"""

from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Cycle(Protocol):
    """What uvicorn has of one request and its answer."""

    chunked_encoding: bool | None
    expected_content_length: int


async def answer(app: ASGIApp, cycle: Cycle, scope: Scope, receive: Receive, send: Send) -> None:
    """Have `app` answer the request of `cycle` without chunks. That the connection closes is uvicorn's doing."""
    delimited_by_end = False

    async def send_as_it_is(message: Message) -> None:
        nonlocal delimited_by_end
        if message["type"] == "http.response.start":
            delimited_by_end = all(name.lower() != b"content-length" for name, _ in message["headers"])
            if delimited_by_end:
                cycle.chunked_encoding = False
        elif delimited_by_end:
            cycle.expected_content_length = len(message.get("body", b""))  # which uvicorn counts down to 0
        await send(message)

    await app(scope, receive, send_as_it_is)
