"""A command that says nothing for longer than any client waits, with each client as it is by default."""

import asyncio
import json
import subprocess
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import httpx
import pytest

from tests.mcp import clients, python_packages
from tests.mcp.clients import McpClient, NodeClient, until
from tests.mcp.conftest import KINDS
from tests.mcp.java_packages import JavaClient
from tests.mcp.node_packages import NodePackages
from tests.mcp.python.patient import to_its_end
from tests.support.left_out import leave_out
from tests.support.service import Service

SECONDS = 150
SAID = "silent no longer"
COMMAND = f"sleep {SECONDS}; echo {SAID}"
ARGUMENTS = {"command": COMMAND, "cluster": "silent"}
AGENTS = ("fastmcp", "google_genai", "langchain", "pydantic_ai", "openai_agents")
OLDER = ("older_sse", "older_http")
JAVA = {"java-http": ("http", "/mcp"), "java-sse": ("sse", "/sse")}
JAVA_WAIT = (
    10  # it gives up after 20 s, so its model is told to have it wait for less; as openai-agents' is, after 5 s
)
SSE_TIMEOUT = 5  # the SDK's own; other tests give it more, because they wait for the machine

Seen = dict[str, list[str]]


@pytest.fixture
def stored(server: Service, fake_kubeconfig: str) -> None:
    body = {"kubeconfig": fake_kubeconfig}
    httpx.put(f"{server.url}/clusters/silent", json=body, trust_env=False).raise_for_status()


@pytest.mark.minutes
@pytest.mark.timeout(SECONDS + 600)
async def test_silent_command_is_read_to_its_end_by_each_client_as_it_is(
    server: Service, stored: None, node: NodePackages, java: JavaClient, tmp_path: Path
) -> None:
    """They wait side by side, which takes as long as one of them and little of a processor. They begin by turns:
    some have no patience with a machine on which all start at once.
    """
    starts: list[tuple[Coroutine[Any, Any, Seen], int]] = [
        *((_with_sdk(kind, node, server), 1) for kind in KINDS),
        (_with_inspector(node, server, tmp_path), 1),
        *((_with_java(kind, java, server), 1) for kind in JAVA),
        (_with_packages("older", OLDER, server), len(OLDER)),
        (_with_packages("agents", AGENTS, server), len(AGENTS)),
    ]
    begun, tasks = 0, list[asyncio.Task[Seen]]()
    async with asyncio.TaskGroup() as group:
        for client, runs in starts:
            tasks.append(group.create_task(client))
            begun += runs
            await until(lambda task=tasks[-1], begun=begun: task.done() or _runs(server) >= begun, "its run", 300)
    found = [task.result() for task in tasks]
    seen = {name: texts for one in found for name, texts in one.items()}
    assert set(seen) == {*KINDS, *AGENTS, *OLDER, *JAVA, "inspector"}
    ends = {name: texts[-1] for name, texts in seen.items()}
    assert {name: text for name, text in ends.items() if SAID not in text} == {}
    assert min(len(texts) for texts in seen.values()) > 1, "one that waited for it all"


def _runs(server: Service) -> int:
    return len(server.get("/runs").json()["runs"])


async def _with_sdk(kind: str, node: NodePackages, server: Service) -> Seen:
    async with _connected(kind, node, server) as client:

        async def ask(name: str, arguments: dict[str, Any]) -> str:
            if isinstance(client, NodeClient):
                return (await client.start(name, arguments, timeout=None).result()).text
            return (await client.call(name, **arguments)).text

        return {kind: await to_its_end(ask, ARGUMENTS)}


def _connected(kind: str, node: NodePackages, server: Service) -> AbstractAsyncContextManager[McpClient]:
    how, path = KINDS[kind]
    url = f"{server.url}{path}"
    if isinstance(how, str):
        return clients.typescript(node, how, url)
    connect: Callable[[str], AbstractAsyncContextManager[McpClient]] = how
    return clients.python_sse(url, SSE_TIMEOUT) if how is clients.python_sse else connect(url)


async def _with_packages(name: str, names: tuple[str, ...], server: Service) -> Seen:
    try:
        packages = await anyio.to_thread.run_sync(python_packages.installed, name)
    except python_packages.NotInstalledError as error:
        leave_out(f"no MCP clients from PyPI here: {error}")
    script = partial(python_packages.run, packages, "patient.py", server.url, COMMAND, "silent", *names)
    return await anyio.to_thread.run_sync(script)


async def _with_java(kind: str, java: JavaClient, server: Service) -> Seen:
    transport, path = JAVA[kind]
    _, *seen = await anyio.to_thread.run_sync(java, transport, f"{server.url}{path}", COMMAND, "silent", JAVA_WAIT)
    return {kind: seen}


async def _with_inspector(node: NodePackages, server: Service, home: Path) -> Seen:
    """A process for each call."""
    program = node.program("@modelcontextprotocol/inspector", "--cli", f"{server.url}/mcp", "--transport", "http")

    async def ask(name: str, arguments: dict[str, Any]) -> str:
        pairs = [f"{key}={value}" for key, value in arguments.items()]
        call = ("--method", "tools/call", "--tool-name", name, "--tool-arg", *pairs)
        done = await anyio.run_process(
            [*program, *call], env={"HOME": str(home), "PATH": ""}, stderr=subprocess.PIPE, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)["content"][0]["text"]

    return {"inspector": await to_its_end(ask, ARGUMENTS)}
