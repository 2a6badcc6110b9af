"""Errors as `application/problem+json` (RFC 9457)."""

from http import HTTPStatus

from fastapi.responses import JSONResponse

from k8s_mcp import errors

MEDIA_TYPE = "application/problem+json"

STATUS: dict[type[errors.K8sMcpError], HTTPStatus] = {
    errors.InvalidRequest: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.MalformedRequest: HTTPStatus.BAD_REQUEST,
    errors.RequestTimeout: HTTPStatus.REQUEST_TIMEOUT,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.UnsupportedMediaType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.TooManyRuns: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

SCHEMA: dict[str, object] = {
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "The fields that are wrong, one entry each.",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


def problem(status: int, detail: str, fields: list[tuple[str, str]] | None = None) -> JSONResponse:
    """A problem document; `fields` pairs names of wrong fields with what is wrong."""
    body: dict[str, object] = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    if fields:
        body["errors"] = [{"field": field, "message": message} for field, message in fields]
    return JSONResponse(body, status, media_type=MEDIA_TYPE, headers={"Cache-Control": "no-store"})


def problem_of(error: errors.K8sMcpError) -> JSONResponse:
    """The problem document that tells a caller about `error`."""
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    response = problem(status, error.message, error.fields if isinstance(error, errors.InvalidRequest) else None)
    if isinstance(error, errors.TooManyRuns | errors.Unavailable):
        response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, errors.TooLarge | errors.RequestTimeout):
        response.headers["Connection"] = "close"  # the rest of the body is not read
    return response


def documented(*kinds: type[errors.K8sMcpError]) -> dict[int | str, dict[str, object]]:
    """These errors as OpenAPI responses."""
    return {
        int(STATUS[kind]): {
            "description": STATUS[kind].phrase,
            "content": {MEDIA_TYPE: {"schema": SCHEMA}},
        }
        for kind in kinds
    }
