"""The service's own credential that changes while it serves: a token in a file, or what an `exec` plugin says.

As client-go does it: a file is read again every minute, a plugin asked again when what it said has expired; both also
when the API server no longer accepts it. No message quotes a credential, nor what a plugin wrote.
https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from ssl import SSLContext
from typing import Any, Protocol

from k8s_mcp.cluster.answers import ApiUnreachable

_PLUGIN_SECONDS = 60.0
_FORCED_SECONDS = 10.0
"""Between two looks at a file, or calls of a plugin, that only a refusal asks for: an API server may refuse all."""
_FILE_SECONDS = 60.0

_logger = logging.getLogger(__name__)


class NoCredential(ApiUnreachable):
    """The service has no credential for the API server at this moment."""


@dataclass(frozen=True)
class Shown:
    """What the API server is shown: a header, or a certificate and its key (PEM); good until then, if it is said."""

    authorization: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    expires: datetime | None = None


class Source(Protocol):
    """Where it comes from."""

    @property
    def seconds(self) -> float | None:
        """How long it is good where it does not say so itself."""
        ...

    async def read(self) -> Shown:
        """Raises OSError, TimeoutError and ValueError."""
        ...


class TokenFile:
    """A file that somebody else keeps up to date."""

    seconds: float | None = _FILE_SECONDS

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self) -> Shown:
        token = (await asyncio.to_thread(self._path.read_text)).strip()
        if not token.isascii() or not token.isprintable() or not token:
            raise ValueError(f"{self._path} holds no token")
        return Shown(f"Bearer {token}")


class Plugin:
    """A program that says it, on its standard output; what it writes on standard error goes to the service's own."""

    seconds: float | None = None

    def __init__(self, said: Mapping[str, Any], directory: Path, cluster: Mapping[str, Any]) -> None:
        """`said`: the kubeconfig's `exec`. Raises ValueError."""
        command = said.get("command")
        if not isinstance(command, str) or not command or said.get("interactiveMode") == "Always":
            raise ValueError("exec: needs a command that asks nobody")
        self._command = str(directory / command) if "/" in command else command
        self._arguments = [str(argument) for argument in said.get("args") or ()]
        self._version = str(said.get("apiVersion", ""))
        asked: dict[str, Any] = {"interactive": False}
        if said.get("provideClusterInfo"):
            asked["cluster"] = cluster
        info = {"apiVersion": self._version, "kind": "ExecCredential", "spec": asked}
        self._environment = {str(item["name"]): str(item["value"]) for item in said.get("env") or ()}
        self._environment["KUBERNETES_EXEC_INFO"] = json.dumps(info)

    async def read(self) -> Shown:
        process = await asyncio.create_subprocess_exec(
            self._command,
            *self._arguments,
            env={**os.environ, **self._environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_PLUGIN_SECONDS):
                output, _ = await process.communicate()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if process.returncode:
            raise ValueError(f"{self._command} ended with {process.returncode}")
        return self._shown(output)

    def _shown(self, output: bytes) -> Shown:
        try:
            said = json.loads(output)
            status: Mapping[str, Any] = said["status"]
            texts = [status.get(key) or "" for key in ("token", "clientCertificateData", "clientKeyData")]
            token, certificate, key = (text.strip() if isinstance(text, str) else "" for text in texts)
            right = said["kind"] == "ExecCredential" and said["apiVersion"] == self._version
            until = status.get("expirationTimestamp")
            expires = datetime.fromisoformat(until) if until else None
        except (AttributeError, KeyError, TypeError, ValueError):
            right, token, certificate, key, expires = False, "", "", "", None
        usable = token.isascii() and (not token or token.isprintable()) and bool(certificate) == bool(key)
        if not right or not usable or not (token or certificate) or (expires and expires.tzinfo is None):
            raise ValueError(f"{self._command} said nothing that is an ExecCredential of {self._version}")
        return Shown(f"Bearer {token}" if token else "", certificate, key, expires)


def changing(user: dict[str, Any], directory: Path, cluster: Mapping[str, Any]) -> Source | None:
    """What a user of a kubeconfig in that directory has that changes, with client-go's precedence; it is taken out.

    Raises ValueError.
    """
    plugin, file = user.pop("exec", None), user.pop("tokenFile", None)
    if file:
        user.pop("token", None)
        return TokenFile(directory / str(file))
    return Plugin(plugin, directory, cluster) if plugin and not user.get("token") else None


class Credential:
    """What is shown now. `on_certificate` is called with what holds another certificate than before."""

    def __init__(self, source: Source, on_certificate: Callable[[Shown], None]) -> None:
        self._source = source
        self._on_certificate = on_certificate
        self._reading = asyncio.Lock()
        self._shown: Shown | None = None
        self._read_at = 0.0
        self._forced_at = -_FORCED_SECONDS

    async def shown(self) -> Shown:
        """Raises NoCredential when there is none, nor an earlier one to try."""
        async with self._reading:
            shown = self._shown
            return shown if shown and not self._is_over(shown) else await self._read()

    async def renewed(self, refused: Shown) -> bool:
        """After the API server has refused it: whether there is another now. Raises NoCredential."""
        async with self._reading:
            now = asyncio.get_running_loop().time()
            if self._shown == refused and now >= self._forced_at + _FORCED_SECONDS:
                self._forced_at = now
                await self._read()
            return self._shown != refused

    def _age(self) -> float:
        return asyncio.get_running_loop().time() - self._read_at

    def _is_over(self, shown: Shown) -> bool:
        if shown.expires is not None:
            return shown.expires <= datetime.now(UTC) and self._age() >= 1
        return self._source.seconds is not None and self._age() >= self._source.seconds

    async def _read(self) -> Shown:
        try:
            found = await self._source.read()
        except (OSError, TimeoutError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            if self._shown is None or not isinstance(self._source, TokenFile):
                raise NoCredential(f"no credential for the API server: {why}") from None
            _logger.warning("the token for the API server is the one that was read before: %s", why)
            found = self._shown
        self._read_at = asyncio.get_running_loop().time()
        before, self._shown = self._shown, found
        if found.certificate and (before is None or before.certificate != found.certificate):
            self._on_certificate(found)
        return found


def load_certificate(context: SSLContext, shown: Shown) -> None:
    """Show it on new connections. The key is on no disk meanwhile. Raises OSError."""
    file = os.memfd_create("certificate")
    with os.fdopen(file, "w") as written:
        written.write(f"{shown.certificate}\n{shown.key}\n")
        written.flush()
        context.load_cert_chain(f"/proc/self/fd/{file}")
