"""The HTTP front end: translates requests into calls of `Runs`."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

from k8s_mcp import __version__, errors
from k8s_mcp.auth.guard import ANONYMOUS
from k8s_mcp.models import ClusterRequest, RunRequest
from k8s_mcp.runs.handles import Handles
from k8s_mcp.runs.past import PastRuns
from k8s_mcp.runs.runs import Runs
from k8s_mcp.web.body import as_model, is_json_rpc, read_again, read_json
from k8s_mcp.web.event_stream import EventStream
from k8s_mcp.web.openapi import OF_LISTS, reference
from k8s_mcp.web.parameters import (
    KEY,
    LAST_EVENT_ID,
    NOTHING_LEFT,
    OPEN,
    REFUSED,
    RUN_ID,
    SEEN_BEFORE,
    STREAM,
    Before,
    Caller,
    ClusterName,
    EventId,
    Everybodys,
    InPast,
    Limit,
    Since,
    Timed,
    Watch,
    after_of,
)
from k8s_mcp.web.problems import documented

_Kept = TypeVar("_Kept")


def _body(model: type[BaseModel]) -> dict[str, Any]:
    """The request body of a path in OpenAPI."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


def _answer(
    name: str, *, listed: str = "", code: int = 200, more: Mapping[str, Any] | None = None
) -> dict[int | str, dict[str, Any]]:
    """An answer in OpenAPI: one of the schemas, or a list of them under `listed`, and `more` beside it."""
    schema: dict[str, Any] = reference(name)
    if listed:
        items = {"type": "array", "items": schema}
        schema = {"type": "object", "required": [listed], "properties": {listed: items, **(more or {})}}
    return {code: {"description": "As it is now.", "content": {"application/json": {"schema": schema}}}}


class PassedOn(Response):
    """The answer of another application to a request whose body was read already."""

    def __init__(self, app: ASGIApp, body: bytes) -> None:
        super().__init__()
        self._app = app
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, read_again(self._body, receive), send)


def router(
    runs: Runs,
    past: PastRuns,
    handles: Handles,
    json_rpc: ASGIApp,
    metrics: Callable[[str], tuple[bytes, str]],
) -> APIRouter:
    """The paths of this front end. `json_rpc` answers bodies that are JSON-RPC: MCP shares a path with us.

    `metrics` gives them, and their media type, for a header `Accept`.
    """
    api = APIRouter()
    _add_start(api, runs, json_rpc)
    _add_list(api, runs, past)
    _add_runs(api, runs, past)
    _add_clusters(api, handles)
    _add_caller(api, runs, past)
    _add_operations(api, runs, metrics)
    return api


