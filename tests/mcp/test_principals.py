"""MCP with authentication: every transport needs a token, and one caller has nothing of another's."""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
import httpx
import mcp
import pytest
from httpx2 import AsyncClient
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from tests.mcp import raw
from tests.support.callers import Callers
from tests.support.kubeconfigs import fake
from tests.support.prepared import Prepared
from tests.support.service import Service, StartService, services


@pytest.fixture(scope="module")
def callers(tmp_path_factory: pytest.TempPathFactory) -> Callers:
    made = Callers(tmp_path_factory.mktemp("callers") / "tokens")
    made.add("alice")
    made.add("bob")
    return made


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, tools: Path, prepared: Prepared, callers: Callers
) -> Iterator[Service]:
    with services(tmp_path_factory.mktemp("guarded"), tools, how=prepared) as start:
        yield start(auth_tokens=callers.file, mcp_sessions=2)


@asynccontextmanager
async def over_sse(url: str, headers: dict[str, str]) -> AsyncGenerator[mcp.ClientSession]:
    async with sse_client(f"{url}/sse", headers) as (read, write), mcp.ClientSession(read, write) as session:
        await session.initialize()
        yield session


@asynccontextmanager
async def over_http(url: str, headers: dict[str, str]) -> AsyncGenerator[mcp.ClientSession]:
    async with (
        AsyncClient(headers=headers, trust_env=False, timeout=60) as http,
        streamable_http_client(f"{url}/mcp", http_client=http) as (read, write),
        mcp.ClientSession(read, write) as session,
    ):
        await session.initialize()
        yield session


Connect = Callable[[str, dict[str, str]], AbstractAsyncContextManager[mcp.ClientSession]]
TRANSPORTS: dict[str, Connect] = {"sse": over_sse, "http": over_http}


@pytest.fixture(params=TRANSPORTS)
def connect(request: pytest.FixtureRequest) -> Connect:
    return TRANSPORTS[request.param]


async def call(session: mcp.ClientSession, tool: str, **arguments: object) -> tuple[bool, str]:
    result = await session.call_tool(tool, arguments)
    [content] = result.content
    assert content.type == "text"
    return bool(result.is_error), content.text


async def test_one_callers_runs_and_clusters_are_not_there_for_another(
    guarded: Service, callers: Callers, connect: Connect
) -> None:
    opened = [connect(guarded.url, callers.headers(name)) for name in ("alice", "bob")]
    async with opened[0] as alice, opened[1] as bob:
        async with callers.http(guarded.url, "alice") as http:
            (await http.put("/clusters/of-alice", json={"kubeconfig": fake()})).raise_for_status()
        is_error, text = await call(alice, "run_command", command="echo secret of alice", cluster="of-alice")
        assert not is_error
        assert "secret of alice" in text
        async with callers.http(guarded.url, "alice") as http:
            run_id = (await http.get("/runs")).json()["runs"][-1]["run_id"]
        assert "secret of alice" in (await call(alice, "read_output", run_id=run_id))[1]
        for tool in ("read_output", "cancel_run"):
            theirs = await call(bob, tool, run_id=run_id)
            nothing = await call(bob, tool, run_id="f" * 32)
            assert theirs[0]
            assert theirs == (nothing[0], nothing[1].replace("f" * 32, run_id))
        assert "of-alice" not in (await call(bob, "list_clusters"))[1]
        refused = await call(bob, "run_command", command="echo stolen", cluster="of-alice")
        assert refused[0]
        assert "stolen" not in refused[1]


@pytest.mark.parametrize("path", ["/sse", "/mcp"])
async def test_client_without_a_token_is_refused(guarded: Service, path: str) -> None:
    async with raw.http(guarded) as http:
        assert (await http.post(path, json=raw.initialize())).status_code == 401
        if path == "/sse":
            assert (await http.get(path)).status_code == 401


async def test_message_comes_from_the_caller_who_opened_the_session(guarded: Service, callers: Callers) -> None:
    async with raw.http(guarded) as http:
        http.headers.update(callers.headers("alice"))
        async with raw.sse_session(http) as session, callers.http(guarded.url, "bob") as bob:
            theirs = await bob.post(session.endpoint, json=raw.request("ping"))
            nothing = await bob.post(session.endpoint[:-32] + "0" * 32, json=raw.request("ping"))
            assert theirs.status_code == nothing.status_code == 404
            assert theirs.text == nothing.text
            async with httpx.AsyncClient(trust_env=False) as stranger:
                assert (await stranger.post(session.endpoint, json=raw.request("ping"))).status_code == 401
            assert "result" in await session.ask(raw.request("ping"))


async def test_no_session_ends_for_the_sake_of_another(guarded: Service, callers: Callers) -> None:
    """A client whose session ends opens another by itself: that would end the next one, and so on."""
    async with raw.http(guarded) as alice, raw.http(guarded) as bob:
        alice.headers.update(callers.headers("alice"))
        bob.headers.update(callers.headers("bob"))
        async with raw.sse_session(bob) as of_bob:
            async with raw.sse_session(alice) as first, raw.sse_session(alice) as second:
                refused = await alice.get("/sse")
                assert refused.status_code == 503
                assert int(refused.headers["retry-after"]) > 0
                assert "2 MCP sessions are open" in refused.json()["detail"]
                for session in (first, second, of_bob):
                    assert "result" in await session.ask(raw.request("ping"))
            with anyio.fail_after(30):
                while (await alice.post(first.endpoint, json=raw.request("ping"))).status_code != 404:  # noqa: ASYNC110
                    await anyio.sleep(0.02)
            async with raw.sse_session(alice) as third:
                assert "result" in await third.ask(raw.request("ping"))


async def test_idle_session_is_closed(serve: StartService) -> None:
    service = serve(mcp_session_idle=0.5)
    async with raw.http(service) as http, raw.sse_session(http) as session:
        with anyio.fail_after(30):
            await session.stream.to_end()
        assert (await http.post(session.endpoint, json=raw.request("ping"))).status_code == 404
