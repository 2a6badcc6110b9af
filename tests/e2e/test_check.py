"""`k8s-mcp check` on a real cluster, with the service's Role and without."""

import json
import subprocess
import sys
from typing import Any

import pytest

from k8s_mcp.cluster.access import FOR_HANDLES, needed
from tests.e2e.place import Place

pytestmark = pytest.mark.cluster

FAILED = 1


def check(settings: dict[str, object], **changed: object) -> tuple[int, dict[str, Any]]:
    """The exit code, and the findings by what they are about."""
    words = [f"--{name.replace('_', '-')}={value}" for name, value in {**settings, **changed}.items()]
    call = [sys.executable, "-m", "k8s_mcp", "check", "--json", *words]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert report["ok"] is (done.returncode == 0), done.stderr
    for finding in report["checks"]:
        assert bool(finding["advice"]) is (finding["status"] != "ok"), finding
    return done.returncode, {finding["what"]: finding for finding in report["checks"]}


async def test_with_exactly_the_role_all_is_well(place: Place, settings: dict[str, object]) -> None:
    code, found = check(settings)
    assert code == 0, found
    for permission in needed(warm=False):
        verbs = ", ".join(permission.verbs)
        assert found[permission.resource]["said"] == f"may {verbs} in {place.namespace}"
    assert found["API server"]["said"].startswith("Kubernetes v")
    assert found["runner image"]["status"] == "ok"
    assert found["one run"]["said"].startswith("`echo ok` took ")
    await place.nothing_left()


def test_pod_security_is_told_to_whoever_may_read_it(place: Place, settings: dict[str, object]) -> None:
    _, found = check(settings)
    assert found["pod security"]["status"] == "note"
    assert f"kubectl get namespace {place.namespace}" in found["pod security"]["advice"]
    _, found = check(settings, kubeconfig=place.cluster.kubeconfig)
    assert found["pod security"]["said"] == f"{place.namespace} enforces restricted"


def test_every_missing_right_is_named(place: Place, settings: dict[str, object]) -> None:
    token = place.token("default")
    code, found = check(settings, kubeconfig=place.kubeconfig("without-rights", token=token))
    assert code == FAILED
    for permission in needed(warm=False):
        assert found[permission.resource]["status"] == "failed"
        assert found[permission.resource]["said"].startswith(f"may not {', '.join(permission.verbs)} in ")
    assert found[f"{FOR_HANDLES.resource}, listed"]["status"] == "note"
    assert found["one run"]["said"] == "not tried"


async def test_missing_image(place: Place, settings: dict[str, object]) -> None:
    code, found = check(settings, runner_image="k8s-mcp-test/missing:1", runner_image_pull_policy="Never")
    assert code == FAILED
    assert "ErrImageNeverPull" in found["runner image"]["said"]
    assert "K8S_MCP_RUNNER_IMAGE" in found["runner image"]["advice"]
    assert found["one run"]["status"] == "failed"
    await place.nothing_left()


async def test_image_that_is_no_runner(place: Place, settings: dict[str, object]) -> None:
    code, found = check(settings, runner_image="k8s-mcp-test/busybox:1")
    assert code == FAILED
    assert found["runner image"]["status"] == "failed"
    assert any(name in found["runner image"]["said"] for name in ("bash", "python3", "credential-proxy"))
    await place.nothing_left()


def test_missing_namespace(place: Place, settings: dict[str, object]) -> None:
    code, found = check(settings, kubeconfig=place.cluster.kubeconfig, namespace="k8s-mcp-test-missing")
    assert code == FAILED
    assert found["pod security"]["said"] == "there is no namespace k8s-mcp-test-missing"


def test_api_server_out_of_reach(place: Place, settings: dict[str, object]) -> None:
    code, found = check(settings, kubeconfig=place.proxied_kubeconfig("http://127.0.0.1:9"))
    assert code == FAILED
    assert list(found) == ["address", "API server", "one run"]
    assert found["API server"]["status"] == "failed"


def test_credential_that_is_not_accepted(place: Place, settings: dict[str, object]) -> None:
    code, found = check(settings, kubeconfig=place.kubeconfig("stranger", token="nobodys"))
    assert code == FAILED
    assert "Unauthorized" in found["API server"]["said"]
