"""Calls run_command through both transports of `mcp` 1.13, and prints each result's standard output as JSON.

Arguments: the service's URL, the command, a stored cluster's name.
"""

import asyncio
import json
import sys
from typing import Any

from mcp import ClientSession
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamablehttp_client


async def call(read: Any, write: Any, arguments: dict[str, Any]) -> str:
    async with ClientSession(read, write) as session:
        await session.initialize()
        async with asyncio.timeout(30):
            result = await session.call_tool("run_command", arguments)
    return result.structuredContent["stdout"]


async def main(url: str, command: str, cluster: str) -> None:
    arguments = {"command": command, "cluster": cluster}
    async with sse_client(f"{url}/sse") as (read, write):
        over_sse = await call(read, write, arguments)
    async with streamablehttp_client(f"{url}/mcp") as (read, write, _):
        over_http = await call(read, write, arguments)
    print(json.dumps({"sse": over_sse, "http": over_http}))


asyncio.run(main(*sys.argv[1:]))
