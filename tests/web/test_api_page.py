"""The page at `/docs`."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from k8s_mcp.auth.tokens import line_of, make_token
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


async def test_events_problems_and_states_are_described(client: Client) -> None:
    """As schemas that the paths refer to, and in words; what is in them is what the service answers."""
    document = (await client.http.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    assert set(schemas) == {"Event", "ControlEvent", "Problem", "Run", "Cluster"}
    for reference in re.findall(r"#/components/schemas/(\w+)", json.dumps(document)):
        assert reference in schemas
    html = (await client.http.get("/docs")).text
    for name in schemas:
        assert f"<h3>{name}</h3>" in html
    assert (
        "{&quot;status&quot;: &quot;done&quot;, &quot;exit_code&quot;: 0}</code><td>The command ended by itself."
        in html
    )
    assert "Whoever reaches this service: it asks for no token." in html
    run = await client.run("true")
    state = (await client.http.get(f"/runs/{run.run_id}")).json()
    assert state.keys() <= schemas["Run"]["properties"].keys()


def test_a_service_that_takes_tokens_says_how_to_send_them(serve: StartService, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    made = make_token()
    tokens.write_text(line_of(made, "alice", []) + "\n")
    service = serve(auth_tokens=tokens)
    token = {"Authorization": f"Bearer {made}"}
    asked = httpx.get(f"{service.url}/docs", headers=token, trust_env=False, timeout=30)
    assert "<code>Authorization: Bearer TOKEN</code>" in asked.text
