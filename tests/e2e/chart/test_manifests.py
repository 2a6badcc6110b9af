"""Everything that the chart can make is what the API server understands, to the last field."""

import json
from pathlib import Path
from typing import Any

import pytest

from images.builder import tools
from images.builder.cache import Cache
from tests.chart.rendering import Helm
from tests.e2e.place import Place
from tests.support.chart import CHART

pytestmark = pytest.mark.cluster

_ROOT = Path(__file__).parents[3]
_OF_OTHERS = {"cert-manager.io/v1", "monitoring.coreos.com/v1"}
"""Whose kinds this cluster does not have; tests/chart has a look at them."""


def everything(runners: str) -> dict[str, Any]:
    """Values that turn on all there is."""
    return {
        "replicas": 3,
        "imagePullSecrets": ["pull"],
        "auth": {"tokensSecret": "tokens"},
        "policy": {"rules": []},
        "settings": {"maxTimeout": 600, "oidcIssuer": "https://issuer.example.com", "oidcAudiences": ["k8s-mcp"]},
        "clusters": {"prod": {"kubeconfig": "apiVersion: v1", "offeredTo": ["sre"]}},
        "runner": {"namespace": runners, "quota": {"pods": "40"}, "limits": {"max": {"cpu": "2"}}},
        "service": {"type": "NodePort", "annotations": {"a": "b"}},
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "hosts": ["k8s-mcp.example.com"],
            "tls": [{"hosts": ["k8s-mcp.example.com"], "secretName": "tls"}],
        },
        "tls": {"issuerRef": {"name": "issuer"}},
        "metrics": {kind: {"enabled": True} for kind in ("serviceMonitor", "prometheusRule", "dashboard")},
        "allowFrom": [{"podSelector": {"matchLabels": {"may": "call"}}}],
        "podDisruptionBudget": {"maxUnavailable": "50%"},
        "podLabels": {"a": "b"},
        "podAnnotations": {"a": "b"},
        "nodeSelector": {"a": "b"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "priorityClassName": "system-cluster-critical",
    }


@pytest.mark.parametrize("what", ["defaults", "everything"])
def test_api_server_accepts_every_manifest(place: Place, tmp_path: Path, what: str) -> None:
    helm = Helm(tools.ensure(Cache.from_environment(), _ROOT) / "helm", tmp_path)
    values = everything(place.namespace) if what == "everything" else {"runner": {"namespace": place.namespace}}
    namespace = f"--namespace={place.target}"
    done = helm("template", "it", str(CHART), namespace, "--values=-", stdin=json.dumps(values))
    assert done.returncode == 0, done.stderr
    # The pods of `helm test` are admitted only where their accounts are: test_install.py starts them.
    documents = [each for each in done.stdout.split("\n---\n") if "apiVersion:" in each and "kind: Pod\n" not in each]
    ours = [each for each in documents if not any(f"apiVersion: {group}" in each for group in _OF_OTHERS)]
    assert len(documents) - len(ours) == (3 if what == "everything" else 0)
    apply = ("apply", "--dry-run=server", "--validate=strict", "--filename=-")
    accepted = place.kubectl(*apply, stdin="\n---\n".join(ours)).splitlines()
    assert len(accepted) == len(ours)


def test_a_field_that_is_none_is_noticed(place: Place) -> None:
    wrong: dict[str, Any] = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "it"}, "spec": {"prots": []}}
    with pytest.raises(AssertionError, match="prots"):
        place.kubectl("apply", "--dry-run=server", "--validate=strict", "--filename=-", stdin=json.dumps(wrong))
