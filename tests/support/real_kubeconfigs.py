"""Kubeconfigs as tools and clouds write them, to a cluster and with a credential of the test's choice."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_V1BETA1, _V1 = "client.authentication.k8s.io/v1beta1", "client.authentication.k8s.io/v1"

Tree = dict[str, Any]


@dataclass(frozen=True)
class Access:
    """A cluster, its authority, and two credentials for it: a token, and a certificate with its key (PEM)."""

    server: str
    authority: str
    token: str
    certificate: str
    key: str


@dataclass(frozen=True)
class Real:
    """Writes files and plugins to `home`, and gives the kubeconfig; `home`/bin is to be in PATH."""

    access: Access
    home: Path

    def plugin(self, name: str, api_version: str, *, certificate: bool = False, check: str = "true") -> None:
        """A credential plugin, which fails unless the shell says that `check` is true."""
        (self.home / "bin").mkdir(exist_ok=True)
        pair = {"clientCertificateData": self.access.certificate, "clientKeyData": self.access.key}
        status = pair if certificate else {"token": self.access.token}
        printed = {
            "kind": "ExecCredential",
            "apiVersion": api_version,
            "status": {"expirationTimestamp": "2099-01-01T00:00:00Z", **status},
        }
        script = self.home / "bin" / name
        script.write_text(f"#!/bin/bash\n{check} || exit 7\ncat <<'END'\n{json.dumps(printed, indent=2)}\nEND\n")
        script.chmod(0o755)

    def cluster(self, name: str, **more: Any) -> Tree:
        cluster = {"certificate-authority-data": _b64(self.access.authority), "server": self.access.server, **more}
        return {"name": name, "cluster": {key: value for key, value in cluster.items() if value is not None}}

    def certified(self, name: str, **more: Any) -> Tree:
        pair = {"client-certificate-data": _b64(self.access.certificate), "client-key-data": _b64(self.access.key)}
        return {"name": name, "user": {**pair, **more}}

    def file(self, path: str, content: str) -> str:
        """Relative to the kubeconfig."""
        (self.home / path).parent.mkdir(parents=True, exist_ok=True)
        (self.home / path).write_text(content)
        return path


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _config(
    current: str, clusters: list[Tree], users: list[Tree], *contexts: tuple[str, str, str], **more: Any
) -> Tree:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "current-context": current,
        "clusters": clusters,
        "users": users,
        "contexts": [
            {"name": name, "context": {"cluster": cluster, "user": user, **more}} for name, cluster, user in contexts
        ],
    }


def kind(real: Real) -> Tree:
    name = "kind-kind"
    return _config(name, [real.cluster(name)], [real.certified(name)], (name, name, name))


def k3s(real: Real) -> Tree:
    name = "default"
    return _config(name, [real.cluster(name)], [real.certified(name)], (name, name, name))


def minikube(real: Real) -> Tree:
    """Names files, and has extensions."""
    note = {
        "extension": {"last-update": "Sat, 28 Nov 2026 10:00:00 CET", "version": "v1.38.0"},
        "name": "cluster_info",
    }
    authority = real.file(".minikube/ca.crt", real.access.authority)
    pair = {
        "client-certificate": real.file(".minikube/profiles/minikube/client.crt", real.access.certificate),
        "client-key": real.file(".minikube/profiles/minikube/client.key", real.access.key),
    }
    cluster = real.cluster(
        "minikube", extensions=[note], **{"certificate-authority-data": None, "certificate-authority": authority}
    )
    users = [{"name": "minikube", "user": pair}]
    name = "minikube"
    return _config(name, [cluster], users, (name, name, name), extensions=[note], namespace="default")


def eks(real: Real) -> Tree:
    name = "arn:aws:eks:eu-west-1:111122223333:cluster/shop"
    words = ["--region", "eu-west-1", "eks", "get-token", "--cluster-name", "shop", "--output", "json"]
    plugin = {
        "apiVersion": _V1BETA1,
        "command": "aws",
        "args": words,
        "env": [{"name": "AWS_PROFILE", "value": "shop"}],
    }
    real.plugin("aws", _V1BETA1, check=f'[ "$* $AWS_PROFILE" = "{" ".join(words)} shop" ]')
    return _config(name, [real.cluster(name)], [{"name": name, "user": {"exec": plugin}}], (name, name, name))


def gke(real: Real) -> Tree:
    name = "gke_shop-123456_europe-west1_shop"
    plugin = {
        "apiVersion": _V1BETA1,
        "command": "gke-gcloud-auth-plugin",
        "installHint": "Install gke-gcloud-auth-plugin for use with kubectl by following\n  https://cloud.google.com/x",
        "provideClusterInfo": True,
        "interactiveMode": "IfAvailable",
    }
    check = f'grep -q \'"server": "{real.access.server}"\' <<< "$KUBERNETES_EXEC_INFO"'
    real.plugin("gke-gcloud-auth-plugin", _V1BETA1, check=check)
    return _config(name, [real.cluster(name)], [{"name": name, "user": {"exec": plugin}}], (name, name, name))


def aks(real: Real) -> Tree:
    words = ["get-token", "--environment", "AzurePublicCloud", "--server-id", "6dae42f8", "--login", "devicecode"]
    plugin = {
        "apiVersion": _V1BETA1,
        "command": "kubelogin",
        "args": words,
        "env": None,
        "installHint": "\nkubelogin is not installed which is required to connect to AAD enabled cluster.\n",
        "provideClusterInfo": False,
        "interactiveMode": "IfAvailable",
    }
    real.plugin("kubelogin", _V1BETA1, check='[ "$1" = get-token ]')
    users = [{"name": "clusterUser_shop_shop", "user": {"exec": plugin}}]
    return _config("shop", [real.cluster("shop")], users, ("shop", "shop", "clusterUser_shop_shop"))


def aks_admin(real: Real) -> Tree:
    """Without Entra ID: a certificate and a token at once."""
    users = [real.certified("clusterAdmin_shop_shop", token=real.access.token)]
    return _config("shop-admin", [real.cluster("shop")], users, ("shop-admin", "shop", "clusterAdmin_shop_shop"))


def rancher(real: Real) -> Tree:
    """By its command, through Rancher, and by a node behind its back."""
    plugin = {
        "apiVersion": _V1BETA1,
        "command": "rancher",
        "args": ["token", "--server=rancher.example.com", "--user=u-abcde"],
    }
    real.plugin("rancher", _V1BETA1, check='[ "$1" = token ]')
    clusters = [real.cluster("shop"), real.cluster("shop-node1", server="https://192.0.2.1:6443")]
    users = [{"name": "shop", "user": {"exec": plugin}}]
    return _config("shop", clusters, users, ("shop", "shop", "shop"), ("shop-node1", "shop-node1", "shop"))


def openshift(real: Real) -> Tree:
    """As `oc login` leaves it, beside an older project."""
    cluster, user = "api-shop-example-com:6443", "alice/api-shop-example-com:6443"
    users = [{"name": user, "user": {"token": real.access.token}}]
    names = (f"default/{cluster}/alice", f"shop/{cluster}/alice")
    return _config(names[0], [real.cluster(cluster)], users, *((name, cluster, user) for name in names))


def openshift_oidc(real: Real) -> Tree:
    """As `oc login --exec-plugin=oc-oidc` leaves it."""
    plugin = {
        "apiVersion": _V1,
        "command": "oc",
        "args": ["get-token", "--issuer-url=https://sso.example.com", "--client-id=oc"],
        "env": None,
        "installHint": "Please be sure that oc is defined in $PATH to be executed as credentials exec plugin",
        "interactiveMode": "IfAvailable",
        "provideClusterInfo": False,
    }
    real.plugin("oc", _V1, check='[ "$1" = get-token ]')
    users = [{"name": "oidc/api:6443", "user": {"exec": plugin}}]
    return _config(
        "default/api:6443", [real.cluster("api:6443")], users, ("default/api:6443", "api:6443", "oidc/api:6443")
    )


def teleport(real: Real) -> Tree:
    """Its plugin, named by its path, gives a certificate."""
    real.plugin("tsh", _V1BETA1, certificate=True, check='[ "$1 $2" = "kube credentials" ]')
    plugin = {
        "apiVersion": _V1BETA1,
        "command": str(real.home / "bin" / "tsh"),
        "args": ["kube", "credentials", "--kube-cluster=shop", "--teleport-cluster=example.com"],
        "env": None,
        "interactiveMode": "IfAvailable",
        "provideClusterInfo": False,
    }
    users = [{"name": "example.com-shop", "user": {"exec": plugin}}]
    return _config(
        "example.com-shop",
        [real.cluster("example.com")],
        users,
        ("example.com-shop", "example.com", "example.com-shop"),
    )


def docker_desktop(real: Real) -> Tree:
    name = "docker-desktop"
    return _config(name, [real.cluster(name)], [real.certified(name)], (name, name, name))


_SHAPES: tuple[Callable[[Real], Tree], ...] = (
    kind, k3s, minikube, eks, gke, aks, aks_admin, rancher, openshift, openshift_oidc, teleport, docker_desktop,
)  # fmt: skip
SHAPES = {shape.__name__: shape for shape in _SHAPES}


def write(shape: str, access: Access, home: Path) -> Path:
    """The kubeconfig of that shape as a file in `home`."""
    path = home / "config"
    path.write_text(yaml.safe_dump(SHAPES[shape](Real(access, home))))
    return path
