"""The public keys of an OpenID Connect issuer, found by discovery, and again when they change: RFC 7517."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from jwt import PyJWK
from jwt.exceptions import PyJWTError

from k8s_mcp.auth.discovery import FAILURES, TIMEOUT, IssuerClient, safe_url
from k8s_mcp.beside import beside
from k8s_mcp.errors import Unavailable

REFRESH_SECONDS = 300.0
"""A key that the issuer has withdrawn is accepted for so long, and longer only while the issuer cannot be asked."""
LEAST_SECONDS = 10.0
"""Between two requests, whatever callers send."""

_FAMILIES: Mapping[str, tuple[str, ...]] = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("EdDSA",),
}
ALGORITHMS = frozenset(name for names in _FAMILIES.values() for name in names)
"""Those with a public key that verifies and a private one that signs."""

_logger = logging.getLogger(__name__)


class Jwks:
    """The keys of `issuer`, a URL without a slash at its end unless the issuer has one there."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._client = IssuerClient(issuer)
        self._keys: list[Mapping[str, Any]] = []
        self._made: dict[tuple[str, str], PyJWK] = {}
        self._asked: float | None = None
        self._trouble: str | None = None
        self._asking = asyncio.Lock()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Ask every few minutes until the context ends. An issuer out of reach is no reason not to start."""
        async with self._client.open(), beside(self._refresh):
            yield

    async def trouble(self) -> str | None:
        """Why the keys cannot be had, as the last answer was, or the first one is."""
        if self._asked is None:
            await self._ask()
        return self._trouble

    async def key(self, kid: str | None, algorithm: str) -> PyJWK | None:
        """The issuer's key of that id, or its only one when a token names none; None when it has no such key.

        An id not seen before is asked for, at most every ten seconds. Raises Unavailable when that is not possible.
        """
        found = self._find(kid, algorithm)
        if found is None and self._may_ask():
            await self._ask()
            found = self._find(kid, algorithm)
        if found is None and self._trouble is not None:
            raise Unavailable("the issuer of tokens cannot be asked for its keys right now; send the request again")
        return found

    async def _refresh(self) -> None:
        while True:
            await self._ask()
            await asyncio.sleep(REFRESH_SECONDS if self._trouble is None else LEAST_SECONDS)

    def _may_ask(self) -> bool:
        return self._asked is None or time.monotonic() - self._asked >= LEAST_SECONDS or self._asking.locked()

    async def _ask(self) -> None:
        """One request at a time: whoever comes meanwhile has the answer of the one that is under way."""
        before = self._asked
        async with self._asking:
            if self._asked != before and self._asked is not None:
                return
            try:
                async with asyncio.timeout(TIMEOUT):
                    document = await self._client.document()
                    self._keys = _keys_in(await self._client.get(safe_url(str(document.get("jwks_uri")))))
                self._made.clear()
                trouble = None
            except FAILURES as error:
                trouble = str(error) or type(error).__name__
            finally:
                self._asked = time.monotonic()
            if trouble and trouble != self._trouble:
                _logger.error("cannot get the keys of %s: %s; those known so far still hold", self._issuer, trouble)
            if self._trouble and not trouble:
                _logger.info("have the keys of %s again", self._issuer)
            self._trouble = trouble

    def _find(self, kid: str | None, algorithm: str) -> PyJWK | None:
        made = self._made.get((kid or "", algorithm))
        if made is not None:
            return made
        fitting = [
            key
            for key in self._keys
            if algorithm in _FAMILIES.get(str(key.get("kty")), ())
            and key.get("alg", algorithm) == algorithm
            and key.get("use", "sig") == "sig"
            and (kid is None or key.get("kid") == kid)
        ]
        if len(fitting) != 1:
            return None
        try:
            made = PyJWK(dict(fitting[0]), algorithm)
        except PyJWTError as error:
            _logger.error("a key of %s cannot be used: %s", self._issuer, type(error).__name__)  # noqa: TRY400
            return None
        self._made[kid or "", algorithm] = made
        return made


def _keys_in(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    keys = document.get("keys")
    if not isinstance(keys, list):
        raise ValueError("the key set has no list of keys")  # noqa: TRY004 # data, not a programming error
    return [key for key in cast("list[Any]", keys) if isinstance(key, dict)]
