"""Knows which commands were started, and how often: each says its label to a socket that pods reach."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class Witness:
    """`seen` has the times, by time.monotonic(), at which each label was said."""

    def __init__(self, host: str, port: int) -> None:
        self.seen: defaultdict[str, list[float]] = defaultdict(list)
        self._place = f"/dev/tcp/{host}/{port}"

    def attested(self, label: str, script: str) -> str:
        """The script, which says first that it was started. When it cannot, its standard error tells."""
        return f"echo {label} >{self._place}; {script}"

    async def hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            label = (await reader.readline()).decode().strip()
            self.seen[label].append(time.monotonic())
        finally:
            writer.close()


@asynccontextmanager
async def witness(host: str) -> AsyncGenerator[Witness]:
    """Listens on `host`, this machine's address as pods see it."""
    heard: list[Witness] = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard[0].hear(reader, writer)

    server = await asyncio.start_server(hear, host, 0, backlog=256)
    heard.append(Witness(host, server.sockets[0].getsockname()[1]))
    try:
        yield heard[0]
    finally:
        server.close()
