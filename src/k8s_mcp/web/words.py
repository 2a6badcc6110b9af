"""What is wrong with a value, and what an answer's title is, in our own words: those of a library and an interpreter
change from version to version. Pure.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

TITLES: Mapping[int, str] = {
    HTTPStatus.BAD_REQUEST: "Bad Request",
    HTTPStatus.UNAUTHORIZED: "Unauthorized",
    HTTPStatus.FORBIDDEN: "Forbidden",
    HTTPStatus.NOT_FOUND: "Not Found",
    HTTPStatus.METHOD_NOT_ALLOWED: "Method Not Allowed",
    HTTPStatus.REQUEST_TIMEOUT: "Request Timeout",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Content Too Large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "Unsupported Media Type",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Unprocessable Content",
    HTTPStatus.TOO_MANY_REQUESTS: "Too Many Requests",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Internal Server Error",
    HTTPStatus.SERVICE_UNAVAILABLE: "Service Unavailable",
}
"""Of each status that we answer with: RFC 9110, section 15, and RFC 6585. Python 3.13 has other names than 3.12."""
OTHERWISE = "is not accepted"
"""What no rule here has better words for."""

_SIMPLE: Mapping[str, str] = {
    "missing": "is missing",
    "extra_forbidden": "is no field of this request",
    "string_type": "must be text",
    "string_unicode": "must be valid Unicode: it holds half a surrogate pair",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "model_type": "must be a JSON object",
}


def said(error: Mapping[str, Any]) -> str:
    """What an error of pydantic's means."""
    kind, about = error["type"], error.get("ctx", {})
    match kind:
        case "value_error":
            return str(error["msg"]).removeprefix("Value error, ")
        case "greater_than_equal":
            return f"must be at least {about['ge']}"
        case "less_than_equal":
            return f"must be at most {about['le']}"
        case "string_too_short" | "too_short":
            least = about["min_length"]
            return "must not be empty" if least == 1 else f"must have at least {least} characters"
        case "string_too_long" | "too_long":
            return f"must have at most {about['max_length']} characters"
        case _:
            return _SIMPLE.get(kind, OTHERWISE)


def place(text: str, position: int) -> str:
    """Where the character at `position` is, for people. A trailing comma is where the value is missing behind it.

    Line ends are those of editors, LF and CRLF.
    """
    gap = re.compile(r",[ \t\r\n]*(?=[}\]])").match(text, position)
    position = gap.end() if gap else position
    line = text.count("\n", 0, position) + 1
    return f"line {line}, column {position - text.rfind(chr(10), 0, position)}"
