"""The TCP connections to an API server. When the client says that they are closed, they are.

A TLS connection whose request is cancelled says goodbye and waits for an answer, up to half a minute and behind
everybody's back; the event loop may well be at its end before.
"""

import asyncio
import socket
from contextlib import suppress
from typing import Any
from weakref import WeakSet

_CLOSED_SECONDS = 1.0
_LOOK_SECONDS = 0.01


class Sockets:
    """`make` is a connector's socket factory; `close` ends whatever it made and is still open."""

    def __init__(self) -> None:
        self._made: WeakSet[socket.socket] = WeakSet()

    def make(self, address: tuple[Any, ...]) -> socket.socket:
        """`address` is an entry of getaddrinfo()'s answer."""
        made = socket.socket(*address[:3])
        self._made.add(made)
        return made

    async def close(self) -> None:
        """Cut what is open, and see it closed: whoever reads from it, if only for a goodbye, finds its end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSED_SECONDS):
                while still_open := [made for made in self._made if made.fileno() >= 0]:
                    for made in still_open:
                        with suppress(OSError):  # it was not connected yet, or is closed by now
                            made.shutdown(socket.SHUT_RDWR)
                    await asyncio.sleep(_LOOK_SECONDS)
