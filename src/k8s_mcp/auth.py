"""Who may call. Without authentication everyone is one principal, and only local hosts are served."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from k8s_mcp.errors import Forbidden
from k8s_mcp.models import Principal

ANONYMOUS = Principal("anonymous")
LOCAL_HOSTS = frozenset(("localhost", "127.0.0.1", "::1"))


def principal_of(request: Request) -> Principal:
    """Who sent the request."""
    return request.scope["principal"]


def known_principal(scope: Scope) -> Principal | None:
    """Who sent the request of this scope, if that is known already."""
    return scope.get("principal")


class Guard:
    """Keeps browsers from becoming callers: on every path, before anything else looks at the request.

    A request with an `Origin` that is not allowed is a web page's (CSRF); one with a `Host` that is neither local nor
    allowed was sent to a name that an attacker pointed at us (DNS rebinding). `refuse` answers both.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Iterable[str],
        origins: Iterable[str],
        refuse: Callable[[Forbidden], ASGIApp],
    ) -> None:
        self._app = app
        self._hosts = LOCAL_HOSTS | {host.lower() for host in hosts}
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            self._check(Headers(scope=scope))
        except Forbidden as error:
            await self._refuse(error)(scope, receive, send)
        else:
            client = scope.get("client")
            scope["principal"] = replace(ANONYMOUS, address=client[0] if client else "")
            await self._app(scope, receive, send)

    def _check(self, headers: Headers) -> None:
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in self._origins:
            raise Forbidden(
                "requests from web pages of this origin are not allowed; "
                "the operator can add it to K8S_MCP_ALLOWED_ORIGINS"
            )
        if len(headers.getlist("host")) != 1 or _host(headers["host"]) not in self._hosts:
            raise Forbidden(
                "the service is not reached under this host name; the operator can add it to K8S_MCP_ALLOWED_HOSTS"
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a service that listens on `host`."""
    return host.lower() in LOCAL_HOSTS or host.startswith("127.")


def _host(header: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""
