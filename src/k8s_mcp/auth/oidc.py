"""Tokens of an OpenID Connect issuer: JWTs that are checked here, with the issuer's public keys.

RFC 7519, RFC 8725 (what to beware of), RFC 9068 (access tokens).
"""

import base64
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import jwt
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAudienceError,
    InvalidIssuedAtError,
    PyJWTError,
)

from k8s_mcp.auth.discovery import safe_url
from k8s_mcp.auth.jwks import ALGORITHMS, Jwks
from k8s_mcp.errors import InsufficientScope, StartError, Unauthorized
from k8s_mcp.models import READ_SCOPE, WRITE_SCOPE, Principal

PREFIX = "oidc:"
"""Of names and groups: an issuer cannot make anybody the principal of another kind of token."""
_LEEWAY = 30.0
_TYPES = frozenset(("jwt", "at+jwt"))
_MOST_NAME = 256
_MOST_GROUPS = 1000
_SCOPE_CLAIMS = ("scope", "scp")  # RFC 9068; and as Microsoft and Okta name it


class Oidc:
    """Accepts tokens of `issuer` for one of `audiences`. The claims say which of a token's claims name the principal
    and its groups. `require_scopes`: one of our scopes must be in it.
    """

    def __init__(
        self,
        issuer: str,
        audiences: Sequence[str],
        principal_claim: str,
        groups_claim: str,
        *,
        require_scopes: bool = False,
    ) -> None:
        """Raises StartError."""
        try:
            self._issuer = safe_url(issuer)
        except ValueError as error:
            raise StartError(f"K8S_MCP_OIDC_ISSUER (--oidc-issuer): {error}") from None
        if not audiences:
            raise StartError(
                "K8S_MCP_OIDC_AUDIENCES (--oidc-audiences) is needed with an issuer: "
                "a token that was made for another service must not open this one"
            )
        self._audiences = list(audiences)
        self._principal_claim = principal_claim
        self._groups_claim = groups_claim
        self._require_scopes = require_scopes
        self._jwks = Jwks(issuer)
        self._jwt = jwt.PyJWT({"enforce_minimum_key_length": True})

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Keep the issuer's keys until the context ends."""
        async with self._jwks.open():
            yield

    async def trouble(self) -> str | None:
        """Why the issuer's keys cannot be had right now."""
        return await self._jwks.trouble()

    async def principal(self, token: str) -> Principal | None:
        """Whose token it is; None for one of another issuer, or no JWT.

        Raises Unauthorized, InsufficientScope, Unavailable.
        """
        header, claims = unverified(token)
        if claims.get("iss") != self._issuer:
            return None
        return self._principal(await self._verified(token, header, self._audiences))

    @staticmethod
    def seconds_left(token: str, now: float) -> int:
        """Until a token that was accepted expires."""
        return max(int(unverified(token)[1]["exp"] - now), 1)

    async def verified(self, token: str, audiences: Sequence[str]) -> Mapping[str, Any]:
        """The claims of a token that is the issuer's, for one of `audiences`, and holds now.

        Raises Unauthorized, Unavailable.
        """
        return await self._verified(token, unverified(token)[0], audiences)

    async def _verified(self, token: str, header: Mapping[str, Any], audiences: Sequence[str]) -> Mapping[str, Any]:
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS or not isinstance(kid, str | None):
            raise Unauthorized("the token is not signed in a way that is accepted")
        kind = header.get("typ", "jwt")
        if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _TYPES:
            raise Unauthorized("this is a token of the issuer, but no access or ID token")
        key = await self._jwks.key(kid, algorithm)
        if key is None:
            raise Unauthorized("the token's issuer has no key that could have signed it")
        return self._decoded(token, key, algorithm, audiences)

    def _decoded(self, token: str, key: jwt.PyJWK, algorithm: str, audiences: Sequence[str]) -> Mapping[str, Any]:
        try:
            return self._jwt.decode(
                token,
                key,
                [algorithm],
                {"require": ["exp", "iss", "aud"]},
                audience=audiences,
                issuer=self._issuer,
                leeway=_LEEWAY,
            )
        except ExpiredSignatureError:
            raise Unauthorized("the token has expired; get a new one from its issuer") from None
        except InvalidAudienceError:
            raise Unauthorized("the token is for another audience than this service") from None
        except (ImmatureSignatureError, InvalidIssuedAtError):
            raise Unauthorized("the token is not valid yet; is one of the clocks wrong?") from None
        except PyJWTError:
            raise Unauthorized("the token does not verify, or lacks one of the claims exp, iss and aud") from None

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        name = claims.get(self._principal_claim)
        if not isinstance(name, str) or not 0 < len(name) <= _MOST_NAME or not name.isprintable():
            raise Unauthorized("the token does not name its principal in the claim that the operator has chosen")
        if self._principal_claim == "email" and claims.get("email_verified", True) is not True:
            raise Unauthorized("the token's email address is not verified")
        given: Any = claims.get(self._groups_claim, [])
        groups = cast("list[Any]", given) if isinstance(given, list) else [given]
        names = [group for group in groups[:_MOST_GROUPS] if isinstance(group, str) and group.isprintable()]
        scopes = _scopes(claims)
        if self._require_scopes and not scopes & {READ_SCOPE, WRITE_SCOPE}:
            raise InsufficientScope("the token has none of this service's scopes", READ_SCOPE)
        only_reads = READ_SCOPE in scopes and WRITE_SCOPE not in scopes
        found = frozenset(f"{PREFIX}{group}" for group in names)
        return Principal(f"{PREFIX}{name}", found, only_reads=only_reads)


def _scopes(claims: Mapping[str, Any]) -> set[str]:
    """As one text with spaces between, or a list."""
    found = set[str]()
    for claim in _SCOPE_CLAIMS:
        given: Any = claims.get(claim)
        values = cast("list[Any]", given) if isinstance(given, list) else [given]
        found.update(*(value.split() for value in values if isinstance(value, str)))
    return found


def unverified(token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Header and claims of a JWT as anybody may have written them; empty for what is no JWT."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}, {}
    header, claims = map(_object, parts[:2])
    return (header, claims) if header and claims else ({}, {})


def _object(part: str) -> Mapping[str, Any]:
    try:
        value = json.loads(base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        return {}
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}
