"""Lets pages of configured origins call the service from a browser: preflights, and what a page may see of an answer.

https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

_METHODS = ("GET", "POST", "PUT", "DELETE")
_REQUEST_HEADERS = (
    "Authorization",
    "Idempotency-Key",
    "Last-Event-ID",
    "Mcp-Method",
    "Mcp-Name",
    "Mcp-Protocol-Version",
    "Mcp-Session-Id",
)
"""Besides those that need no permission, and `Content-Type`."""
_RESPONSE_HEADERS = ("Mcp-Session-Id", "Retry-After", "WWW-Authenticate")
_SECONDS = 600
"""How long a browser may go by one preflight."""


class Cors:
    """Stands in front of the guard, since a browser asks without credentials whether it may send some.

    Only for `origins`; any other request is passed on as it is, and the guard refuses those of other origins. Cookies
    mean nothing here, so `Access-Control-Allow-Credentials` is never said.
    """

    def __init__(self, app: ASGIApp, origins: Iterable[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)
        self._cors = CORSMiddleware(
            app,
            allow_origins=self._origins,
            allow_methods=_METHODS,
            allow_headers=_REQUEST_HEADERS,
            expose_headers=_RESPONSE_HEADERS,
            allow_private_network=True,  # a public page, a service in the company's network: that is configured, too
            max_age=_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        allowed = scope["type"] == "http" and Headers(scope=scope).get("origin") in self._origins
        await (self._cors if allowed else self._app)(scope, receive, send)
