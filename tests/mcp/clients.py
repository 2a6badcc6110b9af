"""MCP clients under one interface: the SDK for Python, and that for TypeScript in a Node process."""

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import anyio
from anyio.abc import TaskGroup
from mcp import ClientSession, MCPError
from mcp.client.client import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from tests.mcp.node_packages import NodePackages

Json = dict[str, Any]

_SCRIPT = Path(__file__).parent / "node" / "client.mjs"


@dataclass(frozen=True)
class Report:
    """A progress notification. `at` is when it arrived, in seconds of time.time()."""

    value: float
    message: str
    at: float


@dataclass(frozen=True)
class Result:
    """A tool's result: the text that a model reads, the structured content, and the addresses it links to."""

    is_error: bool
    text: str
    data: Json | None
    links: tuple[str, ...] = ()


def data_of(result: Result) -> dict[str, Any]:
    """What a result has for programs, which must be there."""
    assert result.data is not None, result.text
    return result.data


@dataclass(frozen=True)
class Failure:
    """A protocol error, or that the client gave up."""

    code: object
    message: str


class Call:
    """A tool call in progress."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        self.cancel = cancel
        self.reports: list[Report] = []
        self._outcome: Result | Failure | None = None
        self._news = asyncio.Event()

    @property
    def reported(self) -> str:
        """Everything reported so far."""
        return "\n".join(report.message for report in self.reports)

    async def until_reported(self, text: str) -> None:
        """Wait for progress with that text in it."""
        while text not in self.reported:
            assert self._outcome is None, f"ended without reporting {text!r}: {self._outcome}"
            await self._news.wait()

    async def result(self) -> Result:
        outcome = await self.end_of_any_kind()
        assert isinstance(outcome, Result), outcome
        return outcome

    async def failure(self) -> Failure:
        outcome = await self.end_of_any_kind()
        assert isinstance(outcome, Failure), outcome
        return outcome

    async def end_of_any_kind(self) -> Result | Failure:
        while self._outcome is None:
            await self._news.wait()
        return self._outcome

    def report(self, value: float, message: str, at: float) -> None:
        self.reports.append(Report(value, message, at))
        self._wake()

    def end(self, outcome: Result | Failure) -> None:
        self._outcome = outcome
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class McpClient(Protocol):
    """A connected client. `version` is the protocol's, as negotiated."""

    version: str
    server: Json

    async def tools(self) -> list[Json]: ...

    def start(self, name: str, arguments: Json, *, progress: bool = False) -> Call: ...

    async def call(self, name: str, /, **arguments: object) -> Result: ...


class _Base:
    def start(self, name: str, arguments: Json, *, progress: bool = False) -> Call:
        raise NotImplementedError

    async def call(self, name: str, /, **arguments: object) -> Result:
        return await self.start(name, arguments).result()


class PythonClient(_Base):
    """The SDK's client; `session` is its `ClientSession` (the protocols up to 2025-11-25), or its `Client` (2026)."""

    def __init__(self, session: ClientSession | Client, version: str, server: Json, group: TaskGroup) -> None:
        self.session = session
        self.version = version
        self.server = server
        self._group = group

    async def tools(self) -> list[Json]:
        listed = await self.session.list_tools()
        return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in listed.tools]

    def start(self, name: str, arguments: Json, *, progress: bool = False) -> Call:
        scope = anyio.CancelScope()
        call = Call(scope.cancel)
        self._group.start_soon(self._call, call, scope, name, arguments, progress)
        return call

    async def _call(self, call: Call, scope: anyio.CancelScope, name: str, arguments: Json, progress: bool) -> None:
        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            call.report(progress, message or "", time.time())

        with scope:
            try:
                found = await self.session.call_tool(
                    name, arguments, progress_callback=on_progress if progress else None
                )
            except MCPError as error:
                call.end(Failure(error.error.code, error.error.message))
                return
            call.end(result_of(found.model_dump(mode="json", by_alias=True)))
        if scope.cancelled_caught:
            call.end(Failure(None, "cancelled"))


