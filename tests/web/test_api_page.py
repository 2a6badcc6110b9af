"""The page at `/docs`."""

import re
from html.parser import HTMLParser

from k8s_mcp.web.api_page import page
from tests.support.client import Client


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
