"""Credential plugins, run on the caller's machine as kubectl runs them: a program prints a token or a certificate.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from k8s_mcp.errors import KubeconfigError
from k8s_mcp.kubeconfig import strict_yaml
from k8s_mcp.kubeconfig.entries import Allowed, Exec
from k8s_mcp.kubeconfig.fields import Fields, shown
from k8s_mcp.kubeconfig.strict_yaml import Number, Value

_EXTENSION = "client.authentication.k8s.io/exec"
_MAX_NODES = 1000
_CLUSTER_FIELDS = (
    "server",
    "tls-server-name",
    "insecure-skip-tls-verify",
    "certificate-authority-data",
    "proxy-url",
    "disable-compression",
)


@dataclass(frozen=True)
class Credential:
    """What a plugin printed: a token, a certificate with its key (PEM), or both; and when it ends, if it says so."""

    token: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    expires: datetime | None = None


Plugin = Callable[[Fields, Path, Mapping[str, Value], bool], Credential]
"""As `credential`."""


def credential(
    body: Fields,
    directory: Path,
    cluster: Mapping[str, Value],
    stdin_is_free: bool,
) -> Credential:
    """Run the plugin that `exec`, which is `body`, describes. Raises KubeconfigError, with nothing secret in it.

    `cluster` has the cluster's fields, files embedded, for a plugin that wants to know. What the plugin writes to
    standard error comes through, and with `stdin_is_free` it may ask on the terminal.
    """
    plugin = Exec.read(body, Allowed(exec_plugins=None))
    if not plugin.command:
        raise body.error("command", "is missing: name the credential plugin")
    interactive = _interactive(body, stdin_is_free)
    spec: dict[str, object] = {"interactive": interactive}
    if plugin.provide_cluster_info:
        spec["cluster"] = _cluster_info(cluster)
    info = json.dumps({"kind": "ExecCredential", "apiVersion": plugin.api_version, "spec": spec})
    environment = {**os.environ, **dict(plugin.env), "KUBERNETES_EXEC_INFO": info}
    printed = _run(body, [_program(body, plugin.command, directory), *plugin.args], environment, interactive)
    return _read(body, plugin, printed)


def _interactive(body: Fields, stdin_is_free: bool) -> bool:
    mode = body.text("interactiveMode") or "IfAvailable"
    terminal = stdin_is_free and sys.stdin is not None and sys.stdin.isatty()
    if mode == "Always" and not terminal:
        raise body.error("command", "wants to ask on a terminal, which standard input is not")
    return terminal and mode != "Never"


def _program(body: Fields, command: str, directory: Path) -> str:
    """A name is looked for in PATH; a path is relative to the kubeconfig."""
    import shutil  # noqa: PLC0415 # most kubeconfigs need none

    is_path = os.path.dirname(command) != ""  # noqa: PTH120 # `./aws` is one, which Path would make a name
    name = str(directory / command) if is_path else command
    found = shutil.which(name if name == command else os.path.abspath(name))  # noqa: PTH100 # keeps symbolic links
    if found is None:
        hint = " ".join(body.text("installHint", lines=True).split())
        where = "is not an executable file" if is_path else "is not in PATH"
        raise body.error(
            "command", f"{shown(command)} {where}; kubectl needs it here as well{f': {hint}' if hint else ''}"
        )
    return found


def _run(body: Fields, words: list[str], environment: Mapping[str, str], interactive: bool) -> str:
    import subprocess  # noqa: PLC0415 # most kubeconfigs need none

    stdin = None if interactive else subprocess.DEVNULL
    command = body.text("command")
    try:
        done = subprocess.run(words, env=environment, stdin=stdin, stdout=subprocess.PIPE, check=False)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "a NUL character"
        raise body.error("command", f"{shown(command)} cannot be started ({why})") from None
    if done.returncode:
        how = f"exit code {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
        raise body.error("command", f"{shown(command)} failed with {how}; what it said is above")
    try:
        return done.stdout.decode()
    except UnicodeDecodeError:
        raise body.error("command", f"{shown(command)} printed something that is not text") from None


def _read(body: Fields, plugin: Exec, printed: str) -> Credential:
    name = shown(plugin.command)
    try:
        value = strict_yaml.load(printed, max_nodes=_MAX_NODES, as_kubectl=True)
    except KubeconfigError:
        value = None
    if not isinstance(value, dict) or value.get("kind") != "ExecCredential":
        raise body.error("command", f"{name} printed no ExecCredential; run it by hand to see what is wrong")
    if value.get("apiVersion") != plugin.api_version:
        raise body.error("command", f"{name} printed another apiVersion than the kubeconfig's, {plugin.api_version}")
    status = Fields(value, f"{name} printed an ExecCredential: ").within("status")
    found = Credential(
        status.text("token"),
        status.text("clientCertificateData", lines=True),
        status.text("clientKeyData", lines=True),
        _time(status, "expirationTimestamp"),
    )
    if bool(found.certificate) != bool(found.key):
        raise body.error("command", f"{name} printed a certificate without its key, or a key without its certificate")
    if not found.token and not found.certificate:
        raise body.error("command", f"{name} printed neither a token nor a certificate")
    return found


def _time(status: Fields, key: str) -> datetime | None:
    text = status.text(key)
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise status.error(key, "must be a time as in RFC 3339: 2030-01-31T12:00:00Z")
    return time


def _cluster_info(cluster: Mapping[str, Value]) -> dict[str, object]:
    info: dict[str, object] = {key: cluster[key] for key in _CLUSTER_FIELDS if cluster.get(key)}
    for item in Fields(cluster).each("extensions"):
        if item.text("name") == _EXTENSION:
            info["config"] = _plain(item.values.get("extension"))
    return info


def _plain(value: Value) -> Any:
    """For JSON."""
    match value:
        case Number():
            try:
                return json.loads(value.text)
            except ValueError:  # as YAML alone writes it
                return value.text
        case list():
            return [_plain(item) for item in value]
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case _:
            return value