class NodeClient(_Base):
    """`node/client.mjs` in a process. Killing `process` is a client that drops its connections."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.version = ""
        self.server: Json = {}
        self._calls: dict[int, Call] = {}
        self._listed: dict[int, asyncio.Future[list[Json]]] = {}
        self._number = 0
        self._connected = asyncio.Event()

    async def until_connected(self) -> None:
        await self._connected.wait()

    async def tools(self) -> list[Json]:
        self._number += 1
        listed = self._listed[self._number] = asyncio.get_running_loop().create_future()
        self.order(list=self._number)
        return await listed

    def start(self, name: str, arguments: Json, *, progress: bool = False, timeout: int | None = 120_000) -> Call:
        """`timeout` in milliseconds, set back by progress; None for the SDK's own, which nothing sets back."""
        self._number += 1
        number = self._number
        call = self._calls[number] = Call(lambda: self.order(cancel=number))
        self.order(call=number, name=name, arguments=arguments, progress=progress, timeout=timeout)
        return call

    def order(self, **order: object) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(order).encode() + b"\n")

    async def listen(self) -> None:
        """Take what the script says, to its end."""
        assert self.process.stdout
        async for line in self.process.stdout:
            said = json.loads(line)
            if "done" in said:
                self._take_end(said["done"], said.get("result"), said.get("failure"))
            elif "progress" in said:
                self._calls[said["progress"]].report(said["value"], said.get("message", ""), said["at"])
            else:
                self.version, self.server = said["version"], said["server"]
                self._connected.set()
        assert self._connected.is_set(), "the script could not connect: its standard error says why"

    def _take_end(self, number: int, result: Json | None, failure: Json | None) -> None:
        if number in self._listed:
            assert result, failure
            self._listed[number].set_result(result["tools"])
        else:
            self._calls[number].end(Failure(**failure) if failure else result_of(result or {}))


async def until(seen: Callable[[], object], what: str, seconds: float = 30) -> None:
    """Wait until `seen()` is true, while clients go on."""
    with anyio.move_on_after(seconds):
        while True:
            if seen():
                return
            await anyio.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


def result_of(result: Json) -> Result:
    """A `CallToolResult` as it came."""
    content, *links = result["content"]
    assert content["type"] == "text"
    assert all(link["type"] == "resource_link" for link in links)
    uris = tuple(link["uri"] for link in links)
    return Result(bool(result.get("isError")), content["text"], result.get("structuredContent"), uris)


@asynccontextmanager
async def python_sse(url: str, timeout: float = 60) -> AsyncGenerator[PythonClient]:
    async with (
        sse_client(url, timeout=timeout) as (read, write),
        ClientSession(read, write) as session,
        _handshake(session) as client,
    ):
        yield client


@asynccontextmanager
async def python_http(url: str) -> AsyncGenerator[PythonClient]:
    async with (
        streamable_http_client(url) as (read, write),
        ClientSession(read, write) as session,
        _handshake(session) as client,
    ):
        yield client


@asynccontextmanager
async def python_2026(url: str) -> AsyncGenerator[PythonClient]:
    async with Client(url) as client, anyio.create_task_group() as group:
        assert client.server_info
        yield PythonClient(client, client.protocol_version, client.server_info.model_dump(mode="json"), group)


@asynccontextmanager
async def _handshake(session: ClientSession) -> AsyncGenerator[PythonClient]:
    async with anyio.create_task_group() as group:
        initialized = await session.initialize()
        server = initialized.server_info.model_dump(mode="json")
        yield PythonClient(session, str(initialized.protocol_version), server, group)


@asynccontextmanager
async def typescript(packages: NodePackages, kind: str, url: str) -> AsyncGenerator[NodeClient]:
    """`kind` and `url` as client.mjs takes them."""
    process = await asyncio.create_subprocess_exec(
        *packages.command(_SCRIPT, str(packages.directory), kind, url),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        limit=64 << 20,
    )
    client = NodeClient(process)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(client.listen)
            await client.until_connected()
            yield client
            client.order(close=True)
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            with anyio.CancelScope(shield=True):
                await process.wait()
