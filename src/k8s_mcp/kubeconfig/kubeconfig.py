"""A caller's kubeconfig: checked, kept as values, and written anew.

A kubeconfig is data from a stranger. What reaches a pod is never its text but `Kubeconfig.dump()`, so that
two parsers cannot disagree about it. Everything here raises KubeconfigError: where, what, and what to send
instead; never with a credential.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import TypeVar
from urllib.parse import urlsplit

from k8s_mcp.errors import KubeconfigError
from k8s_mcp.kubeconfig import strict_yaml
from k8s_mcp.kubeconfig.entries import Allowed, Cluster, Context, Exec, User
from k8s_mcp.kubeconfig.fields import FLATTEN, Fields, shown
from k8s_mcp.kubeconfig.strict_yaml import Value
from k8s_mcp.limits import KUBECONFIG_BYTES

__all__ = ["Allowed", "Cluster", "Context", "Exec", "Kubeconfig", "LeftOut", "User", "parse"]

MAX_CONTEXTS = 8
_MAX_NAME = 512
_MAX_NODES = 10_000
_LEFT_OUT_BYTES = 16 * 1024

_CERTIFICATE_BODY = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)

_Entry = TypeVar("_Entry", Context, Cluster, User)
_Made = TypeVar("_Made", Cluster, User)


@dataclass(frozen=True)
class LeftOut:
    """A context that the file has and the run has not, and why: nothing secret in it."""

    context: str
    why: str


@dataclass(frozen=True)
class Kubeconfig:
    """Names are unique, references lead somewhere, clusters have a server. No credential in its repr."""

    current_context: str
    contexts: tuple[Context, ...]
    clusters: tuple[Cluster, ...]
    users: tuple[User, ...]
    left_out: tuple[LeftOut, ...] = field(default=(), compare=False)

    @property
    def server(self) -> str:
        """The URL of the current context's API server."""
        return self.cluster_of(self.current_context).server

    @property
    def servers(self) -> tuple[str, ...]:
        """The URLs of all API servers, that of the current context first."""
        return tuple(dict.fromkeys((self.server, *(cluster.server for cluster in self.clusters))))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificates (DER) of the current context's authority; empty without one of its own.

        For one certificate it is what `openssl x509 -fingerprint -sha256` prints, in small letters without colons.
        """
        pem = base64.b64decode(self.cluster_of(self.current_context).certificate_authority_data)
        found = [re.sub(rb"\s", b"", body) for body in _CERTIFICATE_BODY.findall(pem)]
        try:
            return hashlib.sha256(b"".join(map(base64.b64decode, found))).hexdigest() if found else ""
        except ValueError:
            return ""  # no certificate: whoever connects says so

    def cluster_of(self, context: str) -> Cluster:
        return _named(self.clusters, _named(self.contexts, context).cluster)

    def hosts(self) -> tuple[str, ...]:
        """Every host it can make kubectl connect to, for `addresses.check_resolved`."""
        urls = (url for cluster in self.clusters for url in (cluster.server, cluster.proxy_url) if url)
        return tuple(dict.fromkeys(urlsplit(url).hostname or "" for url in urls))

    def secrets(self) -> tuple[str, ...]:
        """Every credential value, as commands may print it (keys in base64). For redaction."""
        values = (value for user in self.users for value in user.secrets() if value)
        return tuple(dict.fromkeys(spelling for value in values for spelling in _spellings(value)))

    def minify(self, context: str) -> "Kubeconfig":
        """That context only, as the current one."""
        return _only(replace(self, current_context=context, left_out=()), {_named(self.contexts, context).name})

    def without(self, contexts: Mapping[str, str]) -> "Kubeconfig":
        """Those contexts are left out, too, each for its reason; the current one is not among them."""
        more = tuple(LeftOut(name, why) for name, why in contexts.items())
        rest = {context.name for context in self.contexts} - contexts.keys()
        return _only(replace(self, left_out=self.left_out + more), rest)

    def without_credentials(self, servers: Mapping[str, str]) -> "Kubeconfig":
        """The same contexts with nothing secret in them; `servers` has each one's new URL by its name.

        Each gets a cluster named like itself: two users of one cluster need two credential proxies. Users keep their
        names, because some tools insist on one, and nothing else: impersonation is the proxy's business as well.
        """
        return replace(
            self,
            contexts=tuple(replace(context, cluster=context.name) for context in self.contexts),
            clusters=tuple(Cluster(context.name, servers[context.name]) for context in self.contexts),
            users=tuple(User(user.name) for user in self.users),
        )

    def dump(self) -> str:
        """JSON of the checked fields and no others: kubectl reads it as YAML, and no reader takes a text for else.

        Of what YAML reads otherwise, surrogate pairs are not written, and control characters are in no field.
        """
        values: dict[str, Value] = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": self.current_context,
            "contexts": [{"name": context.name, "context": context.written()} for context in self.contexts],
            "clusters": [{"name": cluster.name, "cluster": cluster.written()} for cluster in self.clusters],
            "users": [{"name": user.name, "user": user.written()} for user in self.users],
        }
        return json.dumps(values, ensure_ascii=False, indent=1) + "\n"


def parse(text: str, allowed: Allowed, *, only: Collection[str] | None = None) -> Kubeconfig:
    """Read and check a kubeconfig file's content.

    The current context must be usable. Other contexts that are not are left out, and so are those beyond
    MAX_CONTEXTS, and clusters and users that no context is left for. `only`: the names of all contexts to look at.
    """
    return checked(read(text), allowed, only=only)


def read(text: str) -> Fields:
    """What the file says; for `checked`."""
    _check_size(text)
    return top(strict_yaml.load(text, max_nodes=_MAX_NODES))


def top(value: Value) -> Fields:
    """The fields of a whole file."""
    if not isinstance(value, dict):
        raise KubeconfigError(f"is not a mapping with clusters, users and contexts; send the output of {FLATTEN}")
    fields = Fields(value)
    if fields.text("kind") not in ("", "Config") or fields.text("apiVersion") not in ("", "v1"):
        raise KubeconfigError("is something else: a kubeconfig has `kind: Config` and `apiVersion: v1`")
    return fields


def checked(fields: Fields, allowed: Allowed, *, only: Collection[str] | None = None) -> Kubeconfig:
    """As `parse`, of what `read` gives."""
    entries = _Entries(fields, allowed)
    current = fields.text("current-context")
    check_current(fields, current, list(entries.contexts))
    kept = {current: entries.context(current)}
    left_out: list[LeftOut] = []
    for name in entries.contexts:
        if name == current or (only is not None and name not in only):
            continue
        if len(kept) == MAX_CONTEXTS:
            left_out.append(LeftOut(name, f"{MAX_CONTEXTS} contexts are the most that are kept"))
            continue
        try:
            kept[name] = entries.context(name)
        except KubeconfigError as error:
            left_out.append(LeftOut(name, error.fields[0][1]))
    config = entries.kubeconfig(current, kept, tuple(left_out))
    _check_size(config.dump())  # quotes in a password are escaped there, so it can be twice the caller's text
    return config


def named_entries(fields: Fields, section: str) -> dict[str, Fields]:
    """The entries of `contexts`, `clusters` or `users` by their names, which are checked."""
    found: dict[str, Fields] = {}
    for entry in fields.each(section):
        name = entry.text("name")
        if not 0 < len(name) <= _MAX_NAME:
            raise entry.error("name", f"must have 1 to {_MAX_NAME} characters")
        if name in found:
            raise entry.error("name", f"{shown(name)} is another entry's name already; give each its own")
        found[name] = entry
    return found


def check_current(fields: Fields, current: str, contexts: list[str]) -> None:
    """Raise KubeconfigError unless the context is among those that there are."""
    if current not in contexts:
        what = f"{shown(current)} does not exist" if current else "is missing"
        there = ", ".join(map(shown, contexts[:MAX_CONTEXTS])) or "there are none"
        raise fields.error("current-context", f"{what}; name one of the contexts ({there})")


class _Entries:
    """All that a file has. Each entry is checked when it is needed, and once, however many contexts name it."""

    def __init__(self, fields: Fields, allowed: Allowed) -> None:
        self.contexts = named_entries(fields, "contexts")
        self._clusters = named_entries(fields, "clusters")
        self._users = named_entries(fields, "users")
        self._cluster = _once(lambda name: Cluster.read(name, self._clusters[name].within("cluster", name), allowed))
        self._user = _once(lambda name: User.read(name, self._users[name].within("user", name), allowed))

    def context(self, name: str) -> Context:
        """With a cluster and a user that can be used."""
        body = self.contexts[name].within("context", name)
        context = Context.read(name, body)
        for kind, wanted, there in (
            ("cluster", context.cluster, self._clusters),
            ("user", context.user, self._users),
        ):
            if wanted not in there and (wanted or kind == "cluster"):
                raise body.error(kind, f"{shown(wanted)} does not exist; send the output of {FLATTEN}")
        self._cluster(context.cluster)
        if context.user:
            self._user(context.user)
        return context

    def kubeconfig(self, current: str, kept: Mapping[str, Context], left_out: tuple[LeftOut, ...]) -> Kubeconfig:
        """Of those contexts, all in the order of the file."""
        clusters = {context.cluster for context in kept.values()}
        users = {context.user for context in kept.values()}
        return Kubeconfig(
            current,
            contexts=tuple(kept[name] for name in self.contexts if name in kept),
            clusters=tuple(self._cluster(name) for name in self._clusters if name in clusters),
            users=tuple(self._user(name) for name in self._users if name in users),
            left_out=left_out,
        )


def _once(make: Callable[[str], _Made]) -> Callable[[str], _Made]:
    """`make`, asked once for each name; what it raises is raised again."""
    made: dict[str, _Made | KubeconfigError] = {}

    def get(name: str) -> _Made:
        if name not in made:
            try:
                made[name] = make(name)
            except KubeconfigError as error:
                made[name] = error
        found = made[name]
        if isinstance(found, KubeconfigError):
            raise KubeconfigError(found.fields[0][1])
        return found

    return get


def _check_size(text: str) -> None:
    if len(text) > KUBECONFIG_BYTES or len(text.encode(errors="surrogatepass")) > KUBECONFIG_BYTES:
        raise KubeconfigError(f"is over {KUBECONFIG_BYTES // 1024} KiB; {FLATTEN} keeps one context only")


def _only(config: Kubeconfig, contexts: Collection[str]) -> Kubeconfig:
    """Those contexts, and what belongs to them."""
    kept = tuple(context for context in config.contexts if context.name in contexts)
    clusters, users = {context.cluster for context in kept}, {context.user for context in kept}
    return replace(
        config,
        contexts=kept,
        clusters=tuple(cluster for cluster in config.clusters if cluster.name in clusters),
        users=tuple(user for user in config.users if user.name in users),
    )


def described(left_out: Iterable[LeftOut]) -> list[dict[str, str]]:
    """As clients see them: so many that they fit into an event, and how many more there are."""
    found = [{"context": one.context, "why": one.why} for one in left_out]
    sizes = [len(json.dumps(one)) for one in found]
    fitting = sum(total <= _LEFT_OUT_BYTES for total in accumulate(sizes))
    if fitting == len(found):
        return found
    return [*found[:fitting], {"context": "…", "why": f"and {len(found) - fitting} more"}]


def _spellings(secret: str) -> tuple[str, ...]:
    """As it is; as `dump` and so `cat $KUBECONFIG` has it; as Go writes it in JSON; as kubectl does in YAML."""
    dumped = json.dumps(secret, ensure_ascii=False)[1:-1]
    in_json = re.sub("[<>&]", lambda match: f"\\u{ord(match[0]):04x}", dumped)
    return secret, dumped, in_json, secret.replace("'", "''")


def _named(entries: Iterable[_Entry], name: str) -> _Entry:
    for entry in entries:
        if entry.name == name:
            return entry
    raise KubeconfigError(f"has no entry {shown(name)}")
