"""A person's login to the page: OpenID Connect's authorization code, with PKCE, state and nonce.

The browser goes to the issuer and comes back with a code. The service exchanges that for tokens, so the page speaks
to nobody else, and an issuer need not answer web pages. Nothing is kept here: what belongs together in one login
(state, nonce, verifier) is in the browser's tab, and so are the tokens afterwards. The client has no secret.

https://openid.net/specs/openid-connect-core-1_0.html, RFC 7636 (PKCE), RFC 9207 (`iss`), RFC 9700 (security).
"""

import hmac
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from k8s_mcp.auth.discovery import FAILURES, IssuerClient, safe_url
from k8s_mcp.auth.oidc import Oidc
from k8s_mcp.errors import InvalidRequest, StartError, Unauthorized, Unavailable

PATH = "/login"
"""For everybody: GET says where to go, POST exchanges what a browser has come back with."""
_LONGEST = 16 * 1024
_AGAIN_SECONDS = 300.0  # after which the issuer is asked anew where its endpoints are


class CameBack(BaseModel):
    """What a browser has after a login: `code`, with the three values of its request; or later a `refresh_token`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    code: str = Field("", max_length=_LONGEST)
    redirect_uri: str = Field("", max_length=2048)
    verifier: str = Field("", max_length=128)
    nonce: str = Field("", max_length=128)
    refresh_token: str = Field("", max_length=_LONGEST)

    def form(self) -> dict[str, str]:
        """As the issuer's token endpoint wants it. Raises InvalidRequest."""
        if self.refresh_token:
            return {"grant_type": "refresh_token", "refresh_token": self.refresh_token}
        for name in ("code", "redirect_uri", "verifier", "nonce"):
            if not getattr(self, name):
                raise InvalidRequest(name, "is needed, unless there is a refresh_token")
        return {
            "grant_type": "authorization_code",
            "code": self.code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": self.verifier,
        }


class Login:
    """At the issuer of `oidc`, as its client `client_id`, asking for `scopes`."""

    def __init__(self, oidc: Oidc | None, issuer: str, client_id: str, scopes: Sequence[str]) -> None:
        """Raises StartError."""
        if oidc is None:
            raise StartError("K8S_MCP_OIDC_CLIENT_ID (--oidc-client-id) needs K8S_MCP_OIDC_ISSUER (--oidc-issuer)")
        self._oidc = oidc
        self._client_id = client_id
        self._scope = " ".join(dict.fromkeys(("openid", *scopes)))
        self._client = IssuerClient(issuer)
        self._document: tuple[float, Mapping[str, Any]] | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Keep connections to the issuer until the context ends."""
        async with self._client.open():
            yield

    async def way(self) -> dict[str, object]:
        """Where a browser is to go, and with what. Raises Unavailable."""
        document = await self._issuer()
        return {
            "issuer": self._client.issuer,
            "authorization_endpoint": _endpoint(document, "authorization_endpoint"),
            "client_id": self._client_id,
            "scope": self._scope,
            "says_issuer": document.get("authorization_response_iss_parameter_supported") is True,
        }

    async def tokens(self, came_back: CameBack) -> dict[str, object]:
        """The token with which to call this service, the seconds it holds, and a refresh token if there is one.

        Raises InvalidRequest, Unauthorized, Unavailable.
        """
        form = {**came_back.form(), "client_id": self._client_id}
        url = _endpoint(await self._issuer(), "token_endpoint")
        try:
            status, answer = await self._client.post(url, form)
        except FAILURES as error:
            raise _away(error) from None
        if status != 200:
            raise Unauthorized(f"the issuer did not accept the login: {_word(answer.get('error'))}; log in again")
        if came_back.code:
            await self._check_id_token(answer, came_back.nonce)
        for name in ("access_token", "id_token"):
            given = answer.get(name)
            if isinstance(given, str) and (left := await self._left(given)):
                refresh = answer.get("refresh_token")
                more = {"refresh_token": refresh} if isinstance(refresh, str) and refresh else {}
                return {"token": given, "expires_in": left, **more}
        raise Unauthorized(
            "the issuer gave no token for this service: neither its access token nor its ID token has an audience of "
            "K8S_MCP_OIDC_AUDIENCES; the operator can mend that"
        )

    async def _check_id_token(self, answer: Mapping[str, Any], nonce: str) -> None:
        """It is the issuer's, for this client, and the answer to this very login."""
        id_token = answer.get("id_token")
        if not isinstance(id_token, str):
            raise Unauthorized("the issuer gave no ID token; log in again")
        claims = await self._oidc.verified(id_token, [self._client_id])
        if not hmac.compare_digest(str(claims.get("nonce")).encode(), nonce.encode()):
            raise Unauthorized("the issuer's answer belongs to another login; log in again")

    async def _left(self, token: str) -> int:
        """For how many seconds this service accepts a token; 0 for one that it does not."""
        try:
            if await self._oidc.principal(token) is None:
                return 0
        except Unauthorized:
            return 0
        return self._oidc.seconds_left(token, time.time())

    async def _issuer(self) -> Mapping[str, Any]:
        now = time.monotonic()
        if self._document is None or self._document[0] < now - _AGAIN_SECONDS:
            try:
                self._document = now, await self._client.document()
            except FAILURES as error:
                raise _away(error) from None
        return self._document[1]


def _endpoint(document: Mapping[str, Any], name: str) -> str:
    try:
        return safe_url(str(document.get(name)))
    except ValueError as error:
        raise _away(error) from None


def _away(error: BaseException) -> Unavailable:
    return Unavailable(f"the issuer of tokens cannot be asked: {error or type(error).__name__}")


def _word(given: object) -> str:
    """One of OAuth's words for an error (RFC 6749, 5.2), and nothing that an issuer was made to repeat."""
    short = isinstance(given, str) and given.isascii() and given.replace("_", "").isalpha() and len(given) <= 64
    return str(given) if short else "for no reason that it names"
