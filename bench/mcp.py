"""A tool call beside the same command through `POST /sse`, and beside the same listing by other MCP servers."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from bench.client import kubeconfig, short
from bench.figures import Row, Sample, later, median_at_most, times
from bench.peers import PEERS, NotFetchedError, Peer, running
from tests import testcluster
from tests.mcp.clients import python_http, python_sse
from tests.support.service import Service

_ROUNDS = 10  # a call takes milliseconds: ten in each round
_LIMIT = 15.0
_PROGRESS_LIMIT = 20.0
_HANDLE = "bench"
_HTTP, _SSE = "Streamable HTTP", "the older SSE transport"
_TRANSPORTS = {_HTTP: (python_http, "/mcp"), _SSE: (python_sse, "/sse")}

_Call = Callable[[], Awaitable[None]]


def measure(directory: Path, rounds: int) -> Iterator[Row]:
    """The rows of this part. Without a cluster only those that need none."""
    cluster = testcluster.current()
    service = Service(directory, os.environ["PATH"], {})
    try:
        yield from asyncio.run(_overhead(service, "echo ready", kubeconfig(), _ROUNDS * rounds))
        yield from asyncio.run(_first_progress(service, _ROUNDS * rounds))
        if cluster is None:
            print("\nleft out: listings, as there is no cluster (`make cluster`)")
            return
        yield from asyncio.run(_listing(service, cluster, directory, _ROUNDS * rounds))
    finally:
        service.stop()


async def _overhead(service: Service, command: str, kubeconfig: str, rounds: int) -> list[Row]:
    """The same command, its cluster by the same handle, both ways by turns."""
    _store(service, kubeconfig)
    async with AsyncExitStack() as stack:
        calls = {
            name: await stack.enter_async_context(_tool(transport, service.url + path, "run_command", _run(command)))
            for name, (transport, path) in _TRANSPORTS.items()
        }
        plain, seconds = await _interleaved(service, command, calls, rounds)
    floor = ("POST /sse", _ms(plain))
    return [later(f"`{_title(command)}`, {name}", "ms", _ms(seconds[name]), floor, _LIMIT) for name in _TRANSPORTS]


async def _first_progress(service: Service, rounds: int) -> list[Row]:
    """From the command's first line, which says when it was written, to the notification that has it."""
    late: dict[str, list[float]] = {name: [] for name in _TRANSPORTS}
    for name, (transport, path) in _TRANSPORTS.items():
        async with transport(service.url + path) as client:
            for _ in range(rounds + 1):  # the first, with cold caches, does not count
                call = client.start("run_command", _run("echo at $EPOCHREALTIME; sleep 0.2"), progress=True)
                await call.result()
                [report] = [report for report in call.reports if report.message.startswith("at ")]
                late[name].append(report.at - float(report.message.removeprefix("at ")))
    return [
        median_at_most(f"first progress after the first line, {name}", "ms", _ms(seconds[1:]), _PROGRESS_LIMIT)
        for name, seconds in late.items()
    ]


async def _listing(service: Service, cluster: testcluster.Cluster, directory: Path, rounds: int) -> list[Row]:
    """All namespaces, in every server's own way; each over the same client, kept open."""
    command = f"{cluster.kubectl} get namespaces -o wide"
    rows = await _overhead(service, command, cluster.kubeconfig.read_text(), rounds)
    with ExitStack() as processes:
        urls = dict(_peers(cluster, directory, processes))
        async with AsyncExitStack() as stack:
            ours = _tool(python_http, f"{service.url}/mcp", "run_command", _run(command))
            calls = {"": await stack.enter_async_context(ours)}
            for peer, url in urls.items():
                call = await stack.enter_async_context(_tool(python_http, url, peer.tool, dict(peer.arguments)))
                calls[f"  {peer.name} {peer.version}: {peer.tool}, {_HTTP}"] = call
            _, seconds = await _interleaved(service, command, calls, rounds)
    floor = ("run_command", _ms(seconds.pop("")))
    return rows + [times(name, "ms", _ms(values), floor) for name, values in seconds.items()]


def _peers(cluster: testcluster.Cluster, directory: Path, processes: ExitStack) -> Iterator[tuple[Peer, str]]:
    """Those that can be had here, each with its address."""
    for peer in PEERS:
        try:
            yield peer, processes.enter_context(running(peer, cluster, directory))
        except NotFetchedError as error:
            print(f"\nleft out: {peer.name} {peer.version}: {error}")


async def _interleaved(
    service: Service, command: str, calls: dict[str, _Call], rounds: int
) -> tuple[list[float], dict[str, list[float]]]:
    """Seconds through `POST /sse`, and of each call, by turns. The first round, with cold caches, does not count."""
    plain: list[float] = []
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        plain.append(short(service.url, {"command": command, "cluster": _HANDLE}).end)
        for name, call in calls.items():
            start = time.perf_counter()
            await call()
            seconds[name].append(time.perf_counter() - start)
    return plain[1:], {name: values[1:] for name, values in seconds.items()}


@asynccontextmanager
async def _tool(transport: Any, url: str, name: str, arguments: dict[str, Any]) -> AsyncGenerator[_Call]:
    """Calls that tool, in one session. Raises ValueError unless the result is a success that has text."""
    async with transport(url) as client:

        async def call() -> None:
            result = await client.session.call_tool(name, arguments)
            if result.is_error or not any(getattr(part, "text", "") for part in result.content):
                raise ValueError(f"{name} at {url}: {result}")

        await client.tools()  # which the SDK's client would ask for within its first call
        yield call


def _run(command: str) -> dict[str, Any]:
    return {"command": command, "cluster": _HANDLE}


def _store(service: Service, kubeconfig: str) -> None:
    body = {"kubeconfig": kubeconfig, "ttl": 3600}
    httpx.put(f"{service.url}/clusters/{_HANDLE}", json=body, trust_env=False, timeout=30).raise_for_status()


def _title(command: str) -> str:
    program, _, rest = command.partition(" ")
    return f"{Path(program).name} {rest}"


def _ms(seconds: list[float]) -> Sample:
    return Sample.of(value * 1000 for value in seconds)
