"""Requests that are refused, wherever that happens: told to an observer, without a word of what they said."""

from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from k8s_mcp.auth.guard import known_principal
from k8s_mcp.models import ClusterRequest, RunRequest
from k8s_mcp.observe.facts import Observe, Refused, Via
from k8s_mcp.web.words import TITLES

_NOTED = "k8s_mcp.refusal"
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"))
_PATHS = frozenset(
    (
        *("sse", "runs", "clusters", "me", "page", "mcp", "messages"),
        *("healthz", "readyz", "version", "metrics", "docs", "openapi.json", ".well-known"),
    )
)
_FIELDS = frozenset(
    (
        *RunRequest.model_fields,
        *ClusterRequest.model_fields,
        *("body", "name", "run_id", "all", "since", "watch", "past", "before", "limit", "timed"),
        *("Idempotency-Key", "Last-Event-ID"),
        *("start_line", "max_lines", "stream", "grep"),
    )
)
OTHER = "(other)"
"""Stands for a name that is not one of ours, and could be anything."""


@dataclass
class _Noted:
    """Why a request was refused, if whoever did so has said why."""

    reason: str = ""
    fields: tuple[str, ...] = ()


def note(scope: Scope, reason: str, fields: tuple[str, ...] = ()) -> None:
    """Say why the request of this scope is refused: the name of a kind of error, and which fields were wrong."""
    if _NOTED in scope:
        scope[_NOTED].reason, scope[_NOTED].fields = reason, fields


def known(fields: tuple[str, ...]) -> tuple[str, ...]:
    """The names that are ours; a caller can send a field of any name."""
    return tuple(dict.fromkeys(field if field in _FIELDS else OTHER for field in fields))


class Refusals:
    """Tells `observe` about every request that is answered with an error, whoever answers it."""

    def __init__(self, app: ASGIApp, observe: Observe) -> None:
        self._app = app
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        noted = _Noted()
        scope[_NOTED] = noted
        status = 0

        async def send_and_see(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_see)
        except Exception:
            status = status or HTTPStatus.INTERNAL_SERVER_ERROR
            raise
        finally:
            if status >= HTTPStatus.BAD_REQUEST and not _is_ordinary(scope, status):
                self._observe(_fact(scope, status, noted))


def _is_ordinary(scope: Scope, status: int) -> bool:
    """Not being ready is an answer, for which probes ask every few seconds; and each MCP client asks for streams."""
    return (scope["path"], status) in (
        ("/readyz", HTTPStatus.SERVICE_UNAVAILABLE),
        ("/mcp", HTTPStatus.METHOD_NOT_ALLOWED),
        ("/sse", HTTPStatus.METHOD_NOT_ALLOWED),
    )


def _fact(scope: Scope, status: int, noted: _Noted) -> Refused:
    client = scope.get("client")
    first = scope["path"].split("/")[1] if scope["path"].startswith("/") else ""
    via: Via = "mcp" if first in ("mcp", "messages") else "http"
    return Refused(
        status=int(status),
        reason=noted.reason or TITLES.get(status, HTTPStatus(status).name.replace("_", " ").title()).replace(" ", ""),
        via=via,
        method=scope["method"] if scope["method"] in _METHODS else OTHER,
        path=f"/{first}" if first in _PATHS else OTHER,
        fields=known(noted.fields),
        principal=known_principal(scope),
        address=client[0] if client else "",
    )
