"""The HTTP server's life: listen, say so, serve; at a signal drain the runs, then stop."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from socket import socket

import uvicorn
from starlette.applications import Starlette

_CLOSE_SECONDS = 10
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Server(uvicorn.Server):
    """Uvicorn, with a graceful end of our own: while `drain` runs, requests are still answered, so that streams get
    their final event.

    A second signal ends it at once. `on_listening` is called with the URL when requests are accepted.
    """

    def __init__(
        self,
        app: Starlette,
        config: uvicorn.Config,
        drain: Callable[[], Awaitable[None]],
        on_listening: Callable[[str], None],
    ) -> None:
        config.timeout_graceful_shutdown = _CLOSE_SECONDS
        config.lifespan = "off"
        super().__init__(config)
        self._app = app
        self._drain = drain
        self._on_listening = on_listening
        self._ending: asyncio.Task[None] | None = None

    async def serve(self, sockets: list[socket] | None = None) -> None:
        """Serve until a signal. The application's lifespan is ours, so that its errors reach the caller."""
        with self.capture_signals():
            async with self._app.router.lifespan_context(self._app):
                await self._serve(sockets)

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            scheme = "https" if self.config.is_ssl else "http"
            self._on_listening(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}")

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._on_signal)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def _on_signal(self) -> None:
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end())
        else:
            self._ending.cancel()
            self.force_exit = True

    async def _end(self) -> None:
        try:
            await self._drain()
        finally:
            self.should_exit = True
