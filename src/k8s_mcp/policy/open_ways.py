"""Ways from what a rule allows to all that the credential may do: a rule that leaves one holds little. Pure."""

from collections.abc import Iterator

from k8s_mcp.policy.api_decision import Ask, names, preset_allows
from k8s_mcp.policy.api_rules import ApiRule
from k8s_mcp.policy.rules import Policy

_WRITE = ("create", "update", "patch")
_WORKLOADS = (
    ("", "pods"),
    ("", "replicationcontrollers"),
    ("apps", "deployments"),
    ("apps", "daemonsets"),
    ("apps", "statefulsets"),
    ("apps", "replicasets"),
    ("batch", "jobs"),
    ("batch", "cronjobs"),
)
_RBAC = "rbac.authorization.k8s.io"
_HOOKS = "admissionregistration.k8s.io"

_WAYS: tuple[tuple[str, tuple[Ask, ...]], ...] = (
    (
        "to start pods, which can mount any Secret and service account of their namespace",
        tuple(Ask(verb, group, resource) for group, resource in _WORKLOADS for verb in _WRITE),
    ),
    (
        "to run code in pods that are there",
        tuple(Ask("create", "", "pods", sub) for sub in ("exec", "attach"))  # which a GET takes, too
        + tuple(Ask(verb, "", "pods", "ephemeralcontainers") for verb in ("patch", "update"))
        + (Ask("create", "", "nodes", "proxy"),),
    ),
    ("to make tokens of service accounts", (Ask("create", "", "serviceaccounts", "token"),)),
    (
        "to give rights",
        tuple(
            Ask(verb, _RBAC, resource)
            for resource in ("rolebindings", "clusterrolebindings", "roles", "clusterroles")
            for verb in _WRITE
        ),
    ),
    ("to read the values of Secrets", tuple(Ask(verb, "", "secrets") for verb in ("get", "list", "watch"))),
    (
        "to sign certificates for others",
        tuple(Ask(verb, "certificates.k8s.io", "certificatesigningrequests", "approval") for verb in _WRITE[1:]),
    ),
    (
        "to have requests of others sent to a webhook, or changed by one",
        tuple(
            Ask(verb, _HOOKS, resource)
            for resource in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
            for verb in _WRITE
        ),
    ),
)


def warnings(policy: Policy) -> list[str]:
    """One line for each such way of a rule that takes something away. One that takes nothing away says so itself."""
    rules = [rule.api_rule for rule in policy.rules]
    return [
        f"warning: {rule.name} leaves a way to all that the credential may do: {what} ({', '.join(asks)})"
        for rule in rules
        if not rule.is_open
        for what, asks in _open(rule)
    ]


def _open(rule: ApiRule) -> Iterator[tuple[str, list[str]]]:
    for what, asks in _WAYS:
        found: dict[str, list[str]] = {}
        for ask in asks:
            if _can_be_asked(rule, ask):
                found.setdefault(ask.kind, []).append(ask.verb)
        if found:
            yield what, [f"{'/'.join(verbs)} {kind}" for kind, verbs in found.items()]


def _can_be_asked(rule: ApiRule, ask: Ask) -> bool:
    """Whether some request like it gets through and is carried out, in whatever namespace, whatever its name."""
    if not preset_allows(rule, ask) or (rule.access == "dry_run" and ask.changes):
        return False
    if ask.resource == "secrets" and rule.seen_of_secrets != "full":
        return False
    if any(names(entry, ask) and not entry.namespaces and not entry.resource_names for entry in rule.deny):
        return False
    nameless = ask.verb == "create" and not ask.subresource  # so no entry with names allows it
    entries = [entry for entry in rule.allow or () if not (nameless and entry.resource_names)]
    return rule.allow is None or any(names(entry, ask) for entry in entries)
