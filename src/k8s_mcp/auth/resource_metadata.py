"""OAuth 2.0 Protected Resource Metadata (RFC 9728): by it an MCP client finds out where to get a token.

https://modelcontextprotocol.io/specification/2025-11-25/basic/authorization
"""

from collections.abc import Sequence
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Scope

WELL_KNOWN = "/.well-known/oauth-protected-resource"
_RESOURCES = ("", "/mcp", "/sse")
PATHS = frozenset(f"{WELL_KNOWN}{path}" for path in _RESOURCES)
"""One for the service, one for each path at which MCP clients may have been told to find it."""


class ResourceMetadata:
    """Says that tokens for this service, whose own address is `url`, come from `issuer`.

    Without `url` the address is the one to which the request was sent.
    """

    def __init__(self, issuer: str, scopes: Sequence[str], url: str) -> None:
        self._issuer = issuer
        self._scopes = list(dict.fromkeys(scopes))
        self._url = url.rstrip("/")

    def routes(self) -> list[Route]:
        return [Route(path, self._answer, methods=["GET"]) for path in sorted(PATHS)]

    def challenge(self, scope: Scope) -> str:
        """The parameter of WWW-Authenticate that leads to the document for the path of a request; "" if none can."""
        base = self._base(scope)
        path = scope["path"] if scope["path"] in _RESOURCES else ""
        return f'resource_metadata="{base}{WELL_KNOWN}{path}"' if base else ""

    async def _answer(self, request: Request) -> JSONResponse:
        base = self._base(request.scope)
        document: dict[str, object] = {
            "resource": f"{base}{request.scope['path'].removeprefix(WELL_KNOWN)}" if base else "",
            "authorization_servers": [self._issuer],
            "bearer_methods_supported": ["header"],
            "resource_name": "k8s-mcp-server",
        }
        if self._scopes:
            document["scopes_supported"] = self._scopes
        if not base:
            return JSONResponse({}, HTTPStatus.BAD_REQUEST)
        return JSONResponse(document, headers={"Cache-Control": "no-store"})

    def _base(self, scope: Scope) -> str:
        if self._url:
            return self._url
        host = Headers(scope=scope).get("host", "")
        plain = all(character.isalnum() or character in "-._:[]" for character in host) and host.isascii()
        return f"{scope['scheme']}://{host}" if host and plain else ""
