"""What paths take besides a body, and what they answer, as OpenAPI describes them."""

import re
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Query
from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

from k8s_mcp import errors
from k8s_mcp.auth.guard import principal_of
from k8s_mcp.models import Principal
from k8s_mcp.web import sse
from k8s_mcp.web.openapi import reference


def _not_null(schema: dict[str, Any]) -> None:
    """A header is there or not; it is never null, whatever the parameter's type is in Python."""
    schema |= schema.pop("anyOf")[0]


def _number(schema: dict[str, Any]) -> None:
    """Of a header that is no number for those who share the path with us."""
    _not_null(schema)
    schema |= {"type": "string", "pattern": "^[0-9]{1,100}$"}


KEY = Header(
    alias="Idempotency-Key",
    min_length=1,
    max_length=255,
    description="Joins the run that this key started before.",
    json_schema_extra=_not_null,
)


_NO_NUMBER = "must be a whole number, 0 or more"


def _digits(value: object) -> object:
    """What int() takes besides digits ("1_0", "+1") is no event's id."""
    if isinstance(value, str) and not re.fullmatch("[0-9]{1,100}", value):
        raise ValueError(_NO_NUMBER)
    return value


EventId = Annotated[int, Field(ge=0), BeforeValidator(_digits)]
LAST_EVENT_ID = Header(
    alias="Last-Event-ID",
    description="Go on behind the event of this id; without it the stream starts at its beginning.",
    json_schema_extra=_not_null,
)
_EVENT_ID = TypeAdapter[int](EventId)
SEEN_BEFORE = Header(
    alias="Last-Event-ID",
    description="With the key of a run: go on behind the event of this id, as a client that was cut off.",
    json_schema_extra=_number,
)
Caller = Annotated[Principal, Depends(principal_of)]
RUN_ID = Path(description="From the `started` event.", json_schema_extra={"pattern": "^[0-9a-f]{32}$"})
"""One of another form is not there, like any other that is not: 404."""


def _of_form(pattern: str, refusal: str) -> AfterValidator:
    """Refuses another text."""

    def check(value: str | None) -> str | None:
        if value is not None and not re.fullmatch(pattern, value):
            raise ValueError(refusal)
        return value

    return AfterValidator(check)


def _with_form(pattern: str) -> Callable[[dict[str, Any]], None]:
    """The same in OpenAPI."""

    def describe(schema: dict[str, Any]) -> None:
        _not_null(schema)
        schema["pattern"] = f"^{pattern}$"

    return describe


_TIME_PATTERN = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{3}Z"
_BEFORE_PATTERN = f"{_TIME_PATTERN}/[0-9a-f]{{32}}"
_NO_TIME = "must be a time as a run's state has it: 2030-01-31T12:00:00.000Z"
_NO_PLACE = "must be the `next` of an earlier answer"
_EVERYBODYS = Query(
    alias="all",
    description="The runs of all callers, for observers; others see their own. The answer's `all` says which it is.",
)
_SINCE = Query(
    description="Without the runs that had ended before, in UTC, as `ended` has it.",
    json_schema_extra=_with_form(_TIME_PATTERN),
)
_PAST = Query(
    alias="past",
    description="Those that the history has, which have ended, the latest first.",
)
_BEFORE = Query(
    description="With `past`: those behind, further back; the answer's `next`.",
    json_schema_extra=_with_form(_BEFORE_PATTERN),
)
_LIMIT = Query(description="With `past`: how many at most.", ge=1, le=1000)
_TIMED = Query(
    description="From the history, with control events `at` between the others: when what follows was sent, in "
    "seconds since the run was accepted. Without those where it has no output of the run."
)
_WATCH = Query(description="Look on without following: the run neither goes on for that nor waits for it.")
Everybodys = Annotated[bool, _EVERYBODYS]
Since = Annotated[str | None, _SINCE, _of_form(_TIME_PATTERN, _NO_TIME)]
Watch = Annotated[bool, _WATCH]
InPast = Annotated[bool, _PAST]
Before = Annotated[str | None, _BEFORE, _of_form(_BEFORE_PATTERN, _NO_PLACE)]
Limit = Annotated[int, _LIMIT]
Timed = Annotated[bool, _TIMED]
STREAM = {
    200: {
        "description": "Events, as they come.",
        "content": {sse.MEDIA_TYPE: {"schema": {"type": "object", **reference("Event")}}},
    }
}
NOTHING_LEFT: dict[int | str, dict[str, Any]] = {
    204: {"description": "The run is over, and `Last-Event-ID` is that of its final event, or behind it."}
}
OPEN = (errors.Forbidden,)
REFUSED = (errors.Unauthorized, errors.Forbidden, errors.TooManyRequests, errors.Unavailable)
"""Whatever is asked: with authentication, that cannot be known right now, or the caller asks too much at once."""
_NAME_PATTERN = "[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?"
_NO_NAME = "must be 1 to 63 of a-z, 0-9, `.`, `_` and `-`, with a letter or a digit at both ends"
_NAME = Path(description="Of a cluster handle.", json_schema_extra={"pattern": f"^{_NAME_PATTERN}$"})
ClusterName = Annotated[str, _NAME, _of_form(_NAME_PATTERN, _NO_NAME)]


def after_of(last_event_id: str | None, key: str | None) -> int | None:
    """Behind which event the stream of a request that is sent again goes on. Raises InvalidRequest.

    Libraries for streams of POST requests send theirs again after a broken connection, and believe that it goes on.
    """
    if last_event_id is None:
        return None
    if key is None:
        message = (
            "is missing: with a Last-Event-ID this request asks for the rest of a run, and without the key that has "
            "started it the command would run again; send the same key with every attempt, or read the rest from "
            "GET /runs/RUN_ID/events"
        )
        raise errors.InvalidRequest("Idempotency-Key", message)
    try:
        return _EVENT_ID.validate_python(last_event_id)
    except ValidationError:
        raise errors.InvalidRequest("Last-Event-ID", _NO_NUMBER) from None
