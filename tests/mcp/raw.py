"""JSON-RPC by hand: what a client's SDK would not send, and what it would not show."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any
from urllib.parse import urljoin

import httpx

from tests.support.events import Stream
from tests.support.service import Service

Json = dict[str, Any]

ACCEPT = {"Accept": "application/json, text/event-stream"}
_VERSION = "io.modelcontextprotocol/protocolVersion"
_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"

_numbers = count(1000)


def request(method: str, number: object = None, **params: object) -> Json:
    """A request with an id of its own."""
    return {"jsonrpc": "2.0", "id": next(_numbers) if number is None else number, "method": method, "params": params}


def tool(name: str, number: object = None, **arguments: object) -> Json:
    return request("tools/call", number, name=name, arguments=arguments)


def initialize(version: str = "2025-11-25") -> Json:
    info = {"name": "by hand", "version": "0"}
    return request("initialize", protocolVersion=version, capabilities={}, clientInfo=info)


def cancelled(number: object) -> Json:
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number}}


def in_2026(message: Json) -> tuple[Json, dict[str, str]]:
    """The same request in the protocol of 2026-07-28, and the headers that belong to it."""
    meta: Json = {_VERSION: "2026-07-28", _CAPABILITIES: {}}
    headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": message["method"]}
    if "name" in message["params"]:
        headers["Mcp-Name"] = message["params"]["name"]
    return {**message, "params": {**message["params"], "_meta": meta}}, headers


def http(service: Service) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=60, headers=ACCEPT)


def answer(response: httpx.Response) -> Json:
    """The one JSON-RPC message of an answer, whether it is a stream or not."""
    assert response.status_code == 200, response.text
    if response.headers["content-type"] == "application/json":
        return response.json()
    [message] = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: {")]
    return json.loads(message)


class SseSession:
    """A session of the older transport."""

    def __init__(self, client: httpx.AsyncClient, stream: Stream) -> None:
        self.client = client
        self.stream = stream
        self.endpoint = ""

    async def connect(self) -> None:
        """Read where messages go, and shake hands."""
        endpoint = await self.stream.first("endpoint")
        self.endpoint = urljoin(str(self.client.base_url), endpoint.data)
        await self.ask(initialize())
        await self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})

    async def post(self, message: Json) -> None:
        response = await self.client.post(self.endpoint, json=message)
        assert response.status_code == 202, response.text

    async def ask(self, message: Json) -> Json:
        """Send a request; its answer."""
        await self.post(message)
        return await self.answer_to(message)

    async def answer_to(self, message: Json) -> Json:
        while True:
            event = await self.stream.first("message")
            said = json.loads(event.data)
            if said.get("id") == message["id"]:
                return said


@asynccontextmanager
async def sse_session(client: httpx.AsyncClient) -> AsyncGenerator[SseSession]:
    """Leaving the context drops the connection."""
    async with client.stream("GET", "/sse") as response:
        assert response.status_code == 200
        session = SseSession(client, Stream(response))
        await session.connect()
        yield session
