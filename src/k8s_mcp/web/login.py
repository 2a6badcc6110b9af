"""`/login`, with which the page has a person log in at the issuer of tokens."""

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from k8s_mcp import errors
from k8s_mcp.auth.login import PATH, CameBack, Login
from k8s_mcp.web.body import as_model, read_json

_HEADERS = {"Cache-Control": "no-store"}
_MOST_BYTES = 64 * 1024


def add_to(app: FastAPI, login: Login | None) -> None:
    """Serve it; without a `login`, that there is none."""

    @app.get(PATH, include_in_schema=False)
    async def way() -> Response:
        if login is None:
            return Response(status_code=HTTPStatus.NO_CONTENT, headers=_HEADERS)
        return JSONResponse(await login.way(), headers=_HEADERS)

    @app.post(PATH, include_in_schema=False)
    async def tokens(request: Request) -> JSONResponse:
        if login is None:
            raise errors.NotFound("nobody logs in here: K8S_MCP_OIDC_CLIENT_ID is not set")
        body, _ = await read_json(request, _MOST_BYTES)
        return JSONResponse(await login.tokens(as_model(body, CameBack)), headers=_HEADERS)
