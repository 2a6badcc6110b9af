"""`/login`: a code that a browser brings back becomes a token for this service, or nothing."""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.support.callers import bearer
from tests.support.issuer import AUDIENCE, Issuer, running_issuer
from tests.support.prepared import Prepared
from tests.support.service import Service, StartService, services

VERIFIER, NONCE, STATE = "v" * 43, "n" * 43, "s" * 43


@pytest.fixture(scope="module")
def asked() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        yield issuer


@pytest.fixture
def issuer(asked: Issuer) -> Iterator[Issuer]:
    yield asked
    asked.login, asked.bad_answer = {}, None


@pytest.fixture(scope="module")
def service(
    asked: Issuer, tmp_path_factory: pytest.TempPathFactory, tools: Path, prepared: Prepared
) -> Iterator[Service]:
    with services(tmp_path_factory.mktemp("login"), tools, how=prepared) as start:
        yield start(
            oidc_issuer=asked.url, oidc_audiences=AUDIENCE, oidc_client_id=asked.client, oidc_scopes="openid,groups"
        )


def post(service: Service, body: Any, **headers: str) -> httpx.Response:
    return httpx.post(f"{service.url}/login", json=body, headers=headers, trust_env=False, timeout=30)


def came_back(service: Service, **changed: str) -> dict[str, str]:
    """What a browser has to tell after a login; the issuer was asked as the page does it."""
    way = service.get("/login").json()
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
    asked = {"redirect_uri": f"{service.url}/", "state": STATE, "nonce": NONCE, "code_challenge": challenge}
    answer = httpx.get(way["authorization_endpoint"], params=asked, trust_env=False)
    [code] = parse_qs(urlsplit(answer.headers["location"]).query)["code"]
    return {"code": code, "redirect_uri": f"{service.url}/", "verifier": VERIFIER, "nonce": NONCE, **changed}


def test_a_code_becomes_a_token_once_and_can_be_refreshed(service: Service, issuer: Issuer) -> None:
    way = service.get("/login")
    assert way.headers["cache-control"] == "no-store"
    assert way.json() == {
        "issuer": issuer.url,
        "authorization_endpoint": f"{issuer.url}/authorize",
        "client_id": "page",
        "scope": "openid groups",
        "says_issuer": True,
    }
    body = came_back(service)
    answer = post(service, body)
    assert answer.headers["cache-control"] == "no-store"
    token, refresh, left = (answer.json()[name] for name in ("token", "refresh_token", "expires_in"))
    assert 200 < left <= 300
    me = httpx.get(f"{service.url}/me", headers=bearer(token), trust_env=False).json()
    assert me["principal"] == "oidc:alice"
    assert post(service, body).status_code == 401
    again = post(service, {"refresh_token": refresh}).json()
    assert again["refresh_token"] != refresh
    assert httpx.get(f"{service.url}/me", headers=bearer(again["token"]), trust_env=False).status_code == 200
    assert post(service, {"refresh_token": refresh}).status_code == 401
    log = service.log.read_text() + service.printed.read_text()
    assert not [secret for secret in (token, refresh, body["code"], VERIFIER) if secret in log]


@pytest.mark.parametrize(
    ("changed", "status", "said"),
    [
        ({"verifier": "w" * 43}, 401, "did not accept the login: invalid_grant"),
        ({"code": "guessed"}, 401, "did not accept the login: invalid_grant"),
        ({"nonce": "m" * 43}, 401, "belongs to another login"),
        ({"nonce": ""}, 422, "nonce: is needed"),
        ({"code": ""}, 422, "code: is needed"),
        ({"redirect_uri": "x" * 3000}, 422, "redirect_uri"),
        ({"token_endpoint": "http://evil.example"}, 422, "token_endpoint"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    service: Service, changed: dict[str, str], status: int, said: str
) -> None:
    answer = post(service, came_back(service, **changed))
    assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text


@pytest.mark.parametrize(
    "claims",
    [{"aud": "another"}, {"iss": "https://evil.example"}, {"nonce": None}, {"exp": 1}, {"aud": [AUDIENCE]}],
    ids=str,
)
def test_an_id_token_must_be_the_issuers_for_the_page_and_of_this_login(
    service: Service, issuer: Issuer, claims: dict[str, Any]
) -> None:
    issuer.login = claims
    assert post(service, came_back(service)).status_code == 401


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        ((200, b"<html>"), 503, "cannot be asked"),
        ((200, b"[]"), 503, "no JSON object"),
        ((200, b"{}"), 401, "no ID token"),
        ((200, b'{"id_token": 5}'), 401, "no ID token"),
        ((500, b"{}"), 503, "answered 500"),
        ((302, b"{}"), 503, "answered 302"),
        ((400, b'{"error": "<script>\\u001b[31m"}'), 401, "for no reason that it names"),
        ((400, b"{"), 503, "cannot be asked"),
        ((200, b"x" * (2 << 20)), 503, "over 1048576 bytes"),
    ],
)
def test_whatever_the_issuer_answers_is_a_token_or_an_error(
    service: Service, issuer: Issuer, answer: tuple[int, bytes], status: int, said: str
) -> None:
    body = came_back(service)
    issuer.bad_answer = answer
    given = post(service, body)
    assert (given.status_code, said in given.json()["detail"]) == (status, True), given.text


def test_an_issuer_that_is_away_is_no_login(serve: StartService) -> None:
    with running_issuer() as issuer:
        service = serve(oidc_issuer=issuer.url, oidc_audiences=AUDIENCE, oidc_client_id=issuer.client)
        assert service.get("/readyz").status_code == 200
        issuer.down = True
        assert service.get("/login").status_code == 503


def test_tokens_for_another_service_are_said_to_be_the_operators_business(
    issuer: Issuer, tmp_path: Path, tools: Path, prepared: Prepared
) -> None:
    with services(tmp_path, tools, how=prepared) as start:
        service = start(oidc_issuer=issuer.url, oidc_audiences="others", oidc_client_id=issuer.client)
        answer = post(service, came_back(service))
    assert answer.status_code == 401
    assert "K8S_MCP_OIDC_AUDIENCES" in answer.json()["detail"]


def test_other_pages_and_other_methods_get_nothing(service: Service) -> None:
    body = came_back(service)
    assert post(service, body, Origin="https://evil.example").status_code == 403
    assert httpx.put(f"{service.url}/login", json=body, trust_env=False).status_code == 401
    assert httpx.post(f"{service.url}/runs", trust_env=False).status_code == 401
    form = httpx.post(f"{service.url}/login", data=body, trust_env=False)
    assert form.status_code == 415
    assert post(service, {"code": "x" * 70_000}).status_code == 413
    assert post(service, body, Origin=service.url).status_code == 200


def test_without_a_client_there_is_no_login(serve: StartService) -> None:
    service = serve()
    assert service.get("/login").status_code == 204
    assert post(service, {}).status_code == 404
