"""An OpenID Connect issuer, as it is asked: its discovery document, and what that leads to.

https://openid.net/specs/openid-connect-discovery-1_0.html
"""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any, cast
from urllib.parse import urlsplit

import httpx2

TIMEOUT = 5.0
"""Seconds for a request."""
FAILURES = (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError, ValueError)
"""All that asking an issuer can end with, what it answers included."""
_MOST_BYTES = 1024 * 1024
_DOCUMENT = "/.well-known/openid-configuration"


class IssuerClient:
    """Asks the issuer of that URL, which has a slash at its end only where the issuer's own name has one."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Keep connections until the context ends: by the environment's proxies, except to this machine itself."""
        local = _is_loopback(urlsplit(self.issuer).hostname or "")
        async with httpx2.AsyncClient(timeout=TIMEOUT, trust_env=not local, follow_redirects=False) as self._http:
            yield

    async def document(self) -> Mapping[str, Any]:
        """What the issuer says of itself. Raises one of FAILURES."""
        document = await self.get(f"{self.issuer.rstrip('/')}{_DOCUMENT}")
        if document.get("issuer") != self.issuer:
            raise ValueError(f"the discovery document is that of another issuer, {document.get('issuer')!r}")
        return document

    async def get(self, url: str) -> Mapping[str, Any]:
        """The JSON object there. Raises one of FAILURES."""
        status, content = await self._ask("GET", url)
        if status != 200:  # not followed: a redirect could lead anywhere
            raise ValueError(f"{url} answered {status}")
        return _object(url, content)

    async def post(self, url: str, form: Mapping[str, str]) -> tuple[int, Mapping[str, Any]]:
        """The status and the JSON object that a form is answered with. Raises one of FAILURES."""
        status, content = await self._ask("POST", url, form)
        if status // 100 in (3, 5):
            raise ValueError(f"{url} answered {status}")
        return status, _object(url, content)

    async def _ask(self, method: str, url: str, form: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        content = bytearray()
        async with self._http.stream(method, url, data=form) as response:
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > _MOST_BYTES:
                    raise ValueError(f"{url} answered with over {_MOST_BYTES} bytes")
            return response.status_code, bytes(content)


def _object(url: str, content: bytes) -> Mapping[str, Any]:
    value = json.loads(content)
    if not isinstance(value, dict):
        raise ValueError(f"{url} answered with no JSON object")  # noqa: TRY004 # data, not a programming error
    return cast("Mapping[str, Any]", value)


def safe_url(url: str) -> str:
    """`url`, if nobody on the way can change what it answers: https, or this machine. Raises ValueError."""
    parts = urlsplit(url)
    if not parts.hostname or parts.username is not None:
        raise ValueError(f"{url!r} is no URL")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
        raise ValueError(f"{url!r} must begin with https://")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
