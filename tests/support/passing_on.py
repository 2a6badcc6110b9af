"""What proxies between a service and its API server have in common."""

import base64
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

_HOP_BY_HOP = frozenset(("connection", "content-length", "host", "keep-alive", "transfer-encoding", "upgrade"))


def kept(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that are for both ends."""
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}


def abort(request: web.Request) -> None:
    """Break off the connection."""
    if request.transport:
        request.transport.abort()


@asynccontextmanager
async def session_with(server: Mapping[str, Any]) -> AsyncGenerator[aiohttp.ClientSession]:
    """For calls of the API server that this cluster entry of a kubeconfig is about."""
    authority = base64.b64decode(server.get("certificate-authority-data", "")).decode()
    connector = aiohttp.TCPConnector(limit=0, ssl=ssl.create_default_context(cadata=authority or None))
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
        yield session


@asynccontextmanager
async def served(handle: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncGenerator[str]:
    """Have `handle` answer every request at the URL, while the context lasts."""
    app = web.Application(client_max_size=4 << 20)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
