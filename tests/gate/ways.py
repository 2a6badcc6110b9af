"""Every way to change objects of a kind, as raw requests, for tests that try all of them."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.gate.objects import KINDS, Json, manifest

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"

_PATCHES = {
    MERGE: '{"metadata":{"labels":{"new":"yes"}}}',
    "application/strategic-merge-patch+json": '{"metadata":{"annotations":{"new":"yes"}}}',
    "application/json-patch+json": '[{"op":"add","path":"/metadata/labels/new","value":"yes"}]',
}
# What DELETE can say besides nothing; the gate reads each of them, and refuses what it cannot write anew.
_OPTIONS = [
    (JSON, '{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Background"}'),
    (JSON, '{"dryRun":[]}'),
    (YAML, "gracePeriodSeconds: 0\n"),
    (JSON, '{"dryRun":["All"],"dryRun":[]}'),
    (PROTOBUF, b"k8s\0\n\x13\n\x02v1\x12\rDeleteOptions"),
    ("application/cbor", b"\xd9\xd9\xf7\xa1fdryRun\x80"),
]


def _request() -> str:
    """A certificate signing request."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody")])
    signed = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return base64.b64encode(signed.public_bytes(serialization.Encoding.PEM)).decode()


def crd(name: str, group: str, scope: str) -> Json:
    """A definition of a custom resource with both subresources."""
    schema: Json = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    version: Json = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}, "scale": scale},
    }
    kind = name.capitalize()
    names = {"plural": f"{name}s", "singular": name, "kind": kind, "listKind": f"{kind}List"}
    spec: Json = {"group": group, "scope": scope, "names": names, "versions": [version]}
    return manifest(f"{name}s.{group}", "apiextensions.k8s.io/v1", "CustomResourceDefinition", {"spec": spec})


# Plural, apiVersion, kind, what it holds.
NAMESPACED: list[tuple[str, str, str, Json]] = [
    *KINDS,
    ("resourcequotas", "v1", "ResourceQuota", {"spec": {"hard": {"configmaps": "100", "pods": "100"}}}),
    ("csistoragecapacities", "storage.k8s.io/v1", "CSIStorageCapacity", {"storageClassName": "none"}),
    ("resourceclaimtemplates", "resource.k8s.io/v1", "ResourceClaimTemplate", {"spec": {"spec": {}}}),
]
_RULES: list[Json] = [{"apiGroups": ["example.com"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]
IN_NO_NAMESPACE: list[tuple[str, str, str, Json]] = [
    ("namespaces", "v1", "Namespace", {}),
    (
        "persistentvolumes",
        "v1",
        "PersistentVolume",
        {
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": "/none"},
                "storageClassName": "none-at-all",
            }
        },
    ),
    ("clusterroles", "rbac.authorization.k8s.io/v1", "ClusterRole", {"rules": []}),
    (
        "clusterrolebindings",
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        {"roleRef": {"kind": "ClusterRole", "name": "none", "apiGroup": "rbac.authorization.k8s.io"}},
    ),
    ("priorityclasses", "scheduling.k8s.io/v1", "PriorityClass", {"value": 1}),
    ("storageclasses", "storage.k8s.io/v1", "StorageClass", {"provisioner": "example.com/none"}),
    ("csidrivers", "storage.k8s.io/v1", "CSIDriver", {"spec": {}}),
    ("runtimeclasses", "node.k8s.io/v1", "RuntimeClass", {"handler": "none"}),
    ("ingressclasses", "networking.k8s.io/v1", "IngressClass", {"spec": {"controller": "example.com/none"}}),
    (
        "validatingwebhookconfigurations",
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        {"webhooks": []},
    ),
    (
        "mutatingwebhookconfigurations",
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
        {"webhooks": []},
    ),
    (
        "validatingadmissionpolicies",
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicy",
        {
            "spec": {
                "matchConstraints": {"resourceRules": _RULES},
                "validations": [{"expression": "true"}],
            }
        },
    ),
    (
        "certificatesigningrequests",
        "certificates.k8s.io/v1",
        "CertificateSigningRequest",
        {"spec": {"request": _request(), "signerName": "example.com/none", "usages": ["client auth"]}},
    ),
]


@dataclass(frozen=True)
class Kind:
    """`at` is the path of its objects; those there have the name `there`, one to be made `new`."""

    at: str
    version: str
    kind: str
    holds: Json
    there: str = "there"
    new: str = "new"

    def manifest(self, name: str, **labels: str) -> Json:
        made = manifest(name, self.version, self.kind, self.holds)
        return {**made, "metadata": {"name": name, "labels": {"objects": self.there, **labels}}}

    @property
    def resource(self) -> str:
        """As kubectl names it."""
        group = self.version.rpartition("/")[0]
        return self.at.rpartition("/")[2] + (f".{group}" if group else "")

    @property
    def is_anywhere(self) -> bool:
        """Whether a request to its path reaches what is not the test's."""
        return "/namespaces/" not in self.at


@dataclass(frozen=True)
class Way:
    method: str
    path: str
    media: str = ""
    body: str | bytes = ""


def changes(kind: Kind, resource_version: str, in_protobuf: bytes) -> Iterator[Way]:
    """Every way to change them. `in_protobuf` is a new object, empty where there is no such form."""
    at, new = kind.at, kind.manifest(kind.new)
    it = f"{at}/{kind.there}"
    changed = kind.manifest(kind.there, changed="yes")
    of_version = {**changed, "metadata": {**changed["metadata"], "resourceVersion": resource_version}}
    yield Way("POST", at, JSON, json.dumps(new))
    yield Way("POST", f"{at}?dryRun=None", YAML, json.dumps(new))
    if in_protobuf:
        yield Way("POST", at, PROTOBUF, in_protobuf)
    generated = {**new, "metadata": {"generateName": f"{kind.new}-"}}
    yield Way("POST", f"{at}/?dryRun=&fieldValidation=Strict", JSON, json.dumps(generated))
    yield Way("PUT", f"{it}?fieldManager=x", JSON, json.dumps(changed))
    yield Way("PUT", f"{it}?DryRun=None", JSON, json.dumps(of_version))
    yield Way("PUT", f"{it}/status", JSON, json.dumps(of_version))
    for media, body in _PATCHES.items():
        yield Way("PATCH", it, media, body)
        yield Way("PATCH", f"{it}/status", media, body)
    yield Way("PATCH", f"{it}/scale", MERGE, '{"spec":{"replicas":3}}')
    for name, body in ((kind.there, changed), (kind.new, new)):
        yield Way("PATCH", f"{at}/{name}?fieldManager=x&force=true", APPLY, json.dumps(body))
    yield Way("DELETE", it)
    yield Way("DELETE", f"{it}?dryRun=None&gracePeriodSeconds=0")
    yield Way("DELETE", f"{it}?propagationPolicy=Orphan&dryRun=None&dryRun=All")
    for media, body in _OPTIONS:
        yield Way("DELETE", it, media, body)
    yield Way("DELETE", f"{at}?labelSelector=objects%3D{kind.there}", JSON, "{}")
    if not kind.is_anywhere:
        yield Way("DELETE", at)
