"""Who may call: every path wants to know, one caller sees nothing of another's, and no token is ever repeated."""

import base64
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from k8s_mcp.app import create_app
from k8s_mcp.auth.guard import principal_of
from k8s_mcp.auth.tokens import make_token
from k8s_mcp.settings import Settings
from tests.support.callers import Callers, bearer
from tests.support.client import Client
from tests.support.execute import k8s_mcp
from tests.support.issuer import AUDIENCE, running_issuer
from tests.support.prepared import Prepared
from tests.support.service import Service, StartService, services, wait_for

OPEN = {"/healthz", "/readyz"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def callers(tmp_path_factory: pytest.TempPathFactory) -> Callers:
    made = Callers(tmp_path_factory.mktemp("callers") / "tokens")
    made.add("alice", "sre")
    made.add("bob")
    return made


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, tools: Path, prepared: Prepared, callers: Callers
) -> Iterator[Service]:
    """A service that wants a token, and must not have written one by its end."""
    with services(tmp_path_factory.mktemp("guarded"), tools, how=prepared) as start:
        service = start(auth_tokens=callers.file, resume_window=60, log_level="debug")
        yield service
    log = service.log.read_text()
    assert [name for name, token in callers.tokens.items() if token in log] == []


def ask(
    service: Service, method: str, path: str, headers: dict[str, str] | None = None, **more: Any
) -> httpx.Response:
    return httpx.request(method, f"{service.url}{path}", headers=headers, trust_env=False, timeout=30, **more)


def operations() -> list[tuple[str, str]]:
    """Every method of every path that there is, those that are no part of the OpenAPI document as well."""
    app = create_app(Settings.model_validate({"auth_tokens": "/nowhere"}))
    documented = [(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods]
    more = [("GET", "/docs"), ("GET", "/openapi.json"), ("GET", "/sse"), ("POST", "/mcp"), ("POST", "/messages/")]
    return sorted({*documented, *more})


@pytest.mark.parametrize(("method", "path"), [one for one in operations() if one[1] not in OPEN])
def test_every_path_wants_to_know_who_is_calling(guarded: Service, method: str, path: str) -> None:
    path = path.replace("{run_id}", "0" * 32).replace("{name}", "prod")
    response = ask(guarded, method, path)
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["title"] == "Unauthorized"


@pytest.mark.parametrize("path", ["/no-such-path", "/healthz/", "/healthz/x", "//healthz", "/%2e/runs", "/HEALTHZ"])
def test_what_is_not_there_is_not_told_to_strangers(guarded: Service, path: str) -> None:
    assert ask(guarded, "GET", path).status_code == 401


@pytest.mark.parametrize("path", sorted(OPEN))
def test_probes_need_no_token(guarded: Service, path: str) -> None:
    assert ask(guarded, "GET", path).status_code == 200
    assert ask(guarded, "HEAD", path).status_code == 200
    assert ask(guarded, "POST", path).status_code == 401


def test_request_without_a_principal_is_nobodys() -> None:
    with pytest.raises(KeyError):
        principal_of(Request({"type": "http"}))


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", "Basic YTpi", "Bearer a b", "Bearer a,b", "Bearer é", f"Bearer {'x' * 20000}"],
)
def test_header_that_is_no_bearer_token_is_refused(guarded: Service, value: str) -> None:
    response = ask(guarded, "GET", "/runs", {"Authorization": value.encode("latin-1")})  # type: ignore[dict-item]
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_unknown_token_is_refused_and_not_repeated(guarded: Service, callers: Callers) -> None:
    for token in (
        make_token(),
        callers.tokens["alice"][:-1],
        callers.tokens["alice"] + "A",
        "eyJhbGciOiJub25lIn0.e30.",
    ):
        response = ask(guarded, "GET", "/runs", bearer(token))
        assert response.status_code == 401
        assert token not in response.text + str(response.headers)


def test_two_tokens_are_none(guarded: Service, callers: Callers) -> None:
    headers = [("Authorization", f"Bearer {callers.tokens[name]}") for name in ("alice", "bob")]
    assert httpx.get(f"{guarded.url}/runs", headers=headers, trust_env=False).status_code == 401


@pytest.mark.parametrize("where", ["?access_token={}", "?token={}"])
def test_token_in_the_address_does_not_count(guarded: Service, callers: Callers, where: str) -> None:
    """It would be in the logs of every proxy."""
    assert ask(guarded, "GET", "/runs" + where.format(callers.tokens["alice"])).status_code == 401


def test_scheme_may_be_written_as_one_likes(guarded: Service, callers: Callers) -> None:
    assert ask(guarded, "GET", "/runs", {"authorization": f"bearer  {callers.tokens['alice']}"}).status_code == 200


