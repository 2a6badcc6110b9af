"""Fixtures for the tests of MCP: clients of every kind, connected to a real service."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest

from tests.mcp import clients, java_packages, node_packages
from tests.mcp.clients import McpClient
from tests.mcp.java_packages import JavaClient
from tests.mcp.node_packages import NodePackages
from tests.support.left_out import leave_out
from tests.support.service import Service

Connect = Callable[[Service], AbstractAsyncContextManager[McpClient]]

KINDS = {
    "python-sse": (clients.python_sse, "/sse"),
    "python-http": (clients.python_http, "/mcp"),
    "python-http-at-sse": (clients.python_http, "/sse"),
    "python-2026": (clients.python_2026, "/mcp"),
    "typescript-sse": ("sse", "/sse"),
    "typescript-http": ("http", "/mcp"),
    "typescript-http-at-sse": ("http", "/sse"),
    "typescript-2026": ("2026", "/mcp"),
}
"""Which SDK's client, and the path it is told. Plain names speak 2025-11-25, the newest with a handshake."""


@pytest.fixture(scope="session")
def node() -> NodePackages:
    """Clients from npm."""
    try:
        return node_packages.installed()
    except node_packages.NotInstalledError as error:
        leave_out(f"no MCP clients from npm here: {error}")


@pytest.fixture(scope="session")
def java() -> JavaClient:
    """The SDK for Java."""
    try:
        return java_packages.installed()
    except java_packages.NotInstalledError as error:
        leave_out(f"no MCP client from Maven here: {error}")


@pytest.fixture(params=KINDS)
def connect(request: pytest.FixtureRequest) -> Connect:
    """Connects a client of each kind to a service: `async with connect(server) as client`."""
    kind, path = KINDS[request.param]
    open_client = (
        partial(clients.typescript, request.getfixturevalue("node"), kind) if isinstance(kind, str) else kind
    )
    return lambda service: open_client(f"{service.url}{path}")
