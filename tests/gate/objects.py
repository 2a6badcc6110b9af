"""One object of each of many kinds, for tests that ask about all of them."""

import json
from collections.abc import Callable
from typing import Any

from tests.gate.ground import IMAGE

Json = dict[str, Any]
Kubectl = Callable[..., str]

_POD = {"containers": [{"name": "main", "image": IMAGE, "command": ["true"]}], "restartPolicy": "Never"}
_LABELS = {"app": "objects"}
_TEMPLATE = {"metadata": {"labels": _LABELS}, "spec": {**_POD, "restartPolicy": "Always"}}
_JOB = {"template": {"spec": _POD}, "suspend": True}
_SELECTOR = {"matchLabels": _LABELS}
_VERSIONS = {
    "rbac": "rbac.authorization.k8s.io/v1",
    "net": "networking.k8s.io/v1",
}

# Plural, apiVersion, kind, what it holds. Nothing that a controller changes again and again.
KINDS: list[tuple[str, str, str, Json]] = [
    ("configmaps", "v1", "ConfigMap", {"data": {"a": "b"}}),
    ("secrets", "v1", "Secret", {"data": {"a": "c2VjcmV0LXZhbHVl"}}),
    ("serviceaccounts", "v1", "ServiceAccount", {}),
    ("services", "v1", "Service", {"spec": {"ports": [{"port": 80}], "selector": {"app": "none"}}}),
    ("endpoints", "v1", "Endpoints", {"subsets": [{"addresses": [{"ip": "10.9.8.7"}], "ports": [{"port": 1}]}]}),
    ("pods", "v1", "Pod", {"spec": {**_POD, "schedulingGates": [{"name": "example.com/wait"}]}}),
    ("podtemplates", "v1", "PodTemplate", {"template": _TEMPLATE}),
    ("replicationcontrollers", "v1", "ReplicationController", {"spec": {"replicas": 0, "template": _TEMPLATE}}),
    (
        "limitranges",
        "v1",
        "LimitRange",
        {"spec": {"limits": [{"type": "PersistentVolumeClaim", "max": {"storage": "9Gi"}}]}},
    ),
    (
        "persistentvolumeclaims",
        "v1",
        "PersistentVolumeClaim",
        {
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "none",
                "resources": {"requests": {"storage": "1Gi"}},
            }
        },
    ),
    ("deployments", "apps/v1", "Deployment", {"spec": {"replicas": 0, "selector": _SELECTOR, "template": _TEMPLATE}}),
    ("replicasets", "apps/v1", "ReplicaSet", {"spec": {"replicas": 0, "selector": _SELECTOR, "template": _TEMPLATE}}),
    (
        "statefulsets",
        "apps/v1",
        "StatefulSet",
        {"spec": {"replicas": 0, "selector": _SELECTOR, "template": _TEMPLATE, "serviceName": "x"}},
    ),
    ("controllerrevisions", "apps/v1", "ControllerRevision", {"data": {}, "revision": 1}),
    ("jobs", "batch/v1", "Job", {"spec": _JOB}),
    (
        "cronjobs",
        "batch/v1",
        "CronJob",
        {"spec": {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": _JOB}}},
    ),
    ("leases", "coordination.k8s.io/v1", "Lease", {"spec": {"holderIdentity": "x"}}),
    ("roles", _VERSIONS["rbac"], "Role", {"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}),
    (
        "rolebindings",
        _VERSIONS["rbac"],
        "RoleBinding",
        {
            "roleRef": {"kind": "Role", "name": "none", "apiGroup": "rbac.authorization.k8s.io"},
            "subjects": [{"kind": "User", "name": "none", "apiGroup": "rbac.authorization.k8s.io"}],
        },
    ),
    ("ingresses", _VERSIONS["net"], "Ingress", {"spec": {"rules": [{"host": "a.example.com"}]}}),
    (
        "networkpolicies",
        _VERSIONS["net"],
        "NetworkPolicy",
        {"spec": {"podSelector": {"matchLabels": {"app": "none"}}}},
    ),
    (
        "poddisruptionbudgets",
        "policy/v1",
        "PodDisruptionBudget",
        {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "none"}}}},
    ),
    ("endpointslices", "discovery.k8s.io/v1", "EndpointSlice", {"addressType": "IPv4", "endpoints": []}),
]


def path(namespace: str, plural: str, version: str) -> str:
    """Where objects of a kind are."""
    return f"/{'apis' if '/' in version else 'api'}/{version}/namespaces/{namespace}/{plural}"


def manifest(name: str, version: str, kind: str, holds: Json) -> Json:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": {"objects": "yes"}}, **holds}


def snapshot(kubectl: Kubectl, namespace: str) -> dict[str, str]:
    """Every object of the namespace, and the namespace, byte for byte."""
    names = kubectl("api-resources", "--verbs=list", "--namespaced", "--output=name").split()
    kinds = ",".join(name for name in names if not name.startswith("events"))
    answer = json.loads(kubectl("get", kinds, f"--namespace={namespace}", "--output=json", "--show-managed-fields"))
    found = {f"{one['kind']}/{one['metadata']['name']}": json.dumps(one, sort_keys=True) for one in answer["items"]}
    return {**found, "namespace": kubectl("get", f"namespace/{namespace}", "--output=json")}


def still(kubectl: Kubectl, namespace: str) -> bool:
    """Whether nothing changes there any more."""
    return snapshot(kubectl, namespace) == snapshot(kubectl, namespace)
