"""Scopes of OpenID Connect: a token for reading reads, and whoever needs more is told what to ask for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from k8s_mcp.auth.oidc import Oidc
from k8s_mcp.errors import InsufficientScope
from k8s_mcp.models import Principal
from k8s_mcp.policy.admission import Admission
from k8s_mcp.policy.rules import everything
from tests.mcp import raw
from tests.support.callers import bearer
from tests.support.issuer import AUDIENCE, Issuer, running_issuer
from tests.support.prepared import Prepared
from tests.support.service import Service, services

READ, WRITE = "k8s-mcp:read", "k8s-mcp:write"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def lax(
    issuer: Issuer, tmp_path_factory: pytest.TempPathFactory, tools: Path, prepared: Prepared
) -> Iterator[Service]:
    """A service as it was before there were scopes. The local executor cannot keep a run to reading."""
    with services(tmp_path_factory.mktemp("lax"), tools, how=prepared) as start:
        yield start(oidc_issuer=issuer.url, oidc_audiences=AUDIENCE, oidc_scopes="openid")


@pytest.fixture(scope="module")
def strict(
    issuer: Issuer, tmp_path_factory: pytest.TempPathFactory, tools: Path, prepared: Prepared
) -> Iterator[Service]:
    """One that wants a scope."""
    with services(tmp_path_factory.mktemp("strict"), tools, how=prepared) as start:
        yield start(
            oidc_issuer=issuer.url, oidc_audiences=AUDIENCE, oidc_scopes=f"openid,{READ}", oidc_require_scopes=True
        )


def ask(service: Service, method: str, path: str, token: str, body: Any = None) -> httpx.Response:
    headers = bearer(token) | raw.ACCEPT
    return httpx.request(method, f"{service.url}{path}", headers=headers, json=body, trust_env=False, timeout=30)


def challenge(service: Service, scope: str, path: str = "") -> str:
    document = f"{service.url}/.well-known/oauth-protected-resource{path}"
    return f'Bearer error="insufficient_scope", scope="{scope}", resource_metadata="{document}"'


@pytest.mark.parametrize(
    ("claims", "only_reads"),
    [
        ({}, False),
        ({"scope": "openid"}, False),
        ({"scope": f"openid {READ}"}, True),
        ({"scope": f"{READ} {WRITE}"}, False),
        ({"scope": WRITE}, False),
        ({"scp": READ}, True),
        ({"scp": [READ, "openid"]}, True),
        ({"scp": [READ, WRITE]}, False),
        ({"scope": READ, "scp": [WRITE]}, False),
        ({"scope": f"{READ}x"}, False),
        ({"scope": {READ: 1}, "scp": [[READ], 5, None]}, False),
    ],
)
async def test_read_without_write_only_reads(issuer: Issuer, claims: dict[str, Any], only_reads: bool) -> None:
    oidc = Oidc(issuer.url, [AUDIENCE], "sub", "groups")
    async with oidc.open():
        found = await oidc.principal(issuer.token(**claims))
    assert found == Principal("oidc:alice")
    assert found is not None
    assert found.only_reads is only_reads


@pytest.mark.parametrize("claims", [{}, {"scope": "openid"}, {"scope": ""}, {"scp": []}, {"scp": 5}])
def test_token_without_a_scope_is_told_which_where_one_is_wanted(
    issuer: Issuer, lax: Service, strict: Service, claims: dict[str, Any]
) -> None:
    refused = ask(strict, "GET", "/runs", issuer.token(**claims))
    assert refused.status_code == 403
    assert refused.headers["www-authenticate"] == challenge(strict, READ)
    assert READ in refused.json()["detail"]
    assert ask(lax, "GET", "/runs", issuer.token(**claims)).status_code == 200


@pytest.mark.parametrize("scope", [READ, WRITE])
def test_either_scope_lets_a_caller_in(issuer: Issuer, strict: Service, scope: str) -> None:
    assert ask(strict, "GET", "/runs", issuer.token(scope=scope)).status_code == 200


def test_clients_find_out_which_scopes_there_are(lax: Service, strict: Service) -> None:
    def scopes(service: Service) -> list[str]:
        url = f"{service.url}/.well-known/oauth-protected-resource/mcp"
        return httpx.get(url, trust_env=False).json()["scopes_supported"]

    assert scopes(strict) == ["openid", READ, WRITE]
    assert scopes(lax) == ["openid"]  # an issuer refuses a request for scopes that it does not know


def test_run_that_cannot_be_kept_to_reading_is_refused(issuer: Issuer, lax: Service, fake_kubeconfig: str) -> None:
    body = {"command": "echo ran", "kubeconfig": fake_kubeconfig}
    refused = ask(lax, "POST", "/sse", issuer.token(scope=READ), body)
    assert refused.status_code == 403
    assert refused.headers["www-authenticate"] == challenge(lax, WRITE, "/sse")
    assert WRITE in refused.json()["detail"]
    for scope in (WRITE, f"{READ} {WRITE}", None):
        assert "data: ran" in ask(lax, "POST", "/sse", issuer.token(scope=scope), body).text


@pytest.mark.parametrize("tool", ["run_command", "run_read_only"])
def test_tool_that_would_run_it_is_refused_by_http(
    issuer: Issuer, lax: Service, fake_kubeconfig: str, tool: str
) -> None:
    """So that clients log in again for the other scope, as the authorization specification has it."""
    read, write = issuer.token(scope=READ), issuer.token(scope=WRITE)
    call = raw.tool(tool, command="echo ran", kubeconfig=fake_kubeconfig)
    refused = ask(lax, "POST", "/mcp", read, call)
    assert refused.status_code == 403
    assert refused.headers["www-authenticate"] == challenge(lax, WRITE, "/mcp")
    assert ask(lax, "POST", "/mcp", read, raw.tool("list_clusters")).status_code == 200
    assert ask(lax, "POST", "/mcp", read, raw.request("tools/list")).status_code == 200
    assert ask(lax, "POST", "/mcp", write, call).status_code == 200


async def test_tool_of_the_older_transport_is_refused_as_well(
    issuer: Issuer, lax: Service, fake_kubeconfig: str
) -> None:
    async with raw.http(lax) as client:
        client.headers.update(bearer(issuer.token(scope=READ)))
        async with raw.sse_session(client) as session:
            call = raw.tool("run_command", command="echo ran", kubeconfig=fake_kubeconfig)
            refused = await client.post(session.endpoint, json=call)
    assert refused.status_code == 403
    assert refused.headers["www-authenticate"] == challenge(lax, WRITE)


def test_stored_clusters_are_not_changed_for_reading(issuer: Issuer, lax: Service, fake_kubeconfig: str) -> None:
    read, write = issuer.token(scope=READ), issuer.token(scope=WRITE)
    body = {"kubeconfig": fake_kubeconfig}
    assert ask(lax, "PUT", "/clusters/own", write, body).status_code == 200
    for refused in (ask(lax, "PUT", "/clusters/own", read, body), ask(lax, "DELETE", "/clusters/own", read)):
        assert refused.status_code == 403
        assert refused.headers["www-authenticate"] == challenge(lax, WRITE)
    assert [one["name"] for one in ask(lax, "GET", "/clusters", read).json()["clusters"]] == ["own"]
    assert ask(lax, "DELETE", "/clusters/own", write).status_code == 204


def test_tokens_of_both_scopes_are_the_same_principal(issuer: Issuer, lax: Service, fake_kubeconfig: str) -> None:
    body = {"command": "true", "kubeconfig": fake_kubeconfig}
    answer = ask(lax, "POST", "/sse", issuer.token(scope=WRITE, sub="eve"), body)
    assert answer.status_code == 200
    assert len(ask(lax, "GET", "/runs", issuer.token(scope=READ, sub="eve")).json()["runs"]) == 1


@pytest.mark.parametrize("can_be_read_only", [True, False])
def test_scope_is_enough_where_runs_can_be_kept_to_it(can_be_read_only: bool) -> None:
    async def addresses(_: str) -> list[str]:
        return []

    policy = everything((), insecure_tls=False, proxy_url=False)
    admission = Admission(lambda: policy, addresses, loopback=False, can_be_read_only=can_be_read_only)
    admission.check_scope(Principal("oidc:alice"))
    reader = Principal("oidc:alice", only_reads=True)
    if can_be_read_only:
        admission.check_scope(reader)
    else:
        with pytest.raises(InsufficientScope, match=WRITE):
            admission.check_scope(reader)
