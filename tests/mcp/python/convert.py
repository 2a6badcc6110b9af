"""Prints the tools as libraries convert them for a model: a JSON object, names by library. Argument: the URL."""

import asyncio
import json
import sys

from agents import Agent, RunContextWrapper
from agents.mcp import MCPServerStreamableHttp, MCPUtil
from fastmcp import Client
from google.genai import _mcp_utils
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_mcp_adapters.client import MultiServerMCPClient
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.models.test import TestModel


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


async def langchain(url: str) -> list[str]:
    client = MultiServerMCPClient({"service": {"transport": "streamable_http", "url": url}})
    tools = [convert_to_openai_tool(tool) for tool in await client.get_tools()]
    return [tool["function"]["name"] for tool in tools]


async def pydantic_ai(url: str) -> list[str]:
    """As a model that is given them sees them."""
    model = TestModel(call_tools=[])
    await PydanticAgent(model, toolsets=[MCPToolset(url)]).run("hello")
    return [tool.name for tool in model.last_model_request_parameters.function_tools]


async def main(url: str) -> None:
    fastmcp, google_genai = await fastmcp_and_google_genai(url)
    agents = await openai_agents(url)
    converted = {"fastmcp": fastmcp, "google_genai": google_genai, "openai_agents": agents}
    print(json.dumps({**converted, "langchain": await langchain(url), "pydantic_ai": await pydantic_ai(url)}))


asyncio.run(main(sys.argv[1]))
