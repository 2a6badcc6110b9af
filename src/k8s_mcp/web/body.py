"""Reading a request's JSON body: bounded in size and time, and strict."""

import asyncio
import json
from typing import TypeVar, cast

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.types import Message, Receive

from k8s_mcp.errors import InvalidRequest, MalformedRequest, RequestTimeout, TooLarge, UnsupportedMediaType
from k8s_mcp.web.words import place, said

MAX_BYTES = 2 * 1024 * 1024
"""Of a body as sent: JSON escapes can double what is in it."""
_SECONDS = 30.0
_MOST_ERRORS = 20  # that one answer tells


class _Wrong(ValueError):
    """What is wrong with a body that Python would take for JSON."""


_Model = TypeVar("_Model", bound=BaseModel)


def as_model(value: object, model: type[_Model]) -> _Model:
    """A JSON value as `model`; null is as good as leaving a field out. Raises InvalidRequest."""
    if not isinstance(value, dict):
        raise InvalidRequest("body", "must be a JSON object")
    sent = cast("dict[str, object]", value)
    given = {name: item for name, item in sent.items() if item is not None or name not in model.model_fields}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        wrong = error.errors(include_input=False)[:_MOST_ERRORS]
        fields = [(_field(item["loc"]), said(item)) for item in wrong]
        raise InvalidRequest.of(fields) from None


async def read_json(request: Request, most: int = MAX_BYTES) -> tuple[object, bytes]:
    """The body, of `most` bytes, as a JSON value, and as it came.

    Raises MalformedRequest, RequestTimeout, TooLarge or UnsupportedMediaType.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType("send the body as JSON, with the header `Content-Type: application/json`")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("send the body as it is, without `Content-Encoding`")
    try:
        async with asyncio.timeout(_SECONDS):
            body = await _read(request, most)
    except TimeoutError:
        raise RequestTimeout(f"the body did not arrive within {_SECONDS:g} seconds") from None
    return _parsed(body), body


def read_again(body: bytes, receive: Receive) -> Receive:
    """What hands a body that was read already to an application, and then whatever else comes."""
    unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return unread.pop() if unread else await receive()

    return receive_again


def is_json_rpc(value: object) -> bool:
    """Whether a JSON value is a JSON-RPC 2.0 message: nothing else here has a member of that name."""
    return isinstance(value, dict) and "jsonrpc" in value


def _parsed(body: bytes) -> object:
    """Raises MalformedRequest, which says where; a body may hold a credential, so nothing else of it is shown."""
    try:
        text = body.decode()
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"the body is not UTF-8 at byte {error.start + 1}; JSON is sent in UTF-8") from None
    except json.JSONDecodeError as error:
        raise MalformedRequest(f"the body is not JSON at {place(error.doc, error.pos)}") from None
    except RecursionError:
        raise MalformedRequest("the body nests too deep") from None
    except _Wrong as error:
        raise MalformedRequest(f"the body {error}") from None
    except ValueError:
        raise MalformedRequest("the body has a number of too many digits") from None


async def _read(request: Request, most: int) -> bytes:
    too_large = TooLarge(f"the body is over {most} bytes")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > most:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise too_large
    return bytes(body)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Wrong("has an object that names a key twice")
    return found


def _no_constant(name: str) -> object:
    raise _Wrong(f"has {name}, which is no JSON")


def _field(location: tuple[int | str, ...]) -> str:
    """The field's name; a rule about several fields has no place of its own and names them in its message."""
    name = ".".join(map(str, location)) or "body"
    return name.encode("utf-8", "replace").decode()[:100]
