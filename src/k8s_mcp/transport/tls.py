"""TLS: a certificate that is read again when its files change, and handshakes that count as connections."""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from k8s_mcp.followed import Followed
from k8s_mcp.transport.connections import Connections, Slot

_HANDSHAKE_SECONDS = 10.0
_PAUSE_SECONDS = 0.2
_logger = logging.getLogger(__name__)


class Certificate:
    """Certificate chain and key in PEM files. New handshakes use the newest good pair; old connections stay."""

    def __init__(self, certificate: Path, key: Path) -> None:
        def read() -> bytes:
            return certificate.read_bytes() + key.read_bytes()

        self._files = Followed(f"the certificate in {certificate}", read, lambda _: _context(certificate, key))

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Follow the files until the context ends. Raises StartError when they cannot be used."""
        async with self._files.open():
            yield

    @property
    def context(self) -> ssl.SSLContext:
        return self._files.value


class TlsListener:
    """Accepts connections and encrypts them: each has its place before its handshake. Then `make_protocol` goes on.

    What uvicorn wants to see of a listening server: `sockets`, `close` and `wait_closed`.
    """

    def __init__(
        self,
        connections: Connections,
        certificate: Certificate,
        make_protocol: Callable[[Slot], asyncio.Protocol],
    ) -> None:
        self.sockets: list[socket.socket] = []
        self._connections = connections
        self._certificate = certificate
        self._make_protocol = make_protocol
        self._accepting: list[asyncio.Task[None]] = []
        self._handshakes: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int, backlog: int) -> None:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((one[0], one[4]) for one in found):
            listening = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            self.sockets.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind(address)
            listening.listen(backlog)
            self._accepting.append(loop.create_task(self._accept(listening)))

    def close(self) -> None:
        """Accept nothing more; handshakes that are not through are given up."""
        for task in (*self._accepting, *self._handshakes):
            task.cancel()

    async def wait_closed(self) -> None:
        await asyncio.wait([*self._accepting, *self._handshakes])
        for listening in self.sockets:
            listening.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(listening)
            except OSError as error:  # no file descriptors left, or gone before it was accepted
                _logger.warning("cannot accept a connection: %s", error.strerror)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            handshake = loop.create_task(self._encrypt(connection, str(peer[0])))
            self._handshakes.add(handshake)
            handshake.add_done_callback(self._handshakes.discard)

    async def _encrypt(self, connection: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 # a coroutine always runs in one

        def give_up() -> None:
            task.cancel()

        slot = Slot(address, give_up)
        try:
            if not self._connections.admit(slot):
                connection.close()
                return
            await loop.connect_accepted_socket(
                lambda: self._make_protocol(slot),
                connection,
                ssl=self._certificate.context,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
            )
        except (OSError, TimeoutError, asyncio.CancelledError):  # no TLS, no trust in us, no end, no room
            self._connections.remove(slot)
            connection.close()


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Raises OSError or ValueError; a certificate without its key is refused, as between two writes of a renewal."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        raise ValueError(f"not a certificate and its key in PEM: {error.reason or error}") from None
    return context


def _no_password() -> str:
    """Else OpenSSL would ask on the terminal."""
    raise ValueError("the key has a password; the service needs one without")
