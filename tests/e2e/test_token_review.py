"""Callers with tokens of Kubernetes service accounts, whom the API server knows."""

import string
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.api_proxy import api_proxy
from tests.e2e.place import Place
from tests.support.callers import bearer
from tests.support.service import Service, StartService, wait_for

pytestmark = pytest.mark.cluster
_MANIFEST = Path(__file__).parents[2] / "images" / "runner" / "token-review.yaml"


@pytest.fixture(scope="module")
def reviewer(place: Place) -> Iterator[None]:
    """The service's account may ask for reviews."""
    manifest = string.Template(_MANIFEST.read_text()).substitute(NAMESPACE=place.namespace)
    place.kubectl("apply", "--filename=-", stdin=manifest)
    yield
    place.kubectl("delete", f"clusterrolebinding/k8s-mcp-server-token-review-{place.namespace}")


@pytest.fixture(scope="module")
def guarded(reviewer: None, serve_shared: StartService) -> Service:
    return serve_shared(service_account_audience="k8s-mcp")


def token(place: Place, name: str, audience: str = "k8s-mcp") -> str:
    where = f"--namespace={place.target}"
    place.kubectl("create", "serviceaccount", name, where)
    return place.kubectl("create", "token", name, where, f"--audience={audience}").strip()


def ask(service: Service, token: str, path: str = "/runs") -> httpx.Response:
    return httpx.get(f"{service.url}{path}", headers=bearer(token), trust_env=False, timeout=30)


def test_service_account_is_a_principal(guarded: Service, place: Place) -> None:
    assert ask(guarded, token(place, "caller")).status_code == 200


def test_token_for_another_audience_is_refused(guarded: Service, place: Place) -> None:
    for number, audience in enumerate(("another-service", "https://kubernetes.default.svc")):
        refused = ask(guarded, token(place, f"elsewhere-{number}", audience))
        assert refused.status_code == 401
        assert "audience" in refused.json()["detail"]
    assert ask(guarded, place.token()).status_code == 401


def test_changed_token_is_refused(guarded: Service, place: Place) -> None:
    head, body, signature = token(place, "changed").split(".")
    turned = signature[:-8] + signature[-8:].swapcase()
    assert ask(guarded, f"{head}.{body}.{turned}").status_code == 401


def test_token_of_a_deleted_account_is_refused_within_seconds(guarded: Service, place: Place) -> None:
    given = token(place, "deleted")
    assert ask(guarded, given).status_code == 200
    place.kubectl("delete", "serviceaccount/deleted", f"--namespace={place.target}")
    wait_for(lambda: ask(guarded, given).status_code == 401, 15, "the token to be refused")


def test_api_server_out_of_reach_means_try_again(
    reviewer: None, serve_kubernetes: StartService, place: Place
) -> None:
    with api_proxy(place) as proxy:
        service = serve_kubernetes(service_account_audience="k8s-mcp", kubeconfig=place.proxied_kubeconfig(proxy.url))
        known, unknown = token(place, "known"), token(place, "unknown")
        assert ask(service, known).status_code == 200
        fault = proxy.spoil("POST .*tokenreviews", times=1000, status=503)
        refused = ask(service, unknown)
        assert refused.status_code == 503
        assert "retry-after" in refused.headers
        assert ask(service, "made.up.token").status_code == 401
        assert fault.seen == 1
        proxy.heal()
        assert [ask(service, unknown).status_code for _ in range(5)] == [200] * 5
        assert len([call for call in proxy.calls if "tokenreviews" in call]) == 1


def test_service_that_may_not_ask_says_so(serve_kubernetes: StartService, place: Place) -> None:
    """Its log names the role; the caller is told to come back."""
    alone = place.kubeconfig("alone", token=token(place, "alone", "https://kubernetes.default.svc"))
    service = serve_kubernetes(executor="local", service_account_audience="k8s-mcp", kubeconfig=alone)
    assert ask(service, token(place, "somebody")).status_code == 503
    log = service.log.read_text()
    assert "it needs to create tokenreviews" in log
    service.log.write_text(log.replace("ERROR", "expected error"))
