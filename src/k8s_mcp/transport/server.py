"""The HTTP server's life: listen, say so, serve; at a signal drain the runs, then stop."""

import asyncio
import os
import resource
import signal
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, nullcontext
from functools import partial
from socket import fromfd, socket
from typing import Any

import uvicorn
from starlette.applications import Starlette

from k8s_mcp.errors import StartError
from k8s_mcp.transport.connections import Connections, Slot
from k8s_mcp.transport.counted_protocol import CountedProtocol
from k8s_mcp.transport.tls import Certificate, TlsListener

_CLOSE_SECONDS = 10
_OTHER_FILES = 4096
"""Open files besides connections: pipes and sockets of runs."""
_ACCEPTED_AT_ONCE = 8
"""Connections that are there before any of them is counted, and others are closed for them."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Server(uvicorn.Server):
    """Uvicorn, with a graceful end of our own: while `drain` runs, requests are still answered, so that streams get
    their final event; and with a bound for connections.

    A second signal ends it at once. `on_listening` is called with the URL when requests are accepted. With a
    `certificate` it speaks TLS only.
    """

    def __init__(
        self,
        app: Starlette,
        config: uvicorn.Config,
        drain: Callable[[], Awaitable[None]],
        on_listening: Callable[[str], None],
        connections: Connections,
        certificate: Certificate | None = None,
    ) -> None:
        config.timeout_graceful_shutdown = _CLOSE_SECONDS
        config.lifespan = "off"
        config.http = partial(CountedProtocol, connections, None)  # type: ignore[assignment] # called like a class
        super().__init__(config)
        self._app = app
        self._drain = drain
        self._on_listening = on_listening
        self._connections = connections
        self._certificate = certificate
        self._ending: asyncio.Task[None] | None = None

    async def serve(self, sockets: list[socket] | None = None) -> None:
        """Serve until a signal. The application's lifespan is ours, so that its errors reach the caller.

        Raises StartError as such, also from within the lifespan's task groups, which wrap it.
        """
        certificate = self._certificate.open() if self._certificate else nullcontext()
        with self.capture_signals():
            failed: BaseException | None = None
            try:
                async with certificate, self._app.router.lifespan_context(self._app):
                    try:
                        await self._serve(sockets)
                    except SystemExit as error:  # uvicorn's way to say that it cannot listen
                        raise self._cannot_listen(error.__context__) from None
            except* StartError as group:
                failed = group
            while isinstance(failed, BaseExceptionGroup):
                failed = failed.exceptions[0]
            if failed is not None:
                raise failed

    async def startup(self, sockets: list[socket] | None = None) -> None:
        if self._certificate is None:
            await self._listen(sockets)
        else:
            await self._listen_tls(self._certificate)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            scheme = "https" if self._certificate else "http"
            self._on_listening(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}")

    def _cannot_listen(self, cause: BaseException | None) -> StartError:
        why = os.strerror(cause.errno) if isinstance(cause, OSError) and cause.errno else str(cause)
        return StartError(f"cannot listen on {self.config.host}:{self.config.port}: {why}")

    async def _listen(self, sockets: list[socket] | None) -> None:
        """The event loop accepts as many connections at a time as it is told that the system's queue is long."""
        queue, self.config.backlog = self.config.backlog, _ACCEPTED_AT_ONCE
        await super().startup(sockets)
        for server in self.servers:
            for listening in server.sockets:
                with fromfd(listening.fileno(), listening.family, listening.type) as same:
                    same.listen(queue)

    async def _listen_tls(self, certificate: Certificate) -> None:
        def make_http(slot: Slot) -> CountedProtocol:
            state: dict[str, Any] = {}
            return CountedProtocol(
                self._connections, slot, config=self.config, server_state=self.server_state, app_state=state
            )

        listener = TlsListener(self._connections, certificate, make_http)
        try:
            await listener.listen(self.config.host, self.config.port, self.config.backlog)
        except OSError as error:
            raise self._cannot_listen(error) from None
        self.servers = [listener]  # type: ignore[list-item] # all that uvicorn uses of one
        self.started = True

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def _on_signal(self, number: int) -> None:
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end())
            return
        # As after a crash, others see to the rest: a runner ends when its service is gone, replicas take over.
        asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    async def _end(self) -> None:
        try:
            await self._drain()
        finally:
            self.should_exit = True


def allow_connections(most: int) -> None:
    """Let this process open files for so many connections, as far as the system's hard limit permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most_allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most_allowed, hard))
