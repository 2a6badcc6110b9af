"""A TCP proxy that cuts connections; TLS passes through it."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

from anyio.from_thread import start_blocking_portal

_CHUNK = 16 * 1024


class Cutter:
    """Listens on `port`. `limit`: each new connection is cut after so many bytes from the server (None: never)."""

    def __init__(self, host: str, port: int) -> None:
        self.port = 0
        self.limit: int | None = None
        self.refuses = False
        self.cuts = 0
        self._upstream = (host, port)
        self._connections: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.get_running_loop()

    def cut(self) -> None:
        """Cut all connections there are."""
        self._loop.call_soon_threadsafe(self._cut_all)

    def _cut_all(self) -> None:
        for writer in self._connections:
            self._abort(writer)

    def _abort(self, writer: asyncio.StreamWriter) -> None:
        self.cuts += 1
        writer.transport.abort()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            writer.transport.abort()
            return
        self._connections.add(writer)
        limit = self.limit
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
            try:
                up = asyncio.create_task(_pump(reader, upstream_writer))
                try:
                    await _pump(upstream_reader, writer, limit)
                    if limit is not None:
                        self._abort(writer)
                finally:
                    up.cancel()
                    await asyncio.gather(up, return_exceptions=True)
            finally:
                upstream_writer.transport.abort()
        except OSError:
            pass  # the API server or the service has closed it
        finally:
            self._connections.discard(writer)
            writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None = None) -> None:
    """Copy until the end, or until `limit` bytes are through."""
    left = limit
    while left is None or left > 0:
        data = await reader.read(_CHUNK)
        if not data:
            break
        writer.write(data if left is None else data[:left])
        await writer.drain()
        if left is not None:
            left -= len(data)
    if limit is None:
        writer.close()


@contextmanager
def cutter(host: str, port: int) -> Generator[Cutter]:
    """Serve from a thread of its own."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(_serving(host, port)) as serving:
        yield serving


@asynccontextmanager
async def _serving(host: str, port: int) -> AsyncGenerator[Cutter]:
    cutter = Cutter(host, port)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(cutter.handle(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    cutter.port = server.sockets[0].getsockname()[1]
    try:
        yield cutter
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
