"""Every error is answered with a problem document."""

from http import HTTPStatus

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match, Route

from k8s_mcp import errors
from k8s_mcp.web.problems import problem, problem_of
from k8s_mcp.web.words import said


def add_error_handlers(app: FastAPI, api: APIRouter) -> None:
    """Answer every error with a problem document. `api` is a part of `app`."""

    @app.exception_handler(errors.K8sMcpError)
    async def on_error(_: Request, error: errors.K8sMcpError) -> Response:
        return problem_of(error)

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        detail = error.detail
        if error.status_code == HTTPStatus.NOT_FOUND:  # our own 404s are no HTTPException
            detail = "no such path; /docs lists all there are"
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = ", ".join(_methods([*app.routes, *api.routes], request))
            detail = f"this path takes {allowed}"
            error.headers = {**(error.headers or {}), "Allow": allowed}
        response = problem(error.status_code, detail)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(RequestValidationError)
    async def on_invalid_parameter(_: Request, error: RequestValidationError) -> Response:
        fields = [(str(item["loc"][-1]), said(item)) for item in error.errors()]
        return problem_of(errors.InvalidRequest.of(fields))

    @app.exception_handler(ClientDisconnect)
    async def on_disconnect(_: Request, _error: ClientDisconnect) -> Response:
        return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody is left to read it

    @app.exception_handler(Exception)
    async def on_bug(_: Request, _error: Exception) -> JSONResponse:
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the service failed; its log says why")


def _methods(routes: list[BaseRoute], request: Request) -> list[str]:
    """All methods of the requested path; each route knows its own only."""
    matching = [route for route in routes if route.matches(request.scope)[0] != Match.NONE]
    methods = {method for route in matching if isinstance(route, Route) for method in route.methods or ()}
    return sorted(methods | ({"HEAD"} & methods if "GET" not in methods else {"HEAD"}))
