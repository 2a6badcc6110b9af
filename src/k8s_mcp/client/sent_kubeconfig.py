"""What is sent of the caller's kubeconfig: the chosen contexts, with everything in them that a service needs.

One function turns any kubeconfig that kubectl would use into that: files are embedded, credential plugins run here.
"""

import base64
import errno
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from k8s_mcp.client.exec_plugin import Credential, Plugin, credential
from k8s_mcp.client.kubeconfig_files import Entry, FileError, Merged
from k8s_mcp.client.openid import id_token
from k8s_mcp.errors import KubeconfigError
from k8s_mcp.kubeconfig.entries import CREATE_ONE, Allowed
from k8s_mcp.kubeconfig.fields import Fields, shown
from k8s_mcp.kubeconfig.kubeconfig import MAX_CONTEXTS, check_current, checked
from k8s_mcp.kubeconfig.strict_yaml import Value
from k8s_mcp.limits import KUBECONFIG_BYTES

_FILES = ("certificate-authority", "client-certificate", "client-key")
_OF_THIS_MACHINE = Allowed(proxy_url=True, insecure_tls=True, loopback=True)
"""What else a service may refuse is for it to say."""


@dataclass(frozen=True)
class Choice:
    """Which contexts are sent. `context` is used instead of the current one; empty: the current one."""

    context: str = ""
    all_contexts: bool = False
    stdin_is_free: bool = True


def read_some(path: Path) -> bytes:
    """The content of a file that a kubeconfig names. Raises OSError."""
    with path.open("rb") as file:
        content = file.read(KUBECONFIG_BYTES + 1)
    if len(content) > KUBECONFIG_BYTES:
        raise OSError(errno.EFBIG, f"over {KUBECONFIG_BYTES // 1024} KiB")
    return content


@dataclass(frozen=True)
class Machine:
    """What kubeconfigs may reach on this machine: files, and credential plugins."""

    read: Callable[[Path], bytes] = read_some
    plugin: Plugin = credential


@dataclass(frozen=True)
class Sent:
    """`text` is the kubeconfig. `expires` is when the first of its credentials ends, as far as plugins say."""

    text: str
    expires: datetime | None = None


def prepare(merged: Merged, choice: Choice, tell: Callable[[str], None], machine: Machine | None = None) -> Sent:
    """What to send. Raises FileError for the context that is to be used; tells of others that are left out."""
    current = choice.context or merged.current_context
    try:
        check_current(Fields({}), current, list(merged.contexts))
    except KubeconfigError as error:
        raise FileError(f"the kubeconfig {merged.shown}: {error.fields[0][1]}") from error
    parts = _Parts(merged, machine or Machine(), stdin_is_free=choice.stdin_is_free)
    parts.add(current)
    for name in merged.contexts if choice.all_contexts else ():
        if name == current:
            continue
        if len(parts.contexts) == MAX_CONTEXTS:
            tell(f"{len(merged.contexts) - MAX_CONTEXTS} contexts are left out: at most {MAX_CONTEXTS} can be sent")
            break
        try:
            parts.add(name)
        except FileError as error:
            tell(f"the context {shown(name)} is left out: {error}")
    return parts.sent(current, tell)


