"""Logging in to the page in a real browser, at a real issuer; and what only looks like a login."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.issuer import AUDIENCE, Issuer, running_issuer
from tests.support.prepared import Prepared
from tests.support.service import Service, services
from tests.web.page.conftest import NewTab

_KEPT = "Object.values(sessionStorage).join()"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def service(
    issuer: Issuer, tmp_path_factory: pytest.TempPathFactory, tools: Path, prepared: Prepared
) -> Iterator[Service]:
    with services(tmp_path_factory.mktemp("login"), tools, how=prepared) as start:
        yield start(oidc_issuer=issuer.url, oidc_audiences=AUDIENCE, oidc_client_id=issuer.client)


@pytest.fixture(autouse=True)
def honest(issuer: Issuer) -> Iterator[None]:
    yield
    issuer.said, issuer.login = {}, {}


def test_who_logs_in_comes_back_to_where_they_were(service: Service, issuer: Issuer, tab: NewTab) -> None:
    page = tab(service).open("#/clusters")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="oidc:alice").wait_for()
    assert page.url == f"{service.url}/#/clusters"
    page.reload()
    page.get_by_role("link", name="oidc:alice").click()
    assert [one for one in issuer.requests if one.startswith("/authorize")][1:] == []
    page.get_by_role("button", name="Forget the token").click()
    page.get_by_role("button", name="Log in").wait_for()
    assert page.evaluate(_KEPT) == ""


def test_a_token_that_ends_soon_is_replaced(service: Service, tab: NewTab) -> None:
    page = tab(service).open()
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="oidc:alice").wait_for()
    before = page.evaluate("sessionStorage.getItem('k8s-mcp-token')")
    page.evaluate(
        "sessionStorage.setItem('k8s-mcp-refresh', JSON.stringify({"
        "...JSON.parse(sessionStorage.getItem('k8s-mcp-refresh')), until: Date.now()}))"
    )
    page.reload()
    page.get_by_role("link", name="oidc:alice").wait_for()
    page.wait_for_function("before => sessionStorage.getItem('k8s-mcp-token') !== before", arg=before)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"state": "of-another"}, "it was not begun in this tab"),
        ({"iss": "https://evil.example"}, "the answer is not that of the issuer"),
        ({"error": "access_denied"}, "access_denied"),
        ({"code": "guessed"}, "did not accept the login"),
    ],
    ids=str,
)
def test_what_comes_back_otherwise_is_no_login(
    service: Service, issuer: Issuer, tab: NewTab, said: dict[str, str], why: str
) -> None:
    issuer.said = said
    page = tab(service).open()
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("alert").get_by_text(why).wait_for()
    assert page.url == f"{service.url}/"
    assert page.evaluate(_KEPT) == ""


def test_another_logins_nonce_is_no_login(service: Service, issuer: Issuer, tab: NewTab) -> None:
    issuer.login = {"nonce": "of-another"}
    page = tab(service).open()
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("alert").get_by_text("belongs to another login").wait_for()
    assert page.evaluate(_KEPT) == ""


def test_a_link_that_looks_like_the_end_of_a_login_is_none(service: Service, tab: NewTab) -> None:
    page = tab(service).open("?code=stolen&state=guessed")
    page.get_by_role("alert").get_by_text("it was not begun in this tab").wait_for()
    assert page.url == f"{service.url}/"
    assert page.evaluate(_KEPT) == ""
