"""`policy check` warns where a rule that takes something away leaves a way to everything; and only there."""

import pytest

from k8s_mcp.policy.open_ways import warnings
from k8s_mcp.policy.rules import read

WAYS = {
    "pods": "to start pods",
    "code": "to run code in pods",
    "tokens": "to make tokens",
    "rights": "to give rights",
    "secrets": "to read the values of Secrets",
    "certificates": "to sign certificates",
    "webhooks": "to have requests of others",
}
EVERYTHING = "{verbs: ['*'], apiGroups: ['*'], resources: ['*']}"


def ways(fields: str) -> list[str]:
    said = warnings(read(f"rules: [{{name: r, principals: ['*'], own_kubeconfigs: true, {fields}}}]"))
    assert all(
        line.startswith("warning: r (line 1) leaves a way to all that the credential may do: ") for line in said
    )
    found = [[way for way, words in WAYS.items() if f": {words}" in line] for line in said]
    assert all(len(one) == 1 for one in found), said
    return [one[0] for one in found]


def entry(verbs: str, groups: str, resources: str, more: str = "") -> str:
    return f"{{verbs: [{verbs}], apiGroups: [{groups}], resources: [{resources}]{more}}}"


@pytest.mark.parametrize(
    ("allowed", "way"),
    [
        (entry("create", "''", "pods"), "pods"),
        (entry("patch", "apps", "deployments"), "pods"),
        (entry("update", "apps", "daemonsets", ", resourceNames: [web]"), "pods"),
        (entry("create", "batch", "'*'", ", namespaces: [shop]"), "pods"),
        (entry("create", "''", "pods/exec"), "code"),
        (entry("create", "'*'", "pods/*"), "code"),
        (entry("patch", "''", "pods/ephemeralcontainers"), "code"),
        (entry("create", "''", "nodes/proxy"), "code"),
        (entry("create", "''", "serviceaccounts/token"), "tokens"),
        (entry("create", "rbac.authorization.k8s.io", "clusterrolebindings"), "rights"),
        (entry("patch", "rbac.authorization.k8s.io", "roles"), "rights"),
        (entry("get", "''", "secrets"), "secrets"),
        (entry("watch", "''", "secrets", ", namespaces: ['*']"), "secrets"),
        (entry("update", "certificates.k8s.io", "certificatesigningrequests/approval"), "certificates"),
        (entry("patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations"), "webhooks"),
    ],
)
def test_each_way_is_found_by_itself(allowed: str, way: str) -> None:
    assert ways(f"allow: [{allowed}]") == [way]
    assert ways(f"access: read_only, allow: [{allowed}]") == []


def test_all_of_them_are_found() -> None:
    assert ways(f"allow: [{EVERYTHING}]") == list(WAYS)
    assert ways("deny: [{verbs: [get], nonResourceURLs: [/metrics]}]") == list(WAYS)
    assert ways("secrets: masked") == [way for way in WAYS if way != "secrets"]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param("access: full", id="it takes nothing away, and says so"),
        pytest.param("access: read_only", id="read-only"),
        pytest.param("access: dry_run", id="nothing is made"),
        pytest.param("allow: []", id="nothing is allowed"),
        pytest.param(f"allow: [{EVERYTHING}], deny: [{EVERYTHING}]", id="all of it is denied"),
        pytest.param("allow: [" + entry("get, list", "apps", "'*'") + "]", id="only reading"),
        pytest.param(
            "secrets: masked, allow: [" + entry("get, list, watch", "'*'", "'*'") + "]", id="exec is no get"
        ),
        pytest.param(
            "allow: [" + entry("create", "''", "pods", ", resourceNames: [web]") + "]", id="no name in a create"
        ),
        pytest.param(
            "secrets: none, allow: [" + entry("get", "''", "secrets") + "]", id="nothing is told of Secrets"
        ),
    ],
)
def test_where_there_is_none_nothing_is_said(fields: str) -> None:
    assert ways(fields) == []


def test_secrets_that_can_be_read_are_a_way_also_for_who_only_reads() -> None:
    assert ways("access: read_only, secrets: full") == ["secrets"]
    assert ways("access: dry_run, secrets: full") == ["secrets"]


def test_a_deny_of_some_names_or_namespaces_leaves_the_others() -> None:
    some = entry("'*'", "'*'", "'*'", ", namespaces: [kube-system]")
    assert ways(f"deny: [{some}]") == list(WAYS)
    secrets = entry("'*'", "''", "secrets")
    assert "secrets" not in ways(f"deny: [{secrets}]")
