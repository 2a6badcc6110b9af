"""A reverse proxy that serves a service under a prefix and strips it, as ingress controllers are often told to."""

import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

_HOP_BY_HOP = {"host", "connection", "transfer-encoding", "content-length", "keep-alive"}


@asynccontextmanager
async def stripping(prefix: str, target: str) -> AsyncGenerator[str]:
    """The proxy's URL, prefix and all; what is not under it is a 404."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if not request.path.startswith(f"{prefix}/"):
            raise web.HTTPNotFound
        url = f"{target}{request.path_qs.removeprefix(prefix)}"
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        async with session.request(request.method, url, headers=headers, data=await request.read()) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            with contextlib.suppress(ConnectionResetError, aiohttp.ClientConnectionError):
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
            return response

    application = web.Application(client_max_size=4 << 20)
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False) as session:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            [address] = runner.addresses
            yield f"http://127.0.0.1:{address[1]}{prefix}"
        finally:
            await runner.cleanup()
