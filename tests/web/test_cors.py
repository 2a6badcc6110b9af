"""Pages in browsers: what a preflight says to those of configured origins, and that it says nothing to others."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.mcp import raw
from tests.support.prepared import Prepared
from tests.support.service import Service, services

ORIGIN = "https://console.example.com"
HEADERS = (
    "authorization",
    "content-type",
    "idempotency-key",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
)
PATHS = ("/sse", "/mcp", "/messages/", "/runs/0/events", "/clusters/prod", "/nope")


def preflight(method: str, *headers: str, origin: str = ORIGIN) -> dict[str, str]:
    """What a browser sends before a request that a form could not send."""
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    return asked | ({"Access-Control-Request-Headers": ",".join(headers)} if headers else {})


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, tools: Path, prepared: Prepared) -> Iterator[Service]:
    with services(tmp_path_factory.mktemp("cors"), tools, how=prepared) as start:
        yield start(allowed_origins=f"{ORIGIN}/,http://other.example:3000")


@pytest.fixture
async def http(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with raw.http(service) as client:
        yield client


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_page_of_an_allowed_origin_may_send_what_the_api_takes(
    http: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await http.options(path, headers=preflight(method, *HEADERS))
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert method in answer.headers["access-control-allow-methods"].split(", ")
    allowed = {name.lower() for name in answer.headers["access-control-allow-headers"].split(", ")}
    assert allowed == {*HEADERS, "accept", "accept-language", "content-language"}
    assert "origin" in answer.headers["vary"].lower()
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("asked", [("PATCH",), ("POST", "x-anything"), ("TRACE",)])
async def test_page_of_an_allowed_origin_may_send_nothing_else(
    http: httpx.AsyncClient, asked: tuple[str, ...]
) -> None:
    assert (await http.options("/sse", headers=preflight(*asked))).status_code == 400


async def test_page_in_a_public_network_may_reach_a_service_in_a_private_one(http: httpx.AsyncClient) -> None:
    asked = preflight("POST") | {"Access-Control-Request-Private-Network": "true"}
    answer = await http.options("/sse", headers=asked)
    assert answer.headers["access-control-allow-private-network"] == "true"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "*", "https://console.example.com:444", "http://console.example.com", ""],
)
async def test_pages_of_other_origins_are_told_nothing(http: httpx.AsyncClient, path: str, origin: str) -> None:
    for headers in (preflight("POST", *HEADERS, origin=origin), {"Origin": origin}):
        answer = await http.options(path, headers=headers)
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_without_configured_origins_there_is_no_preflight(server: Service) -> None:
    async with raw.http(server) as client:
        for origin in (ORIGIN, server.url):
            answer = await client.options("/sse", headers=preflight("POST", "content-type", origin=origin))
            assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_page_reads_the_answer_and_the_headers_that_it_needs(
    http: httpx.AsyncClient, fake_kubeconfig: str
) -> None:
    """Streams, MCP sessions and errors alike."""
    origin = {"Origin": ORIGIN}
    body = {"command": "echo hello", "kubeconfig": fake_kubeconfig}
    answers = [
        await http.post("/sse", json=body, headers=origin),
        await http.post("/mcp", json=raw.initialize(), headers=origin),
        await http.get(f"/runs/{'0' * 32}", headers=origin),
        await http.post("/sse", json={}, headers=origin),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 422]
    assert "data: hello" in answers[0].text
    assert answers[1].headers["mcp-session-id"]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
        assert {"mcp-session-id", "retry-after", "www-authenticate"} == set(exposed)
        assert "origin" in answer.headers["vary"].lower()


async def test_clients_that_are_no_browsers_see_none_of_it(http: httpx.AsyncClient) -> None:
    answer = await http.get("/version")
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control-")]
