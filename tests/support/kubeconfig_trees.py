"""Kubeconfigs as values, to take apart and break, and short ways to read them."""

import base64
import json
from typing import Any

from k8s_mcp.errors import KubeconfigError
from k8s_mcp.kubeconfig.kubeconfig import Allowed, Kubeconfig, parse

Tree = dict[str, Any]

NOTHING = Allowed()
EVERYTHING = Allowed(frozenset({"aws"}), proxy_url=True, insecure_tls=True, loopback=True)
SECRET = "s3cr3tMarker"  # no base64 of other things holds it


AWKWARD = ["1e3", "yes", "~", "a: b", "- #", "'\"\\", "東京 🗼", "\u00a0\u200b"]


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


CA = b64("-----BEGIN CERTIFICATE-----\nY2E=\n-----END CERTIFICATE-----\n")
CERTIFICATE = b64("-----BEGIN CERTIFICATE-----\nY2VydA==\n-----END CERTIFICATE-----\n")
KEY = b64(f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}\n-----END EC PRIVATE KEY-----\n")
EXEC = {"apiVersion": "client.authentication.k8s.io/v1", "command": "aws", "interactiveMode": "Never"}


def tree(user: Tree | None = None, cluster: Tree | None = None, context: Tree | None = None, **top: Any) -> Tree:
    """A kubeconfig with one context, to which the arguments add; a value of None takes a field away."""

    def given(values: Tree) -> Tree:
        return {key: value for key, value in values.items() if value is not None}

    return given(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "dev",
            "contexts": [{"name": "dev", "context": given({"cluster": "kind", "user": "admin", **(context or {})})}],
            "clusters": [{"name": "kind", "cluster": given({"server": "https://10.0.0.1:6443", **(cluster or {})})}],
            "users": [{"name": "admin", "user": given({"token": f"{SECRET}-token", **(user or {})})}],
        }
        | top
    )


def written(values: Tree) -> str:
    """As JSON, which is YAML but for its surrogate pairs (those kubectl refuses as well)."""
    return json.dumps(values, ensure_ascii=False)


def read(values: Tree, allowed: Allowed = NOTHING) -> Kubeconfig:
    return parse(written(values), allowed)


def refusal(text: str, allowed: Allowed = NOTHING) -> KubeconfigError | None:
    try:
        parse(text, allowed)
    except KubeconfigError as error:
        return error
    return None
