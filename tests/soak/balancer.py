"""The load balancer in front of the replicas: one address, a replica for each connection; and it can fail, too."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

GARBAGE = b"\xff\x00\xff\xff garbled \xff\xff\x00\xff\r\n"
"""No UTF-8, and no HTTP: what a client or the service cannot take for something that was sent to it."""

_CHUNK = 64 * 1024
Address = tuple[str, int]


@dataclass(eq=False)
class _Connection:
    client: asyncio.StreamWriter
    replica: asyncio.StreamWriter | None = None

    def abort(self) -> None:
        for writer in (self.client, self.replica):
            if writer is not None:
                writer.transport.abort()


class Balancer:
    """`any` is the address of all replicas, `only[n]` that of replica n: as if chance had sent the connection there.

    `replicas` gives the address of each, None while it does not run.
    """

    def __init__(self, replicas: Callable[[], Sequence[Address | None]], rng: random.Random) -> None:
        self.any = ""
        self.only: list[str] = []
        self.garbled_requests = 0
        self._replicas = replicas
        self._rng = rng
        self._connections: set[_Connection] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    def cut(self, share: float) -> int:
        """Cut that share of the connections; how many those were."""
        return sum(1 for connection in self._chosen(share) if connection.abort() is None)

    def garble(self, share: float) -> int:
        """Spoil that share of the connections, in either direction; how many those were."""
        chosen = self._chosen(share)
        for connection in chosen:
            to_replica = connection.replica is not None and self._rng.random() < 0.5
            end = connection.replica if connection.replica is not None and to_replica else connection.client
            if end.is_closing():
                continue
            end.write(GARBAGE)
            if to_replica:
                self.garbled_requests += 1
            else:
                end.close()
        return len(chosen)

    @asynccontextmanager
    async def being_frozen(self) -> AsyncGenerator[None]:
        """While the context lasts nothing gets through, and no connection ends."""
        self._flowing.clear()
        try:
            yield
        finally:
            self._flowing.set()

    async def handle(self, number: int | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection to replica `number`, or to any."""
        connection = _Connection(writer)
        self._connections.add(connection)
        try:
            await self._flowing.wait()
            from_replica, connection.replica = await self._connect(number)
            up = asyncio.create_task(self._pump(reader, connection.replica))
            try:
                await self._pump(from_replica, writer)
            finally:
                up.cancel()
                await asyncio.gather(up, return_exceptions=True)
            await writer.wait_closed()
        except OSError:
            pass  # no replica is there, or either end has closed it
        finally:
            self._connections.discard(connection)
            connection.abort()

    def _chosen(self, share: float) -> list[_Connection]:
        return [one for one in self._connections if self._rng.random() < share]

    async def _connect(self, number: int | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        replicas = self._replicas()
        there = [address for address in replicas if address] if number is None else [replicas[number]]
        self._rng.shuffle(there)
        for address in there:
            if address is None:
                break
            try:
                return await asyncio.open_connection(*address)
            except OSError:
                continue
        raise ConnectionRefusedError

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            await self._flowing.wait()
            if writer.is_closing():
                raise ConnectionResetError  # a fault has cut it meanwhile
            writer.write(data)
            await writer.drain()
        writer.close()  # once all of it is sent


@asynccontextmanager
async def balancer(
    replicas: Callable[[], Sequence[Address | None]], count: int, rng: random.Random
) -> AsyncGenerator[Balancer]:
    """Serves while the context lasts."""
    one = Balancer(replicas, rng)
    tasks: set[asyncio.Task[None]] = set()
    servers: list[asyncio.Server] = []

    async def listen(number: int | None) -> str:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(one.handle(number, reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        servers.append(await asyncio.start_server(accept, "127.0.0.1", 0, backlog=256))
        return f"http://127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}"

    try:
        one.any = await listen(None)
        one.only = [await listen(number) for number in range(count)]
        yield one
    finally:
        for server in servers:
            server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
