"""A caller's kubeconfig: checked, kept as values, and written anew.

A kubeconfig is data from a stranger. What reaches a pod is never its text but `Kubeconfig.dump()`, so that
two parsers cannot disagree about it. Everything here raises KubeconfigError: where, what, and what to send
instead; never with a credential.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar
from urllib.parse import urlsplit

from k8s_mcp.errors import KubeconfigError
from k8s_mcp.kubeconfig import strict_yaml
from k8s_mcp.kubeconfig.entries import CREATE_ONE, Allowed, Cluster, Context, Exec, User
from k8s_mcp.kubeconfig.fields import FLATTEN, Fields, shown
from k8s_mcp.kubeconfig.strict_yaml import Value
from k8s_mcp.limits import KUBECONFIG_BYTES

__all__ = ["Allowed", "Cluster", "Context", "Exec", "Kubeconfig", "User", "flatten", "parse"]

MAX_CONTEXTS = 8
"""Also the most clusters and users: more of them could not be in use."""
_MAX_NAME = 512
_MAX_NODES = 10_000
_MAX_NODES_TO_FLATTEN = 1_000_000  # the user's own file, with all the clusters of which one is sent
_FILES = {"cluster": ("certificate-authority",), "user": ("client-certificate", "client-key", "tokenFile")}

_CERTIFICATE_BODY = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)

_Entry = TypeVar("_Entry", Context, Cluster, User)


@dataclass(frozen=True)
class Kubeconfig:
    """Names are unique, references lead somewhere, clusters have a server. No credential in its repr."""

    current_context: str
    contexts: tuple[Context, ...]
    clusters: tuple[Cluster, ...]
    users: tuple[User, ...]

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
        one = _named(self.contexts, context)
        users = tuple(user for user in self.users if user.name == one.user)
        return Kubeconfig(one.name, (one,), (self.cluster_of(context),), users)

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


def parse(text: str, allowed: Allowed) -> Kubeconfig:
    """Read and check a kubeconfig file's content."""
    _check_size(text)
    return _checked(_top(text, _MAX_NODES), allowed)


def flatten(
    text: str, read_file: Callable[[str], bytes], context: str | None = None, *, all_contexts: bool = False
) -> str:
    """What to send of the kubeconfig on a user's machine: the current context or `context`, files embedded.

    `read_file` resolves relative paths; its OSError becomes a KubeconfigError. Credentials that a program on that
    machine would fetch (`exec`, `auth-provider`) are refused; what else a service may refuse is for it to say.
    """
    top = _top(text, _MAX_NODES_TO_FLATTEN)
    current = context or top.text("current-context")
    contexts = list(top.each("contexts"))
    _check_current(top, current, [entry.text("name") for entry in contexts])
    contexts = [entry for entry in contexts if all_contexts or entry.text("name") == current]
    kept: dict[str, Value] = {**top.values, "current-context": current}
    kept["contexts"] = [dict(entry.values) for entry in contexts]
    for kind, files in _FILES.items():
        used = {entry.within("context").text(kind) for entry in contexts}
        entries = [entry for entry in top.each(f"{kind}s") if entry.text("name") in used]
        bodies = [_embed(entry.within(kind, entry.text("name")), files, read_file) for entry in entries]
        kept[f"{kind}s"] = [{**entry.values, kind: body} for entry, body in zip(entries, bodies, strict=True)]
    return _checked(Fields(kept), Allowed(proxy_url=True, insecure_tls=True, loopback=True)).dump()


def _check_size(text: str) -> None:
    if len(text) > KUBECONFIG_BYTES or len(text.encode(errors="surrogatepass")) > KUBECONFIG_BYTES:
        raise KubeconfigError(f"is over {KUBECONFIG_BYTES // 1024} KiB; {FLATTEN} keeps one context only")


def _top(text: str, max_nodes: int) -> Fields:
    value = strict_yaml.load(text, max_nodes=max_nodes)
    if not isinstance(value, dict):
        raise KubeconfigError(f"is not a mapping with clusters, users and contexts; send the output of {FLATTEN}")
    return Fields(value)


def _checked(top: Fields, allowed: Allowed) -> Kubeconfig:
    if top.text("kind") not in ("", "Config") or top.text("apiVersion") not in ("", "v1"):
        raise KubeconfigError("is something else: a kubeconfig has `kind: Config` and `apiVersion: v1`")
    config = Kubeconfig(
        top.text("current-context"),
        contexts=tuple(Context.read(*entry) for entry in _entries(top, "contexts", "context")),
        clusters=tuple(Cluster.read(*entry, allowed) for entry in _entries(top, "clusters", "cluster")),
        users=tuple(User.read(*entry, allowed) for entry in _entries(top, "users", "user")),
    )
    _check_references(top, config)
    _check_size(config.dump())  # quotes in a password are escaped there, so it can be twice the caller's text
    return config


def _entries(top: Fields, section: str, kind: str) -> Iterator[tuple[str, Fields]]:
    entries = list(top.each(section))
    if len(entries) > MAX_CONTEXTS:
        raise top.error(section, f"has {len(entries)} entries, more than {MAX_CONTEXTS}; {FLATTEN} keeps one context")
    seen = set[str]()
    for entry in entries:
        name = entry.text("name")
        if not 0 < len(name) <= _MAX_NAME:
            raise entry.error("name", f"must have 1 to {_MAX_NAME} characters")
        if name in seen:
            raise entry.error("name", f"{shown(name)} is another entry's name already; give each its own")
        seen.add(name)
        yield name, entry.within(kind, name)


def _check_references(top: Fields, config: Kubeconfig) -> None:
    _check_current(top, config.current_context, [context.name for context in config.contexts])
    clusters = {cluster.name for cluster in config.clusters}
    users = {user.name for user in config.users} | {""}
    for n, context in enumerate(config.contexts):
        body = Fields({}, f"contexts[{n}].context.", context.name)
        for kind, name, names in (("cluster", context.cluster, clusters), ("user", context.user, users)):
            if name not in names:
                raise body.error(kind, f"{shown(name)} does not exist; send the output of {FLATTEN}")


def _check_current(top: Fields, current: str, contexts: list[str]) -> None:
    if current not in contexts:
        what = f"{shown(current)} does not exist" if current else "is missing"
        there = ", ".join(map(shown, contexts[:MAX_CONTEXTS])) or "there are none"
        raise top.error("current-context", f"{what}; name one of the contexts ({there})")


def _embed(body: Fields, files: tuple[str, ...], read_file: Callable[[str], bytes]) -> dict[str, Value]:
    """The fields, with the content of files instead of their names."""
    for key in ("exec", "auth-provider"):
        if body.values.get(key) is not None:
            raise body.error(key, f"needs a program on your machine; put a token there instead: {CREATE_ONE}")
    values = {key: value for key, value in body.values.items() if key not in files}
    for key in files:
        if not body.has(key):
            continue
        if key == "tokenFile":  # wins over `token`, as in client-go
            values["token"] = _content(body, key, read_file).decode(errors="replace").strip()
        elif not body.has(f"{key}-data"):  # loses to the data, as in client-go
            values[f"{key}-data"] = base64.b64encode(_content(body, key, read_file)).decode()
    return values


def _content(body: Fields, key: str, read_file: Callable[[str], bytes]) -> bytes:
    path = body.text(key)
    try:
        content = read_file(path)
    except OSError as error:
        problem = f"{shown(path)} cannot be read ({error.strerror}); correct or remove it"
        raise body.error(key, problem) from error
    if not content.strip():
        raise body.error(key, f"{shown(path)} is an empty file; correct or remove it")
    return content


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