def test_body_of_a_stranger_is_not_read(guarded: Service) -> None:
    """The answer is there before the body is."""

    with socket.create_connection(("127.0.0.1", httpx.URL(guarded.url).port or 0), 30) as connection:
        connection.sendall(b"POST /sse HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n{")
        said = connection.recv(65536)
    assert said.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in said.lower()


def test_with_a_token_any_host_name_will_do_but_no_web_page(guarded: Service, callers: Callers) -> None:
    headers = callers.headers("alice") | {"Host": "k8s-mcp.example.com"}
    assert ask(guarded, "GET", "/runs", headers).status_code == 200
    assert ask(guarded, "GET", "/runs", headers | {"Origin": "https://evil.example"}).status_code == 403
    assert ask(guarded, "GET", "/healthz", {"Origin": "https://evil.example"}).status_code == 403


async def test_runs_of_others_are_not_there(guarded: Service, callers: Callers, fake_kubeconfig: str) -> None:
    async with Client(guarded.url, fake_kubeconfig) as alice, Client(guarded.url, fake_kubeconfig) as bob:
        alice.http.headers.update(callers.headers("alice"))
        bob.http.headers.update(callers.headers("bob"))
        async with alice.stream("echo secret of alice; sleep 600", "a-key", stdin=None) as stream:
            run_id = (await stream.first("control")).control["run_id"]
            missing = "f" * 32
            for method, path in (("GET", "/runs/{}"), ("DELETE", "/runs/{}"), ("GET", "/runs/{}/events")):
                theirs = await bob.http.request(method, path.format(run_id))
                nothing = await bob.http.request(method, path.format(missing))
                assert theirs.status_code == nothing.status_code == 404
                assert theirs.text.replace(run_id, missing) == nothing.text
            assert (await bob.http.get("/runs")).json() == {"runs": []}
            assert [run["run_id"] for run in (await alice.http.get("/runs")).json()["runs"]] == [run_id]
            own = await bob.run("echo of bob", "a-key")
            assert own.stdout == ["of bob"]
            await alice.cancel(run_id)
            await stream.to_end()
        assert "secret of alice" in (await alice.replay(run_id)).stdout


async def test_clusters_of_others_are_not_there(guarded: Service, callers: Callers, fake_kubeconfig: str) -> None:
    async with callers.http(guarded.url, "alice") as alice, callers.http(guarded.url, "bob") as bob:
        stored = await alice.put("/clusters/prod", json={"kubeconfig": fake_kubeconfig})
        assert stored.status_code == 200
        for method in ("GET", "DELETE"):
            theirs = await bob.request(method, "/clusters/prod")
            nothing = await bob.request(method, "/clusters/none")
            assert theirs.status_code == nothing.status_code == 404
            assert theirs.text.replace("prod", "none") == nothing.text
        assert (await bob.get("/clusters")).json() == {"clusters": []}
        refused = await bob.post("/sse", json={"command": "true", "cluster": "prod"})
        assert refused.status_code == 404
        assert (await alice.get("/clusters/prod")).status_code == 200


def test_token_that_was_taken_back_is_refused_within_seconds(serve: StartService, tmp_path: Path) -> None:
    callers = Callers(tmp_path / "tokens")
    callers.add("alice")
    service = serve(auth_tokens=callers.file)

    def status() -> int:
        return ask(service, "GET", "/runs", callers.headers("alice")).status_code

    assert status() == 200
    callers.remove("alice")
    wait_for(lambda: status() == 401, 3, "the token to be refused")
    callers.add("alice")
    wait_for(lambda: status() == 200, 3, "the new token to be accepted")


