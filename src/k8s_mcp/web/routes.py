"""The HTTP front end: translates requests into calls of `Runs`."""

import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Path, Request
from fastapi.responses import Response
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from k8s_mcp import __version__, errors
from k8s_mcp.auth.guard import principal_of
from k8s_mcp.models import ClusterRequest, Principal, RunRequest
from k8s_mcp.runs.handles import Handles
from k8s_mcp.runs.runs import Runs
from k8s_mcp.web import sse
from k8s_mcp.web.body import as_model, is_json_rpc, read_again, read_json
from k8s_mcp.web.event_stream import EventStream
from k8s_mcp.web.problems import documented


def _not_null(schema: dict[str, Any]) -> None:
    """A header is there or not; it is never null, whatever the parameter's type is in Python."""
    schema |= schema.pop("anyOf")[0]


def _number(schema: dict[str, Any]) -> None:
    """Of a header that is no number for those who share the path with us."""
    _not_null(schema)
    schema |= {"type": "string", "pattern": "^[0-9]{1,100}$"}


_KEY = Header(
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


_EventId = Annotated[int, Field(ge=0), BeforeValidator(_digits)]
_LAST_EVENT_ID = Header(
    alias="Last-Event-ID",
    description="Go on behind the event of this id; without it the stream starts at its beginning.",
    json_schema_extra=_not_null,
)
_EVENT_ID = TypeAdapter[int](_EventId)
_SEEN_BEFORE = Header(
    alias="Last-Event-ID",
    description="With the key of a run: go on behind the event of this id, as a client that was cut off.",
    json_schema_extra=_number,
)
_Caller = Annotated[Principal, Depends(principal_of)]
_RUN_ID = Path(description="From the `started` event.", json_schema_extra={"pattern": "^[0-9a-f]{32}$"})
"""One of another form is not there, like any other that is not: 404."""
_EVENT: dict[str, Any] = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"enum": ["stdout", "stderr", "control"]},
        "data": {"type": "string", "description": "One line of output, or a control event as JSON."},
        "id": {"type": "string", "description": "A number that only grows.", "pattern": "^[0-9]+$"},
    },
}
_STREAM = {200: {"description": "Events, as they come.", "content": {sse.MEDIA_TYPE: {"schema": _EVENT}}}}
_NOTHING_LEFT: dict[int | str, dict[str, Any]] = {
    204: {"description": "The run is over, and `Last-Event-ID` is that of its final event, or behind it."}
}
_OPEN = (errors.Forbidden,)
_REFUSED = (errors.Unauthorized, errors.Forbidden, errors.TooManyRequests, errors.Unavailable)
"""Whatever is asked: with authentication, that cannot be known right now, or the caller asks too much at once."""
_NAME_PATTERN = "[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?"


def _name(value: str) -> str:
    if not re.fullmatch(_NAME_PATTERN, value):
        raise ValueError("must be 1 to 63 of a-z, 0-9, `.`, `_` and `-`, with a letter or a digit at both ends")
    return value


_NAME = Path(description="Of a cluster handle.", json_schema_extra={"pattern": f"^{_NAME_PATTERN}$"})
_ClusterName = Annotated[str, _NAME, AfterValidator(_name)]


def _after(last_event_id: str | None, key: str | None) -> int | None:
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