class _Parts:
    """What is sent so far. A user's credential is fetched once, for the first context that needs it."""

    def __init__(self, merged: Merged, machine: Machine, *, stdin_is_free: bool) -> None:
        self.contexts: dict[str, Value] = {}
        self._merged = merged
        self._machine = machine
        self._clusters: dict[str, dict[str, Value]] = {}
        self._users: dict[str, dict[str, Value]] = {}
        self._stdin_is_free = stdin_is_free
        self._expires: list[datetime] = []

    def add(self, name: str) -> None:
        """Raises FileError."""
        entry = self._merged.contexts[name]
        try:
            body = entry.fields.within("context", name)
            cluster, user = body.text("cluster"), body.text("user")
            for kind, wanted, there in (
                ("cluster", cluster, self._merged.clusters),
                ("user", user, self._merged.users),
            ):
                if wanted not in there and (wanted or kind == "cluster"):
                    raise body.error(kind, f"{shown(wanted)} does not exist; correct it, or choose another context")
        except KubeconfigError as error:
            raise entry.error(error) from error
        self._add_cluster(cluster)
        if user:
            self._add_user(user, cluster)
        self.contexts[name] = dict(body.values)

    def sent(self, current: str, tell: Callable[[str], None]) -> Sent:
        """Raises FileError."""
        fields = Fields(
            {
                "current-context": current,
                "contexts": _list("context", self.contexts),
                "clusters": _list("cluster", self._clusters),
                "users": _list("user", self._users),
            }
        )
        try:
            config = checked(fields, _OF_THIS_MACHINE)
        except KubeconfigError as error:
            raise FileError(f"the kubeconfig {self._merged.shown}: {error.fields[0][1]}") from error
        for one in config.left_out:
            tell(f"the context {shown(one.context)} is left out: {one.why}")
        return Sent(config.dump(), min(self._expires, default=None))

    def _add_cluster(self, name: str) -> None:
        if name not in self._clusters:
            entry = self._merged.clusters[name]
            try:
                self._clusters[name] = self._embedded(entry.fields.within("cluster", name), entry)
            except KubeconfigError as error:
                raise entry.error(error) from error

    def _add_user(self, name: str, cluster: str) -> None:
        if name not in self._users:
            entry = self._merged.users[name]
            try:
                self._users[name] = self._with_credential(entry, name, cluster)
            except KubeconfigError as error:
                raise entry.error(error) from error

    def _with_credential(self, entry: Entry, name: str, cluster: str) -> dict[str, Value]:
        """The user with whatever kubectl would authenticate with; what stands in the file wins over a plugin."""
        body = entry.fields.within("user", name)
        values = self._embedded(body, entry)
        plugin, provider = values.pop("exec", None), values.pop("auth-provider", None)
        if any(values.get(key) for key in ("token", "username", "password", "client-certificate-data")):
            return values
        if plugin is not None:
            place = entry.source.directory
            found = self._machine.plugin(body.within("exec"), place, self._clusters[cluster], self._stdin_is_free)
            if found.expires:
                self._expires.append(found.expires)
            return values | _fields(found)
        if provider is not None:
            return values | {"token": _of_provider(body)}
        return values

    def _embedded(self, body: Fields, entry: Entry) -> dict[str, Value]:
        """The fields, with the content of files instead of their names. Data wins over a file, as in client-go."""
        values = {key: value for key, value in body.values.items() if key not in (*_FILES, "tokenFile")}
        for key in _FILES:
            if body.has(key) and not body.has(f"{key}-data"):
                values[f"{key}-data"] = _base64(self._content(body, key, entry))
        if body.has("tokenFile"):  # this one wins, as in client-go
            values["token"] = self._content(body, "tokenFile", entry).decode(errors="replace").strip()
        return values

    def _content(self, body: Fields, key: str, entry: Entry) -> bytes:
        path = body.text(key)
        try:
            content = self._machine.read(entry.source.directory / path)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "a NUL character"
            problem = f"{shown(path)} cannot be read ({why}); correct or remove it"
            raise body.error(key, problem) from error
        if not content.strip():
            raise body.error(key, f"{shown(path)} is an empty file; correct or remove it")
        return content


def _fields(found: Credential) -> dict[str, Value]:
    pairs = {"client-certificate-data": found.certificate, "client-key-data": found.key}
    encoded: dict[str, Value] = {key: _base64(text.encode()) for key, text in pairs.items() if text}
    return encoded | ({"token": found.token} if found.token else {})


def _of_provider(body: Fields) -> str:
    """Of `oidc`, which alone is known to kubectl: it renews the token in the file when that has ended."""
    provider = body.within("auth-provider")
    if provider.text("name") != "oidc":
        raise body.error("auth-provider", f"is gone from kubectl; put a token there instead: {CREATE_ONE}")
    return id_token(provider.within("config"))


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _list(kind: str, entries: "dict[str, Value] | dict[str, dict[str, Value]]") -> list[Value]:
    return [{"name": name, kind: body} for name, body in entries.items()]
