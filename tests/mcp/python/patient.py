"""Clients of others, as they are by default, each with a command that is silent for longer than it waits.

Arguments: the URL, the command, a stored cluster, the clients' names. Prints what each saw: a JSON object of lists.
"""

import asyncio
import json
import re
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

Ask = Callable[[str, dict[str, Any]], Awaitable[str]]
_RUNNING = re.compile(r'still running after|\[running for|"status": "running"')
_RUN_ID = re.compile(r'run_id(?:=|": )"(\w+)"')
_GO_ON = re.compile(r"start_line=(\d+), wait=(\d+)")
_MOST = 200
_SHORT = {"openai_agents": 2}
"""Seconds to wait, for a client that gives up after 5: its model is told so."""


async def to_its_end(ask: Ask, arguments: dict[str, Any]) -> list[str]:
    """Do as the results say, as a model would: what was seen of the command."""
    seen = [await ask("run_command", arguments)]
    found = _RUN_ID.search(seen[0])
    while _RUNNING.search(seen[-1]) and len(seen) < _MOST:
        assert found, seen
        go_on = _GO_ON.search(seen[-1])
        line, wait = (int(number) for number in go_on.groups()) if go_on else (1, 45)
        reading = {"run_id": found[1], "start_line": line, "wait": arguments.get("wait", wait)}
        seen.append(await ask("read_output", reading))
    return seen


@asynccontextmanager
async def older_sse(url: str) -> AsyncGenerator[Ask]:
    from mcp import ClientSession
    from mcp.client.sse import sse_client

    async with sse_client(f"{url}/sse") as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        yield _asking(session)


@asynccontextmanager
async def older_http(url: str) -> AsyncGenerator[Ask]:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    async with streamablehttp_client(f"{url}/mcp") as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        yield _asking(session)


@asynccontextmanager
async def fastmcp(url: str) -> AsyncGenerator[Ask]:
    from fastmcp import Client

    async with Client(f"{url}/mcp") as client:
        yield _asking(client)


@asynccontextmanager
async def google_genai(url: str) -> AsyncGenerator[Ask]:
    """Its adapter around a session of the SDK."""
    from google.genai._adapters import McpToGenAiToolAdapter
    from google.genai.types import FunctionCall
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    async with streamablehttp_client(f"{url}/mcp") as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        adapter = McpToGenAiToolAdapter(session, await session.list_tools())

        async def ask(name: str, arguments: dict[str, Any]) -> str:
            return (await adapter.call_tool(FunctionCall(name=name, args=arguments))).content[0].text

        yield ask


@asynccontextmanager
async def openai_agents(url: str) -> AsyncGenerator[Ask]:
    """A model that is told that its call timed out, as it may even in 2 s on a busy machine, asks again."""
    from agents.mcp import MCPServerStreamableHttp
    from mcp import McpError

    async with MCPServerStreamableHttp({"url": f"{url}/mcp"}) as server:

        async def ask(name: str, arguments: dict[str, Any]) -> str:
            while True:
                try:
                    return (await server.call_tool(name, arguments)).content[0].text
                except McpError as error:
                    if "Timed out" not in str(error):
                        raise

        yield ask


@asynccontextmanager
async def langchain(url: str) -> AsyncGenerator[Ask]:
    from langchain_mcp_adapters.client import MultiServerMCPClient

    client = MultiServerMCPClient({"service": {"transport": "streamable_http", "url": f"{url}/mcp"}})
    tools = {tool.name: tool for tool in await client.get_tools()}

    async def ask(name: str, arguments: dict[str, Any]) -> str:
        said = await tools[name].ainvoke(arguments)
        return said if isinstance(said, str) else said[0]["text"]

    yield ask


@asynccontextmanager
async def pydantic_ai(url: str) -> AsyncGenerator[Ask]:
    from pydantic_ai.mcp import MCPToolset

    async with MCPToolset(f"{url}/mcp") as toolset:

        async def ask(name: str, arguments: dict[str, Any]) -> str:
            return json.dumps(await toolset.direct_call_tool(name, arguments))

        yield ask


def _asking(client: Any) -> Ask:
    async def ask(name: str, arguments: dict[str, Any]) -> str:
        return (await client.call_tool(name, arguments)).content[0].text

    return ask


async def main(url: str, command: str, cluster: str, *names: str) -> None:
    """All are connected before one begins: what their imports take is none of their patience."""
    async with AsyncExitStack() as stack:
        clients: dict[str, Ask] = {}
        for name in names:
            connect: Any = globals()[name]
            clients[name] = await stack.enter_async_context(connect(url))
        arguments = {"command": command, "cluster": cluster}
        waits = {name: {"wait": _SHORT[name]} if name in _SHORT else {} for name in names}
        seen = await asyncio.gather(*(to_its_end(clients[name], arguments | waits[name]) for name in names))
    print(json.dumps(dict(zip(names, seen, strict=True))))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
