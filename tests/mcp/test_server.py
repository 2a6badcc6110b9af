"""The transports' own rules: what is refused and how, ends of sessions and connections, many clients at once."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.mcp import raw
from tests.mcp.clients import until
from tests.mcp.conftest import Connect
from tests.support.kubeconfigs import TOKEN, credentials_in
from tests.support.service import Service, StartService, processes_with

JSON = {"Content-Type": "application/json"}
PATHS = ("/mcp", "/sse", "/messages/")
MOST_BYTES = 2 * 1024 * 1024


@pytest.fixture
async def http(server: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with raw.http(server) as client:
        yield client


@pytest.fixture(params=PATHS)
async def endpoint(request: pytest.FixtureRequest, http: httpx.AsyncClient) -> AsyncIterator[str]:
    """Where messages can be posted to; that of the older transport belongs to an open session."""
    if request.param == "/messages/":
        async with raw.sse_session(http) as session:
            yield session.endpoint
    else:
        yield request.param


# What is refused


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b'{"jsonrpc": "2.0"', id="cut off"),
        pytest.param(b"\xff\xfe", id="not UTF-8"),
        pytest.param(b"[]", id="an empty batch"),
        pytest.param(f'[{{"jsonrpc": "2.0", "id": 1, "method": "ping", "x": "{TOKEN}"}}]'.encode(), id="a batch"),
        pytest.param(b'"ping"', id="a string"),
        pytest.param(b"{}", id="an empty object"),
        pytest.param(b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}', id="another JSON-RPC"),
        pytest.param(
            f'{{"jsonrpc": "2.0", "id": {{"{TOKEN}": 1}}, "method": "ping"}}'.encode(), id="an object as id"
        ),
        pytest.param(b'{"jsonrpc": "2.0", "id": null, "method": "ping"}', id="null as id"),
        pytest.param(b'{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}', id="a fraction as id"),
        pytest.param(b'{"jsonrpc": "2.0", "id": 1}', id="no method"),
        pytest.param(f'{{"jsonrpc": "2.0", "id": 1, "method": ["{TOKEN}"]}}'.encode(), id="a list as method"),
        pytest.param(f'{{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": ["{TOKEN}"]}}'.encode(), id="a list"),
        pytest.param(b'{"jsonrpc": "2.0", "id": 1, "id": 2, "method": "ping"}', id="a key twice"),
        pytest.param(b'{"jsonrpc": "2.0", "id": NaN, "method": "ping"}', id="NaN"),
        pytest.param(
            b'{"jsonrpc": "2.0", "id": ' + b"1" * 5000 + b', "method": "ping"}', id="a number of 5,000 digits"
        ),
        pytest.param(b'{"jsonrpc": "2.0", "params": ' + b"[" * 100_000, id="deep"),
    ],
)
async def test_body_that_is_no_message_is_refused(http: httpx.AsyncClient, endpoint: str, body: bytes) -> None:
    response = await http.post(endpoint, content=body, headers=JSON)
    assert response.status_code == 400 or (endpoint == "/sse" and response.status_code == 422), response.text
    assert credentials_in(response.text) == []
    if "jsonrpc" in response.json():
        assert response.json()["error"]["code"] in (-32700, -32600)
        assert response.json()["id"] is None
    else:
        assert endpoint == "/sse"  # then it may as well have been meant for the other API there
        assert response.headers["content-type"] == "application/problem+json"


_WORDS = st.sampled_from(["jsonrpc", "2.0", "id", "method", "params", "tools/call", "name", "run_command", "_meta"])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS | st.text(), inner, max_size=5),
    max_leaves=12,
)
_MESSAGES = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0") | _VALUES},
    optional={
        "id": st.integers() | st.text() | _VALUES,
        "method": st.sampled_from(["initialize", "ping", "tools/list", "tools/call", "notifications/cancelled"]),
        "params": st.dictionaries(_WORDS | st.text(), _VALUES, max_size=4) | _VALUES,
    },
)


@given(message=_MESSAGES, in_2026=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_message_makes_the_service_fail(server: Service, message: dict[str, Any], in_2026: bool) -> None:
    """Surrogates that stand alone included, which JSON can spell and UTF-8 cannot."""
    version = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": str(message.get("method"))} if in_2026 else {}
    headers = {**JSON, **raw.ACCEPT, **{name: value for name, value in version.items() if value.isascii()}}
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30, headers=headers) as client:
        for path in ("/mcp", "/sse"):
            with client.stream("POST", path, content=json.dumps(message).encode()) as response:
                assert response.status_code < 500, response.read()


@pytest.mark.parametrize("as_chunks", [False, True], ids=["declared", "chunked"])
async def test_body_over_the_limit_is_refused(http: httpx.AsyncClient, endpoint: str, as_chunks: bool) -> None:
    message = raw.tool("run_command", command="true", stdin="x" * MOST_BYTES)
    body = json.dumps(message).encode()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    response = await http.post(endpoint, content=chunks() if as_chunks else body, headers=JSON)
    assert response.status_code == 413


async def test_body_that_is_not_declared_as_json_is_refused(http: httpx.AsyncClient, endpoint: str) -> None:
    """A web page can send such a request to any server, without asking first."""
    body = json.dumps(raw.request("ping"))
    for media_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        response = await http.post(endpoint, content=body, headers={"Content-Type": media_type})
        assert response.status_code == 415, media_type


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_mcp_takes_nothing_but_post(http: httpx.AsyncClient, method: str) -> None:
    """There is nothing to say outside of requests, and no session to end: 405 tells clients so."""
    response = await http.request(method, "/mcp")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"


async def test_head_opens_no_session(serve: StartService) -> None:
    """Nobody would read its stream. There is only one place here, and it is free afterwards."""
    async with httpx.AsyncClient(base_url=serve(mcp_sessions=1).url, trust_env=False) as http:
        for _ in range(3):
            for path, status in (("/sse", 200), ("/mcp", 405), ("/messages/", 405)):
                response = await http.head(path)
                assert (response.status_code, response.content) == (status, b"")
        async with http.stream("GET", "/sse") as response:
            assert response.status_code == 200


async def test_client_of_streamable_http_gets_no_session_of_the_older_transport(http: httpx.AsyncClient) -> None:
    started = await http.post("/sse", json=raw.initialize())
    response = await http.get("/sse", headers={"Mcp-Session-Id": started.headers["mcp-session-id"]})
    assert response.status_code == 405


@pytest.mark.parametrize(
    ("session", "status"),
    [
        ("", 400),
        ("?session_id=", 400),
        ("?session_id=me", 404),
        ("?session_id=%0aERROR: a line that was never written", 404),
        ("?session_id=%ff%00", 404),
        (f"?session_id={'0' * 32}", 404),
    ],
)
async def test_message_for_a_session_that_is_not_there_is_refused(
    http: httpx.AsyncClient, session: str, status: int
) -> None:
    assert (await http.post(f"/messages/{session}", json=raw.request("ping"))).status_code == status


async def test_strange_hosts_and_origins_are_refused_unless_allowed(serve: StartService) -> None:
    """A page of another site, a page without one, and names that an attacker pointed at this machine."""
    origins, hosts = ["https://evil.example", "null"], ["evil.example", "127.0.0.1.evil.example"]
    allowed = {"allowed_origins": ",".join(origins), "allowed_hosts": ",".join(hosts)}
    for service, status in ((serve(), 403), (serve(**allowed), 200)):
        async with raw.http(service) as client:
            for headers in [{"Origin": origin} for origin in origins] + [{"Host": f"{host}:9096"} for host in hosts]:
                for path in ("/mcp", "/sse"):
                    response = await client.post(path, json=raw.initialize(), headers=headers)
                    assert response.status_code == status, (path, headers)
                async with client.stream("GET", "/sse", headers=headers) as response:
                    assert response.status_code == status, headers
                response = await client.post("/messages/", json=raw.initialize(), headers=headers)
                assert response.status_code == (403 if status == 403 else 400), headers  # 400: it names no session


# Versions and sessions


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
async def test_version_of_the_client_is_spoken(http: httpx.AsyncClient, version: str) -> None:
    assert raw.answer(await http.post("/mcp", json=raw.initialize(version)))["result"]["protocolVersion"] == version


async def test_client_of_an_unknown_version_is_offered_a_known_one(http: httpx.AsyncClient) -> None:
    response = raw.answer(await http.post("/mcp", json=raw.initialize("1999-01-01")))
    assert response["result"]["protocolVersion"] == "2025-11-25"
    response = await http.post("/mcp", json=raw.request("ping"), headers={"MCP-Protocol-Version": "1999-01-01"})
    assert response.status_code == 400


async def test_call_needs_no_session(http: httpx.AsyncClient, fake_kubeconfig: str) -> None:
    """Any replica can answer any request; and nobody has to shake hands to use `curl`."""
    message = raw.tool("run_command", command="echo hello", kubeconfig=fake_kubeconfig)
    for accept in ("application/json, text/event-stream", "*/*"):
        response = raw.answer(await http.post("/mcp", json=message, headers={"Accept": accept}))
        assert response["id"] == message["id"]
        assert response["result"]["structuredContent"]["stdout"] == "hello\n"


async def test_request_is_cancelled_by_its_own_session_only(
    server: Service, http: httpx.AsyncClient, fake_kubeconfig: str
) -> None:
    """Request ids are small numbers that every client counts for itself."""
    sessions = [(await http.post("/mcp", json=raw.initialize())).headers["mcp-session-id"] for _ in range(2)]
    assert sessions[0] != sessions[1]
    outcomes: dict[str, Any] = {}
    mark = f"{time.monotonic_ns()}"

    async def run(session: str) -> None:
        message = raw.tool("run_command", 7, command=f"sleep 300.{mark}", kubeconfig=fake_kubeconfig)
        outcomes[session] = raw.answer(await http.post("/mcp", json=message, headers={"Mcp-Session-Id": session}))

    async def cancel(*headers: dict[str, str]) -> None:
        for header in headers:
            response = await http.post("/mcp", json=raw.cancelled(7), headers=header)
            assert response.status_code == 202

    async with anyio.create_task_group() as group:
        for session in sessions:
            group.start_soon(run, session)
        await until(lambda: len(processes_with(f"sleep\x00300.{mark}")) == 2, "two commands")
        await cancel({}, {"Mcp-Session-Id": "another"}, {"Mcp-Session-Id": sessions[0]})
        await until(lambda: len(outcomes) == 1, "the end of one")
        assert outcomes[sessions[0]]["result"]["structuredContent"]["status"] == "cancelled"
        assert len(processes_with(f"sleep\x00300.{mark}")) == 1
        await cancel({"Mcp-Session-Id": sessions[1]})
    assert outcomes[sessions[1]]["result"]["structuredContent"]["status"] == "cancelled"


async def test_request_id_used_twice_runs_the_command_twice(
    http: httpx.AsyncClient, fake_kubeconfig: str, tmp_path: Path
) -> None:
    """Against the protocol; but what is old must never look like an answer."""
    session = {"Mcp-Session-Id": (await http.post("/mcp", json=raw.initialize())).headers["mcp-session-id"]}
    command = f"echo once more >> {tmp_path}/count; wc -l < {tmp_path}/count"
    message = raw.tool("run_command", 1, command=command, kubeconfig=fake_kubeconfig)
    for expected in ("1\n", "2\n", "3\n"):
        response = raw.answer(await http.post("/mcp", json=message, headers=session))
        assert response["result"]["structuredContent"]["stdout"] == expected


# Ends


@pytest.mark.parametrize("transport", ["sse", "http", "2026"])
async def test_client_that_has_gone_ends_its_command(server: Service, fake_kubeconfig: str, transport: str) -> None:
    mark = f"{time.monotonic_ns()}"
    message = raw.tool("run_command", command=f"sleep 300.{mark}", kubeconfig=fake_kubeconfig)
    headers: dict[str, str] = {}
    if transport == "2026":
        message, headers = raw.in_2026(message)

    async def call() -> None:
        async with raw.http(server) as client:
            if transport == "sse":
                async with raw.sse_session(client) as session:
                    await session.ask(message)
            else:
                await client.post("/mcp", json=message, headers=headers)

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        await until(lambda: processes_with(f"sleep\x00300.{mark}"), "the command")
        group.cancel_scope.cancel()
    await until(lambda: not processes_with(f"sleep\x00300.{mark}"), "the command's end")
    await until(lambda: server.get("/runs").json()["runs"][-1]["status"] == "cancelled", "the run's end")


each_transport = pytest.mark.parametrize("connect", ["python-sse", "python-http", "python-2026"], indirect=True)


@each_transport
async def test_service_that_ends_gives_calls_time_to_finish(
    serve: StartService,
    connect: Connect,
    fake_kubeconfig: str,
    tmp_path: Path,
) -> None:
    service = serve()
    command = f"echo ready; until [ -e {tmp_path}/go ]; do sleep 0.02; done; echo finished"
    async with connect(service) as client:
        await client.tools()  # which the client would ask for after its first call
        call = client.start("run_command", {"command": command, "kubeconfig": fake_kubeconfig}, progress=True)
        await call.until_reported("ready")
        service.terminate()
        await until(lambda: service.get("/readyz").status_code == 503, "that it takes no new runs")
        (tmp_path / "go").touch()
        result = await call.result()
    assert not result.is_error
    assert result.text.endswith("ready\nfinished")
    assert await anyio.to_thread.run_sync(service.end) == 0


@each_transport
async def test_service_that_ends_cancels_what_takes_too_long(
    serve: StartService,
    connect: Connect,
    fake_kubeconfig: str,
) -> None:
    service = serve(shutdown_grace=0.1)
    arguments = {"command": "echo ready; sleep 300", "kubeconfig": fake_kubeconfig}
    async with connect(service) as client:
        await client.tools()  # which the client would ask for after its first call
        call = client.start("run_command", arguments, progress=True)
        await call.until_reported("ready")
        service.terminate()
        result = await call.result()
    assert result.is_error
    assert result.data
    assert result.data["status"] == "cancelled"
    assert result.data["stdout"] == "ready\n"
    assert await anyio.to_thread.run_sync(service.end) == 0


async def test_idle_session_ends_cleanly_with_the_service(serve: StartService) -> None:
    """The stream ends as a stream does, at once; the client sees no broken connection and nobody waits for it."""
    service = serve()
    async with raw.http(service) as client, raw.sse_session(client) as session:
        before = time.monotonic()
        service.terminate()
        await session.stream.to_end()
        assert await anyio.to_thread.run_sync(service.end) == 0
        assert time.monotonic() - before < 8  # the server's own patience with connections is 10 s


async def test_streams_with_nothing_to_say_are_kept_alive(http: httpx.AsyncClient, fake_kubeconfig: str) -> None:
    """Proxies close connections on which nothing comes; that would end the command."""
    message = raw.tool("run_command", command="sleep 60", kubeconfig=fake_kubeconfig)
    message_2026, headers = raw.in_2026(message)
    pinged: set[str] = set()

    async def listen(
        name: str, method: str, path: str, body: raw.Json | None, extra: dict[str, str] | None = None
    ) -> None:
        async with http.stream(method, path, json=body, headers=extra) as response:
            async for line in response.aiter_lines():
                if line.startswith(":"):
                    pinged.add(name)
                    return

    with anyio.fail_after(25):
        async with anyio.create_task_group() as group:
            group.start_soon(listen, "sse", "GET", "/sse", None)
            group.start_soon(listen, "http", "POST", "/mcp", message)
            group.start_soon(listen, "2026", "POST", "/mcp", message_2026, headers)
    assert pinged == {"sse", "http", "2026"}


# Many


@each_transport
async def test_fifty_clients_at_once(
    server: Service,
    connect: Connect,
    fake_kubeconfig: str,
    tmp_path: Path,
) -> None:
    """All are connected and in a call at the same time; each gets its own output."""
    texts: dict[int, str] = {}

    async def use(number: int) -> None:
        command = f"touch {tmp_path}/{number}; until [ -e {tmp_path}/go ]; do sleep 0.1; done; echo mine is {number}"
        async with connect(server) as client:
            texts[number] = (await client.call("run_command", command=command, kubeconfig=fake_kubeconfig)).text

    async with anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(use, number)
        await until(lambda: len(list(tmp_path.iterdir())) == 50, "fifty commands", 60)
        (tmp_path / "go").touch()
    assert {number: text.rpartition("\n")[2] for number, text in texts.items()} == {
        number: f"mine is {number}" for number in range(50)
    }
