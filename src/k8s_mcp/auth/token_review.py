"""Tokens of Kubernetes service accounts: the API server of the cluster for runner pods says whose they are.

https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/
"""

import asyncio
import hashlib
import logging
import math
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from k8s_mcp.auth.oidc import unverified
from k8s_mcp.cluster.client import Api, ApiError, ApiUnreachable, Json
from k8s_mcp.errors import Unauthorized, Unavailable
from k8s_mcp.models import Principal

_ACCOUNT = "system:serviceaccount:"
_CACHE_SECONDS = 10.0
"""So long a token is accepted after it was withdrawn: its pod, or its account, deleted."""
_CACHE_SIZE = 1000
_AT_A_TIME = 16
_WAIT_SECONDS = 5.0

_logger = logging.getLogger(__name__)


class TokenReview:
    """Accepts service accounts' tokens that were made for `audience`. `connect` connects to the API server."""

    def __init__(self, audience: str, connect: AbstractAsyncContextManager[Api]) -> None:
        self._audience = audience
        self._connect = connect
        self._known: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()
        self._asking = asyncio.Semaphore(_AT_A_TIME)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Be connected until the context ends. Raises StartError."""
        async with self._connect as self._api:
            yield

    async def principal(self, token: str) -> Principal | None:
        """Whose token it is; None for one of another kind. Raises Unauthorized, Unavailable.

        What does not even claim to be for us is refused without a call, so that strangers cannot make us call.
        """
        _, claims = unverified(token)
        subject = claims.get("sub")
        if not isinstance(subject, str) or not subject.startswith(_ACCOUNT):
            return None
        audiences = claims.get("aud")
        if self._audience not in (audiences if isinstance(audiences, list) else [audiences]):
            raise Unauthorized(f"the service account's token is not for the audience {self._audience}")
        left = _seconds_left(claims.get("exp"))
        if left <= 0:
            raise Unauthorized("the service account's token has expired; read it again from its file")
        key = hashlib.sha256(token.encode()).digest()
        principal, until = self._known.get(key, (None, 0.0))
        if principal is None or time.monotonic() >= until:
            principal = self._read(await self._review(token))
            self._remember(key, principal, min(left, _CACHE_SECONDS))
        return principal

    async def _review(self, token: str) -> Json:
        try:
            async with asyncio.timeout(_WAIT_SECONDS), self._asking:
                return await self._api.review_token(token, self._audience)
        except (ApiError, ApiUnreachable, TimeoutError) as error:
            said = error.reason if isinstance(error, ApiError) else type(error).__name__
            forbidden = isinstance(error, ApiError) and error.status in (401, 403)
            advice = "; it needs to create tokenreviews (docs/authentication.md has the role)" if forbidden else ""
            _logger.log(logging.ERROR if forbidden else logging.WARNING, "TokenReview: %s%s", said, advice)
            raise Unavailable(
                "the API server that knows service accounts cannot be asked right now; send the request again"
            ) from None

    def _read(self, status: Json) -> Principal:
        """Raises Unauthorized."""
        user: Json = status.get("user") or {}
        name = user.get("username")
        if not status.get("authenticated") or not isinstance(name, str):
            raise Unauthorized("the API server does not accept this service account's token, or no longer")
        if self._audience not in (status.get("audiences") or []):
            raise Unauthorized(f"the service account's token is not for the audience {self._audience}")
        if not name.startswith(_ACCOUNT):
            raise Unauthorized("the token is not that of a service account")
        groups: list[Any] = user.get("groups") or []
        return Principal(name, frozenset(group for group in groups if isinstance(group, str)))

    def _remember(self, key: bytes, principal: Principal, seconds: float) -> None:
        self._known[key] = (principal, time.monotonic() + seconds)
        self._known.move_to_end(key)
        while len(self._known) > _CACHE_SIZE:
            self._known.popitem(last=False)


def _seconds_left(expires: object) -> float:
    """By a claim that anybody may have written: whether it is true, the API server says."""
    if not isinstance(expires, int | float):
        return _CACHE_SECONDS
    try:
        left = float(expires) - time.time()
    except OverflowError:
        return _CACHE_SECONDS
    return left if math.isfinite(left) else _CACHE_SECONDS
