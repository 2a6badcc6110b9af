"""What an API server answers, as values or as errors. Total: whatever comes is one or the other. No I/O.

What stands before an API server answers too: load balancers, proxies, login pages, with any status and any bytes.
Only what looks like an API server's own word is believed. So a 404 without a Kubernetes `Status` does not mean that
something is gone.

    ApiError            the API server refused a call
    ApiUnreachable      no answer
    └── OddAnswer       an answer, but none of an API server

No message quotes an answer that may hold a Secret.
https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from k8s_mcp.cluster import shapes
from k8s_mcp.cluster.shapes import Json, Misshapen, Shape

_FINE = frozenset((HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED))
_SAID_BY_ANYBODY = frozenset((HTTPStatus.UNAUTHORIZED, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS))
_PASSING = frozenset((HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS))
_SERVER_ERROR = 500
_QUOTED = 80
_MOST_SECONDS = 60.0
_NO_LOG = frozenset(("application/json", "application/xhtml+xml", "text/html"))
_REASONS: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "Unauthorized",
    HTTPStatus.FORBIDDEN: "Forbidden",
    HTTPStatus.NOT_FOUND: "NotFound",
    HTTPStatus.CONFLICT: "Conflict",
    HTTPStatus.REQUEST_TIMEOUT: "Timeout",
    HTTPStatus.GONE: "Gone",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Invalid",
    HTTPStatus.TOO_MANY_REQUESTS: "TooManyRequests",
    HTTPStatus.SERVICE_UNAVAILABLE: "ServiceUnavailable",
    HTTPStatus.GATEWAY_TIMEOUT: "Timeout",
}
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class ApiError(Exception):
    """The API server refused a call, with a Kubernetes `Status`. `retry_after`: in seconds, if it was said."""

    def __init__(self, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    @property
    def is_passing(self) -> bool:
        """Whether the same call may well succeed later."""
        return self.status >= _SERVER_ERROR or self.status in _PASSING

    @property
    def is_conflict(self) -> bool:
        """Whether something is not as the call supposed: it exists already, is another one, or has changed."""
        return self.status == HTTPStatus.CONFLICT


class ApiUnreachable(Exception):
    """No answer from the API server."""


class OddAnswer(ApiUnreachable):
    """Something answered, but not as an API server does."""


def value(status: int, headers: Mapping[str, str], body: bytes, shape: Shape) -> Json:
    """The object in a whole answer. Raises ApiError and OddAnswer."""
    if status not in _FINE:
        raise error(status, headers, body)
    try:
        return shape(_json(body), "the answer")
    except Misshapen as why:
        raise OddAnswer(f"the answer ({_described(status, headers, body)}) is none of an API server: {why}") from None


def error(status: int, headers: Mapping[str, str], body: bytes) -> ApiError | OddAnswer:
    """What an answer with another status than 200, 201 or 202 means."""
    try:
        said = shapes.STATUS(_json(body), "the answer")
    except Misshapen:
        said = None
    if said is not None and status >= HTTPStatus.BAD_REQUEST:
        return ApiError(status, _reason(status, said), said.get("message", ""), _retry_after(headers, said))
    if status >= _SERVER_ERROR or status in _SAID_BY_ANYBODY:
        return ApiError(status, _reason(status, {}), _quoted(body), _retry_after(headers, {}))
    return OddAnswer(f"the answer ({_described(status, headers, body)}) is none of an API server: {_quoted(body)}")


def check_log(status: int, headers: Mapping[str, str]) -> None:
    """Raises OddAnswer for the beginning of a long answer that cannot be a pod's log."""
    if status != HTTPStatus.OK or _media_type(headers) in _NO_LOG:
        raise OddAnswer(f"the answer ({status}, {_media_type(headers)}) is no log")


def check_watch(status: int) -> None:
    """Raises OddAnswer for the beginning of a long answer that cannot be a watch."""
    if status != HTTPStatus.OK:
        raise OddAnswer(f"the answer ({status}) is no watch")


def change(line: bytes, shape: Shape) -> tuple[str, Json]:
    """A line of a watch: ADDED, MODIFIED or DELETED, and the object; BOOKMARK, and one with a resourceVersion only.

    Raises ApiError, when the API server ends the watch with one, and OddAnswer.
    """
    try:
        event = shapes.CHANGE(_json(line), "the change")
        kind, thing = event["type"], event["object"]
        if kind != "ERROR":
            return kind, (shapes.BOOKMARK if kind == "BOOKMARK" else shape)(thing, "the object")
        said = shapes.STATUS(thing, "the error")
    except Misshapen as why:
        raise OddAnswer(f"a line of {len(line)} bytes in a watch is none of an API server: {why}") from None
    code = said.get("code", HTTPStatus.INTERNAL_SERVER_ERROR)
    raise ApiError(code, _reason(code, said), said.get("message", ""), _retry_after({}, said))


def _json(body: bytes) -> Any:
    """Raises Misshapen, without a word of what is in it."""
    try:
        found = json.loads(body.decode())
        if _SURROGATE.search(body):
            _check_text(found)
    except (ValueError, RecursionError):
        raise Misshapen("it is no JSON" if body.strip() else "it is empty") from None
    return found


def _check_text(found: object) -> None:
    """Raises ValueError for half a character, which nobody could write down again."""
    json.dumps(found, ensure_ascii=False).encode()


def _retry_after(headers: Mapping[str, str], said: Json) -> float | None:
    """In seconds: from the header Retry-After, which may also be a date, or the Status."""
    header = headers.get("Retry-After", "")
    seconds = int(header) if re.fullmatch(r"[0-9]{1,9}", header) else said.get("details", {}).get("retryAfterSeconds")
    return None if seconds is None else min(max(float(seconds), 0.0), _MOST_SECONDS)


def _described(status: int, headers: Mapping[str, str], body: bytes) -> str:
    return f"{status}, {_media_type(headers) or 'of no type'}, {len(body)} bytes"


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()[:_QUOTED]


def _quoted(body: bytes) -> str:
    """The beginning of an error's text; of JSON nothing, since it could be anything."""
    text = body[: 4 * _QUOTED].decode(errors="replace").strip()
    if not text or text[0] in "{[<":
        return "it says nothing of use"
    return text[:_QUOTED]


def _reason(status: int, said: Json) -> str:
    """The Status's own, or the word that Kubernetes has for such answers: programs look for those, whoever has
    answered. https://pkg.go.dev/k8s.io/apimachinery/pkg/apis/meta/v1#StatusReason
    """
    by_status = "InternalError" if status >= _SERVER_ERROR else "Unknown"
    return said.get("reason") or _REASONS.get(status, by_status)
