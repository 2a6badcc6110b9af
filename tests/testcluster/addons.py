"""What a cluster has inside beyond an empty one: its DNS, as a Service in front of a process on the node."""

import json
from typing import Any

from .commands import run
from .layout import NODE, Layout


def apply(layout: Layout) -> None:
    """Create the objects in the first cluster."""
    items = [_service(layout), _endpoints(layout), *_permissions()]
    objects = {"apiVersion": "v1", "kind": "List", "items": items}
    # Without validation: it would only fetch the whole schema, for objects that never change.
    kubectl = (layout.kubectl, f"--kubeconfig={layout.kubeconfig}", f"--cache-dir={layout.kubectl_cache}")
    run(*kubectl, "create", "--validate=false", "--filename=-", stdin=json.dumps(objects))


def _service(layout: Layout) -> dict[str, Any]:
    ports = [{"name": f"dns-{name}", "port": 53, "protocol": name.upper()} for name in ("udp", "tcp")]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
        "spec": {"clusterIP": layout.addresses.dns, "ports": ports},
    }


def _endpoints(layout: Layout) -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": "kube-dns", "endpointslice.kubernetes.io/managed-by": NODE}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [layout.addresses.node], "conditions": {"ready": True}}],
        "ports": [{"name": f"dns-{name}", "port": 53, "protocol": name.upper()} for name in ("udp", "tcp")],
    }


def _permissions() -> list[dict[str, Any]]:
    """Let the DNS server read what it answers from."""
    reads = ["list", "watch"]
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "system:coredns"},
        "rules": [
            {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": reads},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": reads},
        ],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "system:coredns"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns"}],
    }
    return [role, binding]