def _body(model: type[BaseModel]) -> dict[str, Any]:
    """The request body of a path in OpenAPI."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


class PassedOn(Response):
    """The answer of another application to a request whose body was read already."""

    def __init__(self, app: ASGIApp, body: bytes) -> None:
        super().__init__()
        self._app = app
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, read_again(self._body, receive), send)


def router(runs: Runs, handles: Handles, json_rpc: ASGIApp, metrics: Callable[[str], tuple[bytes, str]]) -> APIRouter:
    """The paths of this front end. `json_rpc` answers bodies that are JSON-RPC: MCP shares a path with us.

    `metrics` gives them, and their media type, for a header `Accept`.
    """
    api = APIRouter()
    _add_start(api, runs, json_rpc)
    _add_runs(api, runs)
    _add_clusters(api, handles)
    _add_operations(api, runs, metrics)
    return api


def _add_start(api: APIRouter, runs: Runs, json_rpc: ASGIApp) -> None:
    @api.post(
        "/sse",
        status_code=200,
        response_class=EventStream,
        openapi_extra=_body(RunRequest),
        responses={
            **_STREAM,
            **_NOTHING_LEFT,
            **documented(
                *_REFUSED,
                errors.MalformedRequest,
                errors.NotFound,
                errors.RequestTimeout,
                errors.TooLarge,
                errors.UnsupportedMediaType,
                errors.InvalidRequest,
                errors.TooManyRuns,
                errors.Unavailable,
            ),
        },
    )
    async def run_command(
        request: Request,
        caller: _Caller,
        idempotency_key: Annotated[str | None, _KEY] = None,
        last_event_id: Annotated[str | None, _SEEN_BEFORE] = None,
    ) -> Response:
        """Run a command and stream its output."""
        value, body = await read_json(request)
        if is_json_rpc(value):
            return PassedOn(json_rpc, body)
        after = _after(last_event_id, idempotency_key)
        again = after is not None
        run = await runs.start(caller, as_model(value, RunRequest), idempotency_key, again=again)
        return EventStream(run, after)


def _add_runs(api: APIRouter, runs: Runs) -> None:
    @api.get("/runs", responses=documented(*_REFUSED))
    async def list_runs(caller: _Caller) -> dict[str, object]:
        """The caller's runs, oldest first."""
        return {"runs": runs.list(caller)}

    one_run = documented(*_REFUSED, errors.NotFound)
    stream = {**_STREAM, **_NOTHING_LEFT, **one_run, **documented(errors.InvalidRequest)}

    @api.get("/runs/{run_id}", responses=one_run)
    async def get_run(caller: _Caller, run_id: Annotated[str, _RUN_ID]) -> dict[str, object]:
        """One run's state."""
        return runs.describe(caller, run_id)

    @api.delete("/runs/{run_id}", status_code=202, responses=one_run)
    async def cancel_run(caller: _Caller, run_id: Annotated[str, _RUN_ID]) -> dict[str, object]:
        """Cancel a run; its stream ends with the final event. A run that has ended stays as it is."""
        await runs.cancel(caller, run_id)
        return runs.describe(caller, run_id)

    @api.get("/runs/{run_id}/events", status_code=200, response_class=EventStream, responses=stream)
    async def follow_run(
        caller: _Caller,
        run_id: Annotated[str, _RUN_ID],
        last_event_id: Annotated[_EventId | None, _LAST_EVENT_ID] = None,
    ) -> EventStream:
        """A run's stream again, or the rest of it."""
        return EventStream(await runs.follow(caller, run_id), last_event_id)


def _add_clusters(api: APIRouter, handles: Handles) -> None:
    name = documented(*_REFUSED, errors.NotFound, errors.InvalidRequest, errors.Unavailable)
    body_errors = (errors.MalformedRequest, errors.RequestTimeout, errors.TooLarge, errors.UnsupportedMediaType)

    @api.get("/clusters", responses=documented(*_REFUSED, errors.Unavailable))
    async def list_clusters(caller: _Caller) -> dict[str, object]:
        """The clusters that the caller can name in a request."""
        return {"clusters": [handle.describe() for handle in await handles.all(caller)]}

    @api.put("/clusters/{name}", openapi_extra=_body(ClusterRequest), responses={**name, **documented(*body_errors)})
    async def put_cluster(caller: _Caller, name: _ClusterName, request: Request) -> dict[str, object]:
        """Store a kubeconfig under a name, for a while; it is never given back."""
        value, _ = await read_json(request)
        return (await handles.put(caller, name, as_model(value, ClusterRequest))).describe()

    @api.get("/clusters/{name}", responses=name)
    async def get_cluster(caller: _Caller, name: _ClusterName) -> dict[str, object]:
        """What a name stands for."""
        return (await handles.get(caller, name)).describe()

    @api.delete("/clusters/{name}", status_code=204, responses=name)
    async def delete_cluster(caller: _Caller, name: _ClusterName) -> None:
        """Forget a stored kubeconfig. Runs in progress go on."""
        await handles.delete(caller, name)


def _add_operations(api: APIRouter, runs: Runs, metrics: Callable[[str], tuple[bytes, str]]) -> None:
    @api.get("/healthz", responses=documented(*_OPEN))
    async def healthz() -> dict[str, str]:
        """Whether the process is alive."""
        return {"status": "ok"}

    @api.get("/readyz", responses=documented(*_OPEN, errors.Unavailable))
    async def readyz() -> dict[str, str]:
        """Whether runs are accepted."""
        runs.check()
        return {"status": "ready"}

    @api.get("/version", responses=documented(*_REFUSED))
    async def version() -> dict[str, str | float]:
        """What is running."""
        about = {"name": "k8s-mcp-server", "version": __version__, "executor": runs.executor}
        return {**about, "resume_window": runs.resume_window}

    text = {"schema": {"type": "string"}}
    formats = {"text/plain": text, "application/openmetrics-text": text}

    @api.get(
        "/metrics",
        response_class=Response,
        responses={200: {"description": "Metrics.", "content": formats}, **documented(*_REFUSED)},
    )
    async def get_metrics(request: Request) -> Response:
        """Metrics for Prometheus, in its text format or as OpenMetrics."""
        content, media_type = metrics(request.headers.get("accept", ""))
        return Response(content, headers={"Content-Type": media_type, "Cache-Control": "no-store"})


def describe_authentication(app: FastAPI, open_paths: AbstractSet[str]) -> None:
    """Say in the OpenAPI document that every path but `open_paths` takes a bearer token."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        document.setdefault("components", {})["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"bearer": []}]
        for path in open_paths & document["paths"].keys():
            for operation in document["paths"][path].values():
                operation["security"] = []
        return document

    app.openapi = openapi
