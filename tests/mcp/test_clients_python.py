"""Clients from PyPI whose packages are not the service's: an older SDK, and libraries for models."""

import json
from pathlib import Path

import anyio.to_thread
import pytest

from tests.mcp import python_packages, raw
from tests.support.left_out import leave_out
from tests.support.service import Service

LIBRARIES = ("fastmcp", "google_genai", "langchain", "openai_agents", "pydantic_ai")


def packages(name: str) -> Path:
    try:
        return python_packages.installed(name)
    except python_packages.NotInstalledError as error:
        leave_out(f"no MCP clients from PyPI here: {error}")


@pytest.fixture(scope="module")
def converted(server: Service) -> dict[str, object]:
    """The tools' names as each library has them after converting them; or what it says."""
    return python_packages.run(packages("agents"), "convert.py", f"{server.url}/mcp")


@pytest.mark.parametrize("library", LIBRARIES)
async def test_library_converts_every_tool_for_its_model(
    server: Service, converted: dict[str, object], library: str
) -> None:
    async with raw.http(server) as http:
        listed = raw.answer(await http.post("/mcp", json=raw.request("tools/list")))["result"]["tools"]
    assert converted[library] == [tool["name"] for tool in listed]


def test_every_library_that_is_tried_has_its_test(converted: dict[str, object]) -> None:
    assert set(converted) == set(LIBRARIES)


async def test_separators_in_output_reach_a_client_that_splits_lines_there(
    server: Service, fake_kubeconfig: str
) -> None:
    """`mcp` 1.13 with httpx-sse 0.4.1 waited for ever: it takes them for the end of a line."""
    async with raw.http(server) as http:
        (await http.put("/clusters/older", json={"kubeconfig": fake_kubeconfig})).raise_for_status()
    command = "printf 'a\\u2028b\\u2029c\\u0085d\\n'"
    seen = await anyio.to_thread.run_sync(
        python_packages.run, packages("older"), "older.py", server.url, command, "older"
    )
    assert seen == {"sse": "a\u2028b\u2029c\x85d\n", "http": "a\u2028b\u2029c\x85d\n"}


@pytest.mark.parametrize("in_2026", [False, True], ids=["2025", "2026"])
async def test_no_separator_is_in_a_stream_as_it_is(server: Service, fake_kubeconfig: str, in_2026: bool) -> None:
    """In progress and results alike; what JSON means stays the same."""
    command = "printf 'a\\u2028b\\u2029c\\u0085d\\n'; sleep 1"
    message = raw.tool("run_command", command=command, kubeconfig=fake_kubeconfig)
    headers: dict[str, str] = {}
    if in_2026:
        message, headers = raw.in_2026(message)
    message["params"].setdefault("_meta", {})["progressToken"] = 1
    async with raw.http(server) as http:
        response = await http.post("/mcp", json=message, headers=headers)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert not set(response.text) & set("\u2028\u2029\x85")
    said = [line.removeprefix("data: ") for line in response.text.split("\n") if line.startswith("data: {")]
    assert "a\u2028b\u2029c\x85d" in json.loads(said[-1])["result"]["content"][0]["text"]
    assert any("a\u2028b" in json.loads(line).get("params", {}).get("message", "") for line in said)
