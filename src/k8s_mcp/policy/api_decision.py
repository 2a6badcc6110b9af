"""What a rule of the policy says of one API request: the decision that the gate takes, for who asks beforehand. Pure.

The gate decides, nothing here does. Both are tried with the examples in gate/testdata/decisions.json; gate/README.md
says how a request is decided, and gate/internal/rules has each step that is here, in the same order.
"""

import re
from dataclasses import dataclass, replace

from k8s_mcp.policy.api_rules import ApiRule, Entry
from k8s_mcp.policy.api_scope import CLUSTER_SCOPED

_READ_VERBS = ("get", "list", "watch")
_CHANGE_VERBS = ("create", "update", "patch", "delete", "deletecollection")
_READABLE = ("", "log", "scale", "status")
_CAN_BE_DRY = (
    "pods/binding",
    "pods/ephemeralcontainers",
    "pods/eviction",
    "pods/resize",
    "namespaces/finalize",
    "certificatesigningrequests.certificates.k8s.io/approval",
)
_READABLE_PATHS = re.compile(
    r"(/(api|apis|metrics|version)/?|/metrics/slis|/(healthz|livez|readyz)(/.*)?|/openapi(/v[23](/.*)?)?"
    r"|/api/[a-z0-9.-]+/?|/apis/[a-z0-9.-]+(/[a-z0-9.-]+)?/?)"
)
_SELF_REVIEWS = (
    "selfsubjectaccessreviews.authorization.k8s.io",
    "selfsubjectrulesreviews.authorization.k8s.io",
    "selfsubjectreviews.authentication.k8s.io",
)
_OPENING = ("exec", "attach", "portforward")  # a GET as well as a POST
_DISCOVERY = Entry(
    verbs=["get", "head"],
    nonResourceURLs=[
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/readyz",
        "/openapi",
        "/openapi/*",
        "/version",
    ],
)


@dataclass(frozen=True)
class Ask:
    """What a request asks for, in the terms of RBAC. `path` is of what is no resource; `name` can be by a selector.

    `anywhere`: it is asked of some namespace that is not known.
    """

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    anywhere: bool = False

    @property
    def kind(self) -> str:
        """The resource as kubectl names it: `deployments.apps/scale`."""
        text = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{text}/{self.subresource}" if self.subresource else text

    @property
    def changes(self) -> bool:
        return self.verb not in (*_READ_VERBS, "head", "impersonate")

    @property
    def in_all_namespaces(self) -> bool:
        """Whether it may reach objects of every namespace: a list and its like, of what is in some."""
        one = self.namespace or self.verb in ("create", "impersonate") or self.subresource
        if self.anywhere:
            return True
        if self.path or one or (self.name and self.verb not in ("list", "watch", "deletecollection")):
            return False
        known = CLUSTER_SCOPED.get(self.group, ())
        return "*" not in known and self.resource not in known

    def __str__(self) -> str:
        text = f"{self.verb} {self.path or self.kind}" + (f" {self.name}" if self.name else "")
        return text + (f" in namespace {self.namespace}" if self.namespace else "")


@dataclass(frozen=True)
class Decision:
    """`by` names what decided: an entry, or a word of the rule. An allowed request may be dry, or answered masked."""

    allowed: bool
    by: str
    why: str = ""
    dry: bool = False
    masked: bool = False


def decide(rule: ApiRule, ask: Ask) -> Decision:
    """What `rule` alone says; where there are several, all of them hold."""
    if ask.verb != "impersonate" and (refusal := _preset(rule, ask)):
        return refusal
    by = _listed(rule, ask)
    if ask.subresource in _OPENING and ask.verb not in ("create", "impersonate"):
        besides = _listed(rule, replace(ask, verb="create"))
        if isinstance(by, str) and isinstance(besides, Decision):
            why = f"{ask.subresource} takes the verb create as well"
            by = replace(besides, why=": ".join(filter(None, (besides.why, why))))
    if isinstance(by, Decision):
        return by
    dry = rule.access == "dry_run" and ask.changes and ask.kind not in _SELF_REVIEWS
    return Decision(allowed=True, by=by, dry=dry, masked=rule.seen_of_secrets != "full" and ask.resource == "secrets")


def _listed(rule: ApiRule, ask: Ask) -> str | Decision:
    """What `deny` and `allow` say: the name of what allows it, or the refusal."""
    for number, entry in enumerate(rule.deny):
        if _may_mean(entry, ask):
            return Decision(allowed=False, by=rule.entry_name("deny", number), why=_because(entry, ask))
    by = _allowed_by(rule, ask)
    return by or Decision(allowed=False, by=f"{rule.name}: allow", why="no entry of allow names it")


