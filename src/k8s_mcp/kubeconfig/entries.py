"""The entries of a kubeconfig: what is kept of contexts, clusters, users; how it is checked and written.

Fields not named here are dropped, as kubectl ignores them. Fields that reach outside the file are refused
unless `Allowed` says otherwise; those that name files, and `auth-provider`, always. Combinations are checked
as kubectl checks them.
"""

import re
from dataclasses import dataclass, field, replace

from k8s_mcp.kubeconfig.fields import CERTIFICATE, FLATTEN, PRIVATE_KEY, Fields, shown
from k8s_mcp.kubeconfig.plugin_secrets import secrets_of
from k8s_mcp.kubeconfig.strict_yaml import Value

CREATE_ONE = "`kubectl create token SERVICEACCOUNT` makes one"


@dataclass(frozen=True)
class Allowed:
    """What kubeconfigs may do beyond naming clusters and carrying credentials: by default, nothing."""

    # `command` exactly as written; args and env are the caller's. None: any
    exec_plugins: frozenset[str] | None = frozenset()
    proxy_url: bool = False
    insecure_tls: bool = False
    loopback: bool = False  # for the local executor


@dataclass(frozen=True)
class Context:
    """A cluster and a user. Without a user, requests carry no credential."""

    name: str
    cluster: str
    user: str = ""
    namespace: str = ""

    @classmethod
    def read(cls, name: str, body: Fields) -> "Context":
        """Whether cluster and user exist is not its business."""
        namespace = body.text("namespace")
        if not re.fullmatch(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?", namespace):
            raise body.error("namespace", "is no namespace's name: up to 63 of a-z, 0-9 and -")
        return cls(name, body.text("cluster"), body.text("user"), namespace)

    def written(self) -> dict[str, Value]:
        return _without_empty({"cluster": self.cluster, "user": self.user, "namespace": self.namespace})


@dataclass(frozen=True)
class Cluster:
    """An API server. Plain http is accepted: kubectl sends no credential over it."""

    name: str
    server: str  # scheme://host[:port][/path], as Fields.url makes it
    certificate_authority_data: str = field(default="", repr=False)
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    disable_compression: bool = False
    proxy_url: str = ""

    @classmethod
    def read(cls, name: str, body: Fields, allowed: Allowed) -> "Cluster":
        _refuse_files(body, "certificate-authority")
        if not body.has("server"):
            raise body.error("server", "is missing; give the API server's URL, https://HOST:PORT")
        insecure = body.flag("insecure-skip-tls-verify")
        if insecure and not allowed.insecure_tls:
            raise body.error("insecure-skip-tls-verify", "is not allowed here; use certificate-authority-data")
        if insecure and body.has("certificate-authority-data"):
            raise body.error("insecure-skip-tls-verify", "contradicts certificate-authority-data: leave it out")
        tls_server_name = body.text("tls-server-name")
        if not re.fullmatch(r"[A-Za-z0-9._:-]{0,253}", tls_server_name):
            raise body.error("tls-server-name", "is no host's name; send the name in the certificate")
        return cls(
            name,
            server=body.url("server", ("https", "http"), loopback=allowed.loopback),
            certificate_authority_data=body.pem("certificate-authority-data", CERTIFICATE),
            insecure_skip_tls_verify=insecure,
            tls_server_name=tls_server_name,
            disable_compression=body.flag("disable-compression"),
            proxy_url=_proxy_url(body, allowed),
        )

    def written(self) -> dict[str, Value]:
        values: dict[str, Value] = {
            "server": self.server,
            "certificate-authority-data": self.certificate_authority_data,
            "insecure-skip-tls-verify": self.insecure_skip_tls_verify,
            "tls-server-name": self.tls_server_name,
            "disable-compression": self.disable_compression,
            "proxy-url": self.proxy_url,
        }
        return _without_empty(values)


@dataclass(frozen=True)
class Exec:
    """A credential plugin. Arguments and environment are not shown: either can hold a credential."""

    command: str
    api_version: str
    args: tuple[str, ...] = field(default=(), repr=False)
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    interactive_mode: str = "Never"
    provide_cluster_info: bool = False

    @classmethod
    def read(cls, body: Fields, allowed: Allowed) -> "Exec":
        command = body.text("command")
        if allowed.exec_plugins is not None and command not in allowed.exec_plugins:
            raise body.error("command", f"{shown(command)} is not allowed here; send a token: {CREATE_ONE}")
        api_version = body.text("apiVersion")
        if not re.fullmatch(r"client\.authentication\.k8s\.io/v1(beta1)?", api_version):
            raise body.error("apiVersion", "must be client.authentication.k8s.io/v1 or /v1beta1")
        mode = body.text("interactiveMode") or cls.interactive_mode
        if mode not in ("Never", "IfAvailable", "Always"):
            raise body.error("interactiveMode", "must be Never, IfAvailable or Always")
        env = tuple((item.text("name"), item.text("value", lines=True)) for item in body.each("env"))
        if not all(name and "=" not in name for name, _ in env):
            raise body.error("env", "has a variable without a name, or with = in its name")
        args = body.texts("args", lines=True)
        return cls(command, api_version, args, env, mode, body.flag("provideClusterInfo"))

    def written(self) -> dict[str, Value]:
        values: dict[str, Value] = {
            "apiVersion": self.api_version,
            "command": self.command,
            "args": list(self.args),
            "env": [{"name": name, "value": value} for name, value in self.env],
            "interactiveMode": self.interactive_mode,
            "provideClusterInfo": self.provide_cluster_info,
        }
        return _without_empty(values)


@dataclass(frozen=True)
class User:
    """A credential: one of client certificate, token, password, plugin, or none; and whom to impersonate."""

    name: str
    client_certificate_data: str = field(default="", repr=False)
    client_key_data: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)
    exec: Exec | None = None
    impersonate: str = ""
    impersonate_uid: str = ""
    impersonate_groups: tuple[str, ...] = ()
    impersonate_extra: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def read(cls, name: str, body: Fields, allowed: Allowed) -> "User":
        _refuse_files(body, "client-certificate", "client-key", "tokenFile")
        if body.values.get("auth-provider") is not None:
            raise body.error("auth-provider", f"is gone from kubectl; send a token instead: {CREATE_ONE}")
        has_exec = body.values.get("exec") is not None
        user = cls(
            name,
            client_certificate_data=body.pem("client-certificate-data", CERTIFICATE),
            client_key_data=body.pem("client-key-data", PRIVATE_KEY),
            token=body.secret("token"),
            username=body.text("username"),
            password=body.secret("password"),
            exec=Exec.read(body.within("exec"), allowed) if has_exec else None,
            impersonate=body.text("as"),
            impersonate_uid=body.text("as-uid"),
            impersonate_groups=body.texts("as-groups"),
            impersonate_extra=_impersonate_extra(body),
        )
        if [bool(user.token), bool(user.username or user.password), has_exec].count(True) > 1:
            raise body.error("token", "or username and password, or exec: kubectl takes only one; leave out the rest")
        if bool(user.client_certificate_data) != bool(user.client_key_data):
            raise body.error("client-key-data", "and client-certificate-data belong together; send both")
        if (user.impersonate_uid or user.impersonate_groups or user.impersonate_extra) and not user.impersonate:
            raise body.error("as", "is missing; as-uid, as-groups and as-user-extra need it")
        return user

    def secrets(self) -> tuple[str, ...]:
        of_plugin = secrets_of(self.exec.args, self.exec.env) if self.exec else ()
        return (self.token, self.password, self.client_key_data, *of_plugin)

    def written(self) -> dict[str, Value]:
        values: dict[str, Value] = {
            "client-certificate-data": self.client_certificate_data,
            "client-key-data": self.client_key_data,
            "token": self.token,
            "username": self.username,
            "password": self.password,
            "exec": self.exec.written() if self.exec else None,
            "as": self.impersonate,
            "as-uid": self.impersonate_uid,
            "as-groups": list(self.impersonate_groups),
            "as-user-extra": {key: list(values) for key, values in self.impersonate_extra},
        }
        return _without_empty(values)


def _proxy_url(body: Fields, allowed: Allowed) -> str:
    if not body.has("proxy-url"):
        return ""
    if not allowed.proxy_url:
        raise body.error("proxy-url", "is not allowed here: the service connects by itself; leave it out")
    return body.url("proxy-url", ("https", "http", "socks5"), loopback=allowed.loopback)


def _impersonate_extra(body: Fields) -> tuple[tuple[str, tuple[str, ...]], ...]:
    extra = body.within("as-user-extra")
    if not all(re.fullmatch(r"[!-~]{1,253}", key) for key in extra.values):
        raise body.error("as-user-extra", "has a key that is not 1 to 253 visible ASCII characters")
    # "*" because messages do not show what the file says
    return tuple((key, replace(extra, values={"*": values}).texts("*")) for key, values in extra.values.items())


def _refuse_files(body: Fields, *keys: str) -> None:
    for key in keys:
        if body.has(key):
            # kubectl does not embed token files
            instead = "token" if key == "tokenFile" else f"{key}-data: {FLATTEN}"
            raise body.error(key, f"names a file; embed its content as {instead}")


def _without_empty(values: dict[str, Value]) -> dict[str, Value]:
    return {key: value for key, value in values.items() if value}