def test_commands_of_the_client_send_the_token(
    guarded: Service, callers: Callers, fake_kubeconfig: str, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(callers.tokens["alice"] + "\n")
    (tmp_path / "kubeconfig").write_text(fake_kubeconfig)
    ways: list[tuple[dict[str, str], list[str]]] = [
        ({"K8S_MCP_TOKEN": callers.tokens["alice"]}, []),
        ({"K8S_MCP_TOKEN_FILE": str(tmp_path / "token")}, []),
        ({"K8S_MCP_TOKEN": "wrong"}, ["--token-file", str(tmp_path / "token")]),
        ({}, ["--token", callers.tokens["alice"]]),
    ]
    for environment, words in ways:
        where = ["--url", guarded.url, *words]
        ran = k8s_mcp("exec", *where, "--kubeconfig", str(tmp_path / "kubeconfig"), "--", "echo hi", **environment)
        assert (ran.returncode, ran.stdout) == (0, "hi\n"), ran.stderr
        listed = k8s_mcp("clusters", "list", *where, "--json", **environment)
        assert listed.returncode == 0, listed.stderr


def test_client_without_a_token_is_told_where_it_goes(guarded: Service, fake_kubeconfig: str, tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text(fake_kubeconfig)
    ran = k8s_mcp("exec", "--url", guarded.url, "--kubeconfig", str(tmp_path / "kubeconfig"), "--", "echo hi")
    assert ran.returncode == 125
    assert "401" in ran.stderr
    assert "K8S_MCP_TOKEN" in ran.stderr
    bad = k8s_mcp("exec", "--url", guarded.url, "--", "true", K8S_MCP_TOKEN="two words")
    assert bad.returncode == 125
    assert "two words" not in bad.stderr


def test_service_listens_beyond_loopback_with_authentication(serve: StartService, tmp_path: Path) -> None:
    callers = Callers(tmp_path / "tokens")
    callers.add("alice")
    service = serve(host="0.0.0.0", auth_tokens=callers.file)
    url = service.url.replace("0.0.0.0", "127.0.0.1")
    assert httpx.get(f"{url}/runs", trust_env=False).status_code == 401
    assert httpx.get(f"{url}/runs", trust_env=False, headers=callers.headers("alice")).status_code == 200


def test_openapi_says_what_needs_a_token() -> None:
    document = create_app(Settings.model_validate({"auth_tokens": "/nowhere"})).openapi()
    [(name, way)] = document["components"]["securitySchemes"].items()
    assert (name, way["type"], way["scheme"]) == ("bearer", "http", "bearer")
    assert document["security"] == [{"bearer": []}]
    free = {path for path, methods in document["paths"].items() if methods.get("get", {}).get("security") == []}
    assert free == OPEN
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert ("401" in operation["responses"]) is (path not in OPEN), path
    assert "securitySchemes" not in json.dumps(create_app(Settings.model_validate({})).openapi())


def test_tokens_of_an_issuer_are_accepted_and_clients_find_it(serve: StartService) -> None:
    with running_issuer() as issuer:
        service = serve(oidc_issuer=issuer.url, oidc_audiences=AUDIENCE, oidc_scopes="openid,groups")
        assert ask(service, "GET", "/runs", bearer(issuer.token())).status_code == 200
        assert ask(service, "GET", "/runs", bearer(issuer.token(aud="other"))).status_code == 401
        issuer.rotate("second")
        for path in ("/mcp", "/sse", ""):
            refused = ask(service, "POST", path or "/clusters", JSON, json={})
            assert refused.status_code == 401
            address = f"{service.url}/.well-known/oauth-protected-resource{path}"
            assert refused.headers["www-authenticate"] == f'Bearer resource_metadata="{address}"'
            assert httpx.get(address, trust_env=False).json() == {
                "resource": f"{service.url}{path}",
                "authorization_servers": [issuer.url],
                "bearer_methods_supported": ["header"],
                "resource_name": "k8s-mcp-server",
                "scopes_supported": ["openid", "groups"],
            }


@pytest.mark.parametrize("header", [{"alg": []}, {"alg": {}}, {"alg": "RS256", "kid": []}, {"alg": 5}, {"typ": []}])
def test_jwt_of_a_strange_form_is_a_401_that_is_counted(serve: StartService, header: dict[str, Any]) -> None:
    with running_issuer() as issuer:
        service = serve(oidc_issuer=issuer.url, oidc_audiences=AUDIENCE)
        parts = [base64.urlsafe_b64encode(json.dumps(part).encode()) for part in (header, issuer.claims())]
        token = b".".join(part.rstrip(b"=") for part in parts).decode() + ".AAAA"
        assert ask(service, "GET", "/runs", bearer(token)).status_code == 401
        metrics = ask(service, "GET", "/metrics", bearer(issuer.token())).text
        assert re.search(r'^k8s_mcp_requests_refused_total\{.*"Unauthorized".*\} 1', metrics, re.MULTILINE), metrics
        assert "Traceback" not in service.log.read_text()


def test_discovery_uses_the_public_url_where_a_proxy_hides_the_service(serve: StartService) -> None:
    with running_issuer() as issuer:
        service = serve(oidc_issuer=issuer.url, oidc_audiences=AUDIENCE, public_url="https://mcp.example.com/")
        refused = ask(service, "POST", "/mcp", {**JSON, **bearer(issuer.token(exp=1))}, json={})
        assert refused.headers["www-authenticate"] == (
            'Bearer error="invalid_token", '
            'resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp"'
        )
        found = ask(service, "GET", "/.well-known/oauth-protected-resource/mcp").json()
        assert found["resource"] == "https://mcp.example.com/mcp"