def names(entry: Entry, ask: Ask) -> bool:
    """Whether the entry is about such requests, whatever it says of names and namespaces."""
    if not _has(entry.verbs, ask.verb) and not (ask.verb == "head" and "get" in entry.verbs):
        return False
    if ask.path:
        return any(_under(pattern, ask.path) for pattern in entry.non_resource_urls)
    return _has(entry.api_groups, ask.group) and any(_is_of(pattern, ask) for pattern in entry.resources)


def preset_allows(rule: ApiRule, ask: Ask) -> bool:
    """Whether access and secrets of the rule let it through."""
    return _preset(rule, ask) is None


def _allowed_by(rule: ApiRule, ask: Ask) -> str | None:
    if rule.allow is None:
        return f"{rule.name}: access: {rule.access}"
    if (ask.path and _surely_means(_DISCOVERY, ask)) or (ask.verb == "create" and ask.kind in _SELF_REVIEWS):
        return f"{rule.name}: what everybody may ask"
    found = (number for number, entry in enumerate(rule.allow) if _surely_means(entry, ask))
    number = next(found, None)
    return None if number is None else rule.entry_name("allow", number)


def _preset(rule: ApiRule, ask: Ask) -> Decision | None:
    if why := _secret(rule, ask):
        return Decision(allowed=False, by=f"{rule.name}: secrets: {rule.seen_of_secrets}", why=why)
    if rule.access == "full" or _reads(ask) or (ask.verb == "create" and ask.kind in _SELF_REVIEWS):
        return None
    if rule.access == "dry_run" and _can_be_dry(ask):
        return None
    why = "only reading is allowed"
    if rule.access == "dry_run":
        why = "it changes or starts something and cannot be tried without doing it"
    return Decision(allowed=False, by=f"{rule.name}: access: {rule.access}", why=why)


def _secret(rule: ApiRule, ask: Ask) -> str:
    """Why it is refused for the sake of Secrets."""
    if rule.seen_of_secrets == "full" or (ask.path and _reads(ask)):
        return ""
    if ask.path:
        named = any(_surely_means(entry, ask) for entry in rule.allow or ())
        return "" if named else "what such a path answers with could hold a Secret; an entry of allow can name it"
    if ask.resource != "secrets":
        return ""
    if rule.seen_of_secrets == "none":
        return "nothing about Secrets is answered"
    if ask.subresource not in ("", "status"):
        return "what is below a Secret cannot be masked"
    return "" if ask.verb in _READ_VERBS + _CHANGE_VERBS else "this verb is not known, so its answer cannot be masked"


def _reads(ask: Ask) -> bool:
    if ask.path:
        return ask.verb in ("get", "head") and bool(_READABLE_PATHS.fullmatch(ask.path))
    return ask.verb in _READ_VERBS and ask.subresource in _READABLE


def _can_be_dry(ask: Ask) -> bool:
    if ask.path or ask.verb not in _CHANGE_VERBS:
        return False
    return ask.subresource in ("", "scale", "status") or ask.kind in _CAN_BE_DRY


def _surely_means(entry: Entry, ask: Ask) -> bool:
    if not names(entry, ask) or (entry.resource_names and ask.name not in entry.resource_names):
        return False
    return entry.namespaces is None or _in_namespace(entry, ask)


def _may_mean(entry: Entry, ask: Ask) -> bool:
    if not names(entry, ask) or (entry.resource_names and ask.name and ask.name not in entry.resource_names):
        return False
    return entry.namespaces is None or ask.in_all_namespaces or _in_namespace(entry, ask)


def _because(entry: Entry, ask: Ask) -> str:
    if entry.namespaces and ask.in_all_namespaces:
        return "a request over all namespaces would reach the ones that it names"
    if entry.resource_names and not ask.name:
        return "a request without a name could reach the ones that it names"
    return ""


def _in_namespace(entry: Entry, ask: Ask) -> bool:
    patterns = (re.escape(pattern).replace(r"\*", ".*") for pattern in entry.namespaces or ())
    return bool(ask.namespace) and any(re.fullmatch(pattern, ask.namespace) for pattern in patterns)


def _has(words: list[str], word: str) -> bool:
    return "*" in words or word in words


def _is_of(pattern: str, ask: Ask) -> bool:
    if pattern == "*":
        return True
    of, _, sub = pattern.partition("/")
    return of in ("*", ask.resource) and (sub == ask.subresource or (sub == "*" and bool(ask.subresource)))


def _under(pattern: str, path: str) -> bool:
    path = path.rstrip("/") or "/"
    if pattern.endswith("*"):
        return path.startswith(pattern[:-1]) or (pattern[:-1].rstrip("/") or "/") == path
    return (pattern.rstrip("/") or "/") == path
