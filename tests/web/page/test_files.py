"""The page's files: what is served to whom, with which headers, and how large they are."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.callers import Callers, bearer
from tests.support.service import Service, StartService

FILES = Path(__file__).parents[3] / "src" / "k8s_mcp" / "web" / "page"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
MOST_BYTES = 60_000


@pytest.fixture
def http(guarded: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=guarded.url, trust_env=False) as client:
        yield client


def test_page_is_served_without_a_token_and_nothing_else_is(http: httpx.Client) -> None:
    """Who is asked for a token, is asked by it."""
    assert http.get("/", headers=HTML).headers["content-type"] == "text/html; charset=utf-8"
    for file in FILES.iterdir():
        status = 401 if file.name == "index.html" else 200
        assert http.get(f"/page/{file.name}").status_code == status
    for path in ("/page/", "/page/x.js", "/page/../runs", "/runs", "/docs", "/page/main.js/"):
        assert http.get(path, headers=HTML).status_code == 401
    assert http.post("/", headers=HTML).status_code == 401


def test_programs_get_at_the_root_what_they_got(http: httpx.Client, callers: Callers) -> None:
    for accept in ("*/*", "application/json"):
        headers = {"Accept": accept}
        assert http.get("/", headers=headers).status_code == 401
        answer = http.get("/", headers={**headers, **bearer(callers.tokens["alice"])})
        assert (answer.status_code, answer.json()["detail"]) == (404, "no such path; /docs lists all there are")


def test_nothing_may_be_loaded_from_elsewhere_or_run_that_is_not_a_file_of_ours(http: httpx.Client) -> None:
    for path in ("/", *(f"/page/{file.name}" for file in FILES.iterdir() if file.name != "index.html")):
        headers = http.get(path, headers=HTML).headers
        rules = (rule.partition(" ") for rule in headers["content-security-policy"].split("; "))
        policy = {name: value for name, _, value in rules}
        assert policy.pop("require-trusted-types-for") == "'script'"
        assert set(policy.values()) == {"'none'", "'self'"}
        for name in ("default-src", "base-uri", "form-action", "frame-ancestors", "trusted-types"):
            assert policy[name] == "'none'"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
        assert "set-cookie" not in headers
    html = (FILES / "index.html").read_text()
    assert not re.search(r"<script(?![^>]* src=)|<style| on\w+=| style=|https?:", html)
    for file in FILES.glob("*.js"):
        text = file.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text)
        assert not re.search(r"\.cookie\b|EventSource|https?://(?!\\)", text.replace("^https?:\\/\\/", "")), file.name


def test_page_is_small_and_fetched_once(http: httpx.Client) -> None:
    sent = 0
    for path in ("/", *(f"/page/{file.name}" for file in FILES.iterdir() if file.name != "index.html")):
        with http.stream("GET", path, headers={**HTML, "Accept-Encoding": "gzip"}) as answer:
            sent += sum(map(len, answer.iter_raw()))
            assert answer.headers["content-encoding"] == "gzip"
        whole = http.get(path, headers={**HTML, "Accept-Encoding": "identity"})
        assert whole.content == (FILES / (path.rpartition("/")[2] or "index.html")).read_bytes()
        again = http.get(path, headers={**HTML, "If-None-Match": f'"x", {answer.headers["etag"]}'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["cache-control"] == "no-cache"
    assert sent < MOST_BYTES


def test_operator_can_take_the_page_away(serve: StartService) -> None:
    service = serve(page="false")
    with httpx.Client(base_url=service.url, trust_env=False) as http:
        answer = http.get("/", headers=HTML)
        assert (answer.status_code, answer.headers["location"]) == (303, "docs")
        assert http.get("/page/main.js").status_code == 404
