"""Who may call. Nothing is served before it is known who asks, but for the few paths that are for everybody."""

import re
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from k8s_mcp.auth.host import LOCAL_HOSTS, Served, host_of
from k8s_mcp.errors import Forbidden, InsufficientScope, K8sMcpError, Unauthorized
from k8s_mcp.models import Principal
from k8s_mcp.transport.connections import HOLD, InProgress

ANONYMOUS = Principal("anonymous")
"""Everybody, where there is no authentication."""
OPEN_PATHS: frozenset[str] = frozenset(("/healthz", "/readyz"))
"""For everybody: whatever probes the service has no token."""

_PRINCIPAL = "k8s_mcp.principal"
_HINT = "k8s_mcp_challenge_hint"
_TOKEN_BYTES = 16 * 1024
_BEARER = re.compile("Bearer +([A-Za-z0-9._~+/-]+=*) *", re.IGNORECASE)  # RFC 6750, 2.1
_HOW = "send one as `Authorization: Bearer …`"


def principal_of(request: Request) -> Principal:
    """Who sent the request. A request that nobody has looked at has no principal, and is no one's: KeyError."""
    return request.scope[_PRINCIPAL]


def known_principal(scope: Scope) -> Principal | None:
    """Who sent the request of this scope, if that is known already."""
    return scope.get(_PRINCIPAL)


def challenge_of(error: Unauthorized | InsufficientScope, scope: Scope) -> str:
    """WWW-Authenticate for an error, with what the guard of the request adds."""
    hint = scope[_HINT](scope) if _HINT in scope else ""
    return f"{error.challenge}{',' if ' ' in error.challenge else ''} {hint}" if hint else error.challenge


class Authenticator(Protocol):
    """One kind of credential."""

    def open(self) -> AbstractAsyncContextManager[None]:
        """Be ready until the context ends. Raises StartError."""
        ...

    async def principal(self, token: str) -> Principal | None:
        """Whose token it is; None for one of another kind.

        Raises Unauthorized for one that is not accepted, InsufficientScope for one that is for something else,
        Unavailable when that cannot be known right now.
        """
        ...


class Authentication:
    """All kinds of credentials that are accepted, asked one after the other; none where nobody has to show one.

    Each principal may have `most_requests` in progress.
    """

    def __init__(self, kinds: Sequence[Authenticator], most_requests: int) -> None:
        self.kinds = kinds
        self.in_progress = InProgress(most_requests)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Be ready until the context ends. Raises StartError."""
        async with AsyncExitStack() as stack:
            for kind in self.kinds:
                await stack.enter_async_context(kind.open())
            yield

    async def principal(self, headers: Headers) -> Principal:
        """Who sends a request with these headers. Raises Unauthorized, InsufficientScope, Unavailable."""
        given = headers.getlist("authorization")
        if not given:
            raise Unauthorized(f"this service wants to know who is calling: its operator gives you a token; {_HOW}")
        token = _BEARER.fullmatch(given[0])
        if len(given) > 1 or token is None or len(token[1]) > _TOKEN_BYTES:
            raise _invalid(f"the Authorization header is not one bearer token; {_HOW}")
        try:
            for kind in self.kinds:
                principal = await kind.principal(token[1])
                if principal is not None:
                    return principal
        except Unauthorized as error:
            raise _invalid(error.message) from None
        raise _invalid("the token is of no kind that this service accepts; its operator says which one to send")


@dataclass(frozen=True)
class Open:
    """What is for everybody: `paths`, `html` for who asks for HTML, and to send something to `login`."""

    paths: Collection[str] = OPEN_PATHS
    html: Collection[str] = ()
    login: str = ""

    def has(self, method: str, path: str, headers: Headers) -> bool:
        """Whether a request is one of these."""
        if method not in ("GET", "HEAD"):
            return method == "POST" and path == self.login != ""
        return path in self.paths or (path in self.html and wants_html(headers))


class Guard:
    """On every path, before anything else looks at a request or reads its body: keeps browsers from becoming callers,
    and says who calls.

    A `Host` that is not `served` is a name that an attacker pointed at us (DNS rebinding); that page has no token, so
    with `authentication` any name will do. A request with an `Origin` is a web page's, and refused unless that is
    served (CSRF). What is `open` needs no principal, and has none. `refuse` makes the answer to an error; its second
    argument says whether a body may follow. `hint` gives a parameter for WWW-Authenticate.
    """

    def __init__(
        self,
        app: ASGIApp,
        served: Served,
        refuse: Callable[[K8sMcpError, bool], ASGIApp],
        authentication: Authentication,
        open: "Open | None" = None,  # noqa: A002 - nothing here opens a file
        hint: Callable[[Scope], str] = lambda _: "",
    ) -> None:
        self._app = app
        self._served = served
        self._refuse = refuse
        self._authentication = authentication
        self._open = open or Open()
        self._hint = hint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        scope[_HINT] = self._hint
        with ExitStack() as in_progress:
            try:
                principal = await self._check(scope, headers)
                if principal is not None and self._authentication.kinds:
                    in_progress.enter_context(self._authentication.in_progress.one_more(principal.name))
            except K8sMcpError as error:
                body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
                await self._refuse(error, body)(scope, receive, send)
                return
            if principal is not None:
                client = scope.get("client")
                scope[_PRINCIPAL] = replace(principal, address=client[0] if client else "")
                if HOLD in scope:
                    scope[HOLD]()
            await self._app(scope, receive, send)

    async def _check(self, scope: Scope, headers: Headers) -> Principal | None:
        host = host_of(headers, scope["http_version"])
        if not self._authentication.kinds and not self._served.has_host(host):
            raise Forbidden(
                "the service is not reached under this host name; the operator can add it to K8S_MCP_ALLOWED_HOSTS"
            )
        origins = headers.getlist("origin")
        if not all(self._served.has_origin(origin, host, scope["scheme"]) for origin in origins):
            raise Forbidden(
                "requests from web pages of this origin are not allowed; "
                "the operator can add it to K8S_MCP_ALLOWED_ORIGINS"
            )
        if not self._authentication.kinds:
            return ANONYMOUS
        if self._open.has(scope["method"], scope["path"], headers):
            return None
        return await self._authentication.principal(headers)


def wants_html(headers: Headers) -> bool:
    """Whether they are those of a browser that opens an address."""
    return "text/html" in headers.get("accept", "")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a service that listens on `host`."""
    return host.lower() in LOCAL_HOSTS or host.startswith("127.")


def _invalid(message: str) -> Unauthorized:
    error = Unauthorized(message)
    error.challenge = 'Bearer error="invalid_token"'
    return error
