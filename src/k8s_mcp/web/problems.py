"""Errors as `application/problem+json` (RFC 9457)."""

import asyncio
from contextlib import suppress
from http import HTTPStatus

from fastapi.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from k8s_mcp import errors
from k8s_mcp.auth.guard import challenge_of
from k8s_mcp.web import refusals
from k8s_mcp.web.openapi import reference
from k8s_mcp.web.words import TITLES

MEDIA_TYPE = "application/problem+json"

STATUS: dict[type[errors.K8sMcpError], HTTPStatus] = {
    errors.InvalidRequest: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.MalformedRequest: HTTPStatus.BAD_REQUEST,
    errors.RequestTimeout: HTTPStatus.REQUEST_TIMEOUT,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.UnsupportedMediaType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.Unauthorized: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.TooManyRuns: HTTPStatus.TOO_MANY_REQUESTS,
    errors.TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    errors.TooManySessions: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

_LINGER_SECONDS = 2.0
_LINGER_BYTES = 8 * 1024 * 1024


class Problem(JSONResponse):
    """A problem document. `about`: the error it tells of, if it is one of ours."""

    media_type = MEDIA_TYPE
    about: errors.K8sMcpError | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.about is not None:
            refusals.note(scope, type(self.about).__name__, fields_of(self.about))
        if isinstance(self.about, errors.Unauthorized | errors.InsufficientScope):
            self.headers["WWW-Authenticate"] = challenge_of(self.about, scope)
        await self.answer(scope, receive, send)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        await super().__call__(scope, receive, send)


class LastProblem(Problem):
    """Answers a request whose body is not read, and closes the connection.

    For a moment what is still coming is thrown away: a connection closed over unread data is reset, and the answer
    may be lost with it.
    """

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        headers = [*self.raw_headers, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                left = _LINGER_BYTES
                while left > 0 and (message := await receive()).get("more_body", False):
                    left -= len(message["body"])
        await send({"type": "http.response.body"})


def problem(
    status: int, detail: str, fields: list[tuple[str, str]] | None = None, kind: type[Problem] = Problem
) -> Problem:
    """A problem document; `fields` pairs names of wrong fields with what is wrong."""
    body: dict[str, object] = {"title": TITLES.get(status, "Error"), "status": status, "detail": detail}
    if fields:
        body["errors"] = [{"field": field, "message": message} for field, message in fields]
    return kind(body, status, headers={"Cache-Control": "no-store"})


def problem_of(error: errors.K8sMcpError, *, unread: bool = False) -> Problem:
    """The problem document that tells a caller about `error`; `unread` if a body may follow that nobody reads."""
    fields = error.fields if isinstance(error, errors.InvalidRequest) else None
    unread = unread or isinstance(error, errors.TooLarge | errors.RequestTimeout | errors.ShuttingDown)
    response = problem(status_of(error), error.message, fields, LastProblem if unread else Problem)
    response.about = error
    if isinstance(error, errors.TooManyRuns | errors.TooManyRequests | errors.TooManySessions | errors.Unavailable):
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def status_of(error: errors.K8sMcpError) -> int:
    """The HTTP status that goes with `error`."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def fields_of(error: errors.K8sMcpError) -> tuple[str, ...]:
    """The names of the fields that are wrong, as the caller wrote them."""
    return tuple(field for field, _ in error.fields) if isinstance(error, errors.InvalidRequest) else ()


def documented(*kinds: type[errors.K8sMcpError]) -> dict[int | str, dict[str, object]]:
    """These errors as OpenAPI responses."""
    return {
        int(STATUS[kind]): {
            "description": TITLES[STATUS[kind]],
            "content": {MEDIA_TYPE: {"schema": reference("Problem")}},
        }
        for kind in kinds
    }
