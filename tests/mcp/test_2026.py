"""What the protocol of 2026-07-28 adds: arguments in headers, by which gateways route, and how long lists hold."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.mcp import raw
from tests.mcp.clients import data_of
from tests.mcp.conftest import Connect
from tests.support.service import Service

NAME = "routed-by-name"


@pytest.fixture
async def http(server: Service, fake_kubeconfig: str) -> AsyncIterator[httpx.AsyncClient]:
    async with raw.http(server) as client:
        stored = await client.put(f"/clusters/{NAME}", json={"kubeconfig": fake_kubeconfig})
        stored.raise_for_status()
        yield client


async def ask(http: httpx.AsyncClient, message: raw.Json, more: dict[str, str] | None = None) -> httpx.Response:
    message, headers = raw.in_2026(message)
    return await http.post("/mcp", json=message, headers=headers | (more or {}))


def marked(tools: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Of each tool the arguments that go into a header."""
    found = {
        tool["name"]: {
            name: field["x-mcp-header"]
            for name, field in tool["inputSchema"]["properties"].items()
            if "x-mcp-header" in field
        }
        for tool in tools
    }
    return {name: fields for name, fields in found.items() if fields}


async def test_the_cluster_goes_into_a_header(http: httpx.AsyncClient) -> None:
    listed = raw.answer(await ask(http, raw.request("tools/list")))["result"]
    assert marked(listed["tools"]) == {"run_command": {"cluster": "Cluster"}}


async def test_older_clients_see_no_keyword_that_they_do_not_know(http: httpx.AsyncClient) -> None:
    listed = raw.answer(await http.post("/mcp", json=raw.request("tools/list")))["result"]
    assert marked(listed["tools"]) == {}
    assert "ttlMs" not in listed


@pytest.mark.parametrize(("given", "status"), [(NAME, 200), ("another", 400), (None, 400)])
async def test_a_header_that_says_another_cluster_is_refused(
    http: httpx.AsyncClient, given: str | None, status: int
) -> None:
    headers = {"Mcp-Param-Cluster": given} if given else {}
    response = await ask(http, raw.tool("run_command", command="echo ran", cluster=NAME), headers)
    assert response.status_code == status, response.text
    if status == 200:
        assert raw.answer(response)["result"]["structuredContent"]["stdout"] == "ran\n"
    else:
        assert "Mcp-Param-Cluster" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "hint"),
    [
        ("tools/list", (60_000, "private")),
        ("resources/templates/list", (3_600_000, "public")),
        ("resources/list", (0, "private")),
    ],
)
async def test_lists_say_how_long_they_hold(http: httpx.AsyncClient, method: str, hint: tuple[int, str]) -> None:
    result = raw.answer(await ask(http, raw.request(method)))["result"]
    assert (result["ttlMs"], result["cacheScope"]) == hint


@pytest.mark.parametrize("connect", ["python-2026", "typescript-2026"], indirect=True)
async def test_clients_name_clusters(connect: Connect, server: Service, http: httpx.AsyncClient) -> None:
    async with connect(server) as client:
        assert marked(await client.tools()) == {"run_command": {"cluster": "Cluster"}}
        result = await client.call("run_command", command="echo ran", cluster=NAME)
    assert data_of(result)["stdout"] == "ran\n"


@pytest.mark.parametrize("connect", ["python-2026", "typescript-2026"], indirect=True)
async def test_clients_name_clusters_without_a_list_before(
    connect: Connect, server: Service, http: httpx.AsyncClient
) -> None:
    async with connect(server) as client:
        result = await client.call("run_command", command="echo ran", cluster=NAME)
    assert data_of(result)["stdout"] == "ran\n"
