"""What `k8s-mcp check` says of listening and of callers: all for which `serve` would not start, and more."""

import errno
import os
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import httpx2

from k8s_mcp.auth.guard import is_loopback
from k8s_mcp.auth.oidc import Oidc
from k8s_mcp.auth.tokens import Tokens
from k8s_mcp.cli.finding import Finding
from k8s_mcp.cli.serve import certificate_of, refused_host
from k8s_mcp.errors import StartError
from k8s_mcp.settings import Settings


async def of_service(settings: Settings) -> AsyncGenerator[Finding]:
    """A finding for each part that is set."""
    yield _address(settings)
    parts: list[tuple[bool, str, Callable[[Settings], Awaitable[str]], str]] = [
        (
            bool(settings.tls_certificate or settings.tls_key),
            "TLS",
            _tls,
            "name two PEM files of one pair",
        ),
        (bool(settings.auth_tokens), "tokens", _tokens, "`k8s-mcp token NAME --file FILE` makes the first one"),
        (bool(settings.oidc_issuer), "OpenID Connect", _oidc, "docs/authentication.md says what it needs"),
    ]
    for is_set, what, look, advice in parts:
        if is_set:
            try:
                yield Finding(what, "ok", await look(settings))
            except StartError as error:
                yield Finding(what, "failed", str(error), advice)


def _address(settings: Settings) -> Finding:
    what, where = "address", f"{settings.host}:{settings.port}"
    refused = refused_host(settings)
    if refused:
        return Finding(what, "failed", refused, "see docs/authentication.md")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(address)
            one.listen()
    except (OSError, UnicodeError) as error:
        number = error.errno if isinstance(error, OSError) else None
        if number == errno.EADDRINUSE and _is_ours(settings):
            return Finding(what, "note", f"a k8s-mcp service listens on {where}", "nothing, if it is this one")
        why = os.strerror(number) if number and number in errno.errorcode else str(error)
        return Finding(what, "failed", f"cannot listen on {where}: {why}", "--host and --port name another")
    return Finding(what, "ok", f"{where} is free")


def _is_ours(settings: Settings) -> bool:
    host = settings.host if is_loopback(settings.host) else "127.0.0.1"
    scheme = "https" if settings.tls_key else "http"
    try:
        url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}/version"
        answer = httpx2.get(url, verify=ssl._create_unverified_context(), trust_env=False, timeout=5)  # noqa: S323, SLF001 # pyright: ignore[reportPrivateUsage]
        found: Any = answer.json()
    except (httpx2.HTTPError, ValueError):
        return False
    return isinstance(found, dict) and cast("dict[str, object]", found).get("name") == "k8s-mcp-server"


async def _tls(settings: Settings) -> str:
    certificate = certificate_of(settings)
    if certificate is None:
        return "none"
    async with certificate.open():
        return f"{settings.tls_certificate} and its key can be used"


async def _tokens(settings: Settings) -> str:
    async with Tokens(Path(settings.auth_tokens)).open():
        return f"{settings.auth_tokens} can be read"


async def _oidc(settings: Settings) -> str:
    oidc = Oidc(
        settings.oidc_issuer, settings.oidc_audiences, settings.oidc_principal_claim, settings.oidc_groups_claim
    )
    async with oidc.open():
        trouble = await oidc.trouble()
    if trouble:
        raise StartError(f"cannot get the keys of {settings.oidc_issuer}: {trouble}")
    return f"{settings.oidc_issuer} gives its keys"
