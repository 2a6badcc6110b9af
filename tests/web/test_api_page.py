"""The page at `/docs`."""

import re
from html.parser import HTMLParser

import pytest

from k8s_mcp.web.api_page import page
from tests.support.client import Client
from tests.support.service import StartService


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def tags(html: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(html)
    return parser.seen


async def test_page_has_no_scripts_and_loads_nothing(client: Client) -> None:
    response = await client.http.get("/docs")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    found = tags(response.text)
    assert not {"script", "img", "link", "iframe", "form", "object"} & {tag for tag, _ in found}
    addresses = [value for _, attributes in found for name, value in attributes.items() if name in {"href", "src"}]
    assert addresses == ["openapi.json"]
    assert len(response.content) < 200_000


async def test_page_has_every_path(client: Client) -> None:
    html = (await client.http.get("/docs")).text
    paths = (await client.http.get("/openapi.json")).json()["paths"]
    for path, methods in paths.items():
        for method in methods:
            assert f"<code>{method.upper()} {path}</code>" in html


def test_what_the_document_says_is_text() -> None:
    evil = "<script>alert(1)</script>"
    operation = {"description": evil, "parameters": [{"name": evil, "in": evil, "description": evil}]}
    body = {"content": {evil: {"schema": {"description": evil}}}}
    answers = {evil: {"description": evil}}
    html = page(
        {
            "info": {"title": evil, "version": evil, "description": evil},
            "paths": {evil: {evil: {**operation, "requestBody": body, "responses": answers}}},
            "components": {"schemas": {evil: {"x": evil}}},
        }
    )
    assert "script" not in {tag for tag, _ in tags(html)}
    assert len(re.findall("&lt;script&gt;", html, re.IGNORECASE)) == 17


async def test_text_is_read_as_markdown(client: Client) -> None:
    """Which OpenAPI's descriptions are."""
    html = (await client.http.get("/docs")).text
    text = re.sub("<pre>.*?</pre>", "", html, flags=re.DOTALL)
    assert "`" not in text
    assert "<p>Runs one shell command against one Kubernetes cluster, and streams its output live.</p>" in text
    assert "<code>POST /mcp</code>, <code>GET /sse</code> with <code>POST /messages/</code>" in text
    assert "The run is over, and <code>Last-Event-ID</code> is that of its final event" in text


async def test_fields_of_requests_are_listed(client: Client) -> None:
    html = (await client.http.get("/docs")).text
    assert (
        "<td><code>command</code><td>The whole shell line, run by <code>bash -c</code>; at most 131,071 bytes.<"
        in html
    )
    assert "<td><code>stdin</code><td>What the command reads on its standard input. (may be left out)" in html


def test_code_in_a_description_is_text() -> None:
    html = page({"info": {"title": "", "version": "", "description": "`<b>`\n\n`a\n<i>"}, "paths": {}})
    assert "<p><code>&lt;b&gt;</code></p><p>`a\n&lt;i&gt;</p>" in html


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_browser_at_the_root_is_led_to_the_page_where_there_is_no_other(
    serve: StartService, method: str
) -> None:
    accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    async with Client(serve(page="false").url, "") as client:
        response = await client.http.request(method, "/", headers={"Accept": accept})
        assert response.status_code == 303
        assert response.headers["location"] == "docs", "whatever the service is called, and below whatever path"
        assert response.headers["vary"] == "Accept"
        assert str(response.url.join(response.headers["location"])) == f"{client.http.base_url}/docs"


@pytest.mark.parametrize("accept", ["*/*", "application/json"])
async def test_programs_at_the_root_are_told_that_nothing_is_there(client: Client, accept: str) -> None:
    response = await client.http.get("/", headers={"Accept": accept})
    assert response.status_code == 404
    assert response.json()["detail"] == "no such path; /docs lists all there are"
