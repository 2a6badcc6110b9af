"""Prints the tools as libraries convert them for a model: a JSON object, names by library. Argument: the URL."""

import asyncio
import json
import sys

from agents import Agent, RunContextWrapper
from agents.mcp import MCPServerStreamableHttp, MCPUtil
from fastmcp import Client
from google.genai import _mcp_utils


async def openai_agents(url: str) -> list[str]:
    """With strict schemas, as OpenAI's API wants them; it would leave a schema as it is where it cannot."""
    async with MCPServerStreamableHttp({"url": url}) as server:
        agent = Agent(name="test", mcp_servers=[server])
        tools = await MCPUtil.get_all_function_tools(
            [server], convert_schemas_to_strict=True, run_context=RunContextWrapper(None), agent=agent
        )
    loose = [tool.name for tool in tools if not tool.strict_json_schema and tool.params_json_schema["properties"]]
    assert not loose, f"no strict schema: {loose}"
    return [tool.name for tool in tools]


async def fastmcp_and_google_genai(url: str) -> tuple[list[str], list[str]]:
    async with Client(url) as client:
        listed = await client.list_tools()
    converted = _mcp_utils.mcp_to_gemini_tools(listed)
    gemini = [declared.name for tool in converted for declared in tool.function_declarations]
    return [tool.name for tool in listed], gemini


async def main(url: str) -> None:
    fastmcp, google_genai = await fastmcp_and_google_genai(url)
    agents = await openai_agents(url)
    print(json.dumps({"fastmcp": fastmcp, "google_genai": google_genai, "openai_agents": agents}))


asyncio.run(main(sys.argv[1]))