def _add_start(api: APIRouter, runs: Runs, json_rpc: ASGIApp) -> None:
    @api.post(
        "/sse",
        status_code=200,
        response_class=EventStream,
        openapi_extra=_body(RunRequest),
        responses={
            **STREAM,
            **NOTHING_LEFT,
            **documented(
                *REFUSED,
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
        caller: Caller,
        idempotency_key: Annotated[str | None, KEY] = None,
        last_event_id: Annotated[str | None, SEEN_BEFORE] = None,
    ) -> Response:
        """Run a command and stream its output."""
        value, body = await read_json(request)
        if is_json_rpc(value):
            return PassedOn(json_rpc, body)
        after = after_of(last_event_id, idempotency_key)
        again = after is not None
        run = await runs.start(caller, as_model(value, RunRequest), idempotency_key, again=again)
        return EventStream(run, after)


def _add_list(api: APIRouter, runs: Runs, past: PastRuns) -> None:
    refused = documented(*REFUSED, errors.InvalidRequest, errors.NotFound)

    @api.get("/runs", responses={**_answer("Run", listed="runs", more=OF_LISTS), **refused})
    async def list_runs(
        caller: Caller,
        everybodys: Everybodys = False,
        since: Since = None,
        in_past: InPast = False,
        before: Before = None,
        limit: Limit = 100,
    ) -> dict[str, object]:
        """The caller's runs, oldest first; for an observer, if asked for, those of all callers."""
        of_all = {"all": runs.sight.sees_all(caller) or caller == ANONYMOUS} if everybodys else {}
        if in_past:
            return {**of_all, **await past.list(caller, since, before, limit, everybodys=everybodys)}
        found = runs.list_all(caller) if everybodys else runs.list(caller)
        return {**of_all, "runs": [one for one in found if since is None or str(one["ended"] or since) >= since]}


def _add_runs(api: APIRouter, runs: Runs, past: PastRuns) -> None:
    one_run = documented(*REFUSED, errors.NotFound, errors.Unavailable)
    stream = {**STREAM, **NOTHING_LEFT, **one_run, **documented(errors.InvalidRequest)}

    @api.get("/runs/{run_id}", responses={**_answer("Run"), **one_run})
    async def get_run(caller: Caller, run_id: Annotated[str, RUN_ID]) -> dict[str, object]:
        """One run's state, also of one that the history has."""
        try:
            return runs.describe(caller, run_id)
        except (errors.NotFound, errors.Unavailable) as error:
            return await _in_past(past.describe(caller, run_id), error)

    @api.delete("/runs/{run_id}", status_code=202, responses={**_answer("Run", code=202), **one_run})
    async def cancel_run(caller: Caller, run_id: Annotated[str, RUN_ID]) -> dict[str, object]:
        """Cancel a run; its stream ends with the final event. A run that has ended stays as it is."""
        await runs.cancel(caller, run_id)
        return runs.describe(caller, run_id)

    @api.get("/runs/{run_id}/events", status_code=200, response_class=EventStream, responses=stream)
    async def follow_run(
        caller: Caller,
        run_id: Annotated[str, RUN_ID],
        last_event_id: Annotated[EventId | None, LAST_EVENT_ID] = None,
        watch: Watch = False,
        timed: Timed = False,
    ) -> EventStream:
        """A run's stream again, or the rest of it. Who follows somebody else's run only looks on."""
        if timed:
            with suppress(errors.NotFound, errors.Unavailable):
                return EventStream(await past.follow(caller, run_id, timed=True), last_event_id)
        try:
            run = await runs.follow(caller, run_id)
        except (errors.NotFound, errors.Unavailable) as error:
            kept = await _in_past(past.follow(caller, run_id, timed=timed), error)
            return EventStream(kept, last_event_id)
        return EventStream(run, last_event_id, watching=watch or not run.spec.is_of(caller))


async def _in_past(kept: Awaitable[_Kept], error: Exception) -> _Kept:
    """What the history has of a run that is not found, or is out of sight: then `error` when it has nothing."""
    try:
        return await kept
    except (errors.NotFound, errors.Unavailable):
        if isinstance(error, errors.NotFound):
            raise
        raise error from None


def _add_clusters(api: APIRouter, handles: Handles) -> None:
    name = documented(*REFUSED, errors.NotFound, errors.InvalidRequest, errors.Unavailable)
    one = {**_answer("Cluster"), **name}
    body_errors = (errors.MalformedRequest, errors.RequestTimeout, errors.TooLarge, errors.UnsupportedMediaType)

    @api.get(
        "/clusters", responses={**_answer("Cluster", listed="clusters"), **documented(*REFUSED, errors.Unavailable)}
    )
    async def list_clusters(caller: Caller) -> dict[str, object]:
        """The clusters that the caller can name in a request."""
        return {"clusters": [handle.describe() for handle in await handles.all(caller)]}

    @api.put("/clusters/{name}", openapi_extra=_body(ClusterRequest), responses={**one, **documented(*body_errors)})
    async def put_cluster(caller: Caller, name: ClusterName, request: Request) -> dict[str, object]:
        """Store a kubeconfig under a name, for a while; it is never given back."""
        value, _ = await read_json(request)
        return (await handles.put(caller, name, as_model(value, ClusterRequest))).describe()

    @api.get("/clusters/{name}", responses=one)
    async def get_cluster(caller: Caller, name: ClusterName) -> dict[str, object]:
        """What a name stands for."""
        return (await handles.get(caller, name)).describe()

    @api.delete("/clusters/{name}", status_code=204, responses=name)
    async def delete_cluster(caller: Caller, name: ClusterName) -> None:
        """Forget a stored kubeconfig. Runs in progress go on."""
        await handles.delete(caller, name)


def _add_caller(api: APIRouter, runs: Runs, past: PastRuns) -> None:
    @api.get("/me", responses=documented(*REFUSED))
    async def me(caller: Caller) -> dict[str, object]:
        """Who the caller is, and what holds for its runs: rules, limits, whether it sees those of others."""
        return {
            **runs.sight.about(caller),
            "access": runs.most_access(caller),
            "read_only_runs": runs.can_be_read_only,
            "max_timeout": runs.limits.max_timeout,
            "history": past.about(),
        }


def _add_operations(api: APIRouter, runs: Runs, metrics: Callable[[str], tuple[bytes, str]]) -> None:
    @api.get("/healthz", responses=documented(*OPEN))
    async def healthz() -> dict[str, str]:
        """Whether the process is alive."""
        return {"status": "ok"}

    @api.get("/readyz", responses=documented(*OPEN, errors.Unavailable))
    async def readyz() -> dict[str, str]:
        """Whether runs are accepted."""
        runs.check()
        return {"status": "ready"}

    @api.get("/version", responses=documented(*REFUSED))
    async def version() -> dict[str, str | float]:
        """What is running."""
        about = {"name": "k8s-mcp-server", "version": __version__, "executor": runs.executor}
        return {**about, "resume_window": runs.limits.resume_window}

    text = {"schema": {"type": "string"}}
    formats = {"text/plain": text, "application/openmetrics-text": text}

    @api.get(
        "/metrics",
        response_class=Response,
        responses={200: {"description": "Metrics.", "content": formats}, **documented(*REFUSED)},
    )
    async def get_metrics(request: Request) -> Response:
        """Metrics for Prometheus, in its text format or as OpenMetrics."""
        content, media_type = metrics(request.headers.get("accept", ""))
        return Response(content, headers={"Content-Type": media_type, "Cache-Control": "no-store"})
