"""What the program says it needs is what the manifests give it."""

from pathlib import Path
from typing import Any

import yaml

from k8s_mcp.cluster.access import FOR_HANDLES, NEEDED, Permission, needed

_MANIFESTS = Path(__file__).parents[2] / "images" / "runner" / "namespace.yaml"


def role(name: str) -> set[tuple[str, str, str]]:
    """Group, resource and verb of everything that the Role allows."""
    text = _MANIFESTS.read_text().replace("${API_SERVER_PORTS}", "[]")
    documents: list[Any] = list(yaml.safe_load_all(text))
    rules = next(one["rules"] for one in documents if one["kind"] == "Role" and one["metadata"]["name"] == name)
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def single(*permissions: Permission) -> set[tuple[str, str, str]]:
    return {(one.group, one.resource, verb) for one in permissions for verb in one.verbs}


def test_without_warm_pods_no_pod_is_patched() -> None:
    assert needed(warm=True) == NEEDED
    assert single(*NEEDED) - single(*needed(warm=False)) == {("", "pods", "patch")}


def test_the_role_gives_exactly_what_is_checked() -> None:
    assert role("k8s-mcp-server") == single(*NEEDED)
    assert role("k8s-mcp-server-clusters") == single(FOR_HANDLES)
