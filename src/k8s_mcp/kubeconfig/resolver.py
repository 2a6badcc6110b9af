"""Addresses of names, for a look at them before a command connects there."""

import asyncio
import socket
from contextlib import suppress
from threading import Thread

_SECONDS = 3.0
_AT_ONCE = 16


class Resolver:
    """Resolves names as the system does, in threads: getaddrinfo(3) cannot be interrupted.

    What cannot be resolved here, or not in time, has no addresses: in a pod, names can mean something else.
    """

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def addresses(self, host: str) -> list[str]:
        """All IP addresses of `host`, each once, as far as they are known within 3 s."""
        try:
            async with asyncio.timeout(_SECONDS):
                await self._places.acquire()
                return await self._look_up(host)
        except TimeoutError:
            return []

    def _look_up(self, host: str) -> "asyncio.Future[list[str]]":
        """Begins at once. The place is given back when the thread ends, whoever still waits for it."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[str]] = loop.create_future()

        def answer(addresses: list[str]) -> None:
            self._places.release()
            if not found.done():
                found.set_result(addresses)

        def look_up() -> None:
            addresses = _addresses(host)
            with suppress(RuntimeError):  # the loop is closed: the service has ended meanwhile
                loop.call_soon_threadsafe(answer, addresses)

        Thread(target=look_up, name="resolver", daemon=True).start()
        return found


def _addresses(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # no such name; one with a label that no name can have
        return []
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
