"""HTTP with an API server: one request, and whatever comes back as a value or as one of our errors."""

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from ssl import SSLContext
from typing import Any, Protocol

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from k8s_mcp.cluster import answers
from k8s_mcp.cluster.answers import ApiUnreachable, OddAnswer
from k8s_mcp.cluster.credentials import Shown
from k8s_mcp.cluster.shapes import Json, Shape
from k8s_mcp.cluster.sockets import Sockets

MERGE_PATCH = "application/merge-patch+json"
_JSON = "application/json"
_CALL_SECONDS = 15.0
_CONNECT_SECONDS = 5.0
_READ_BYTES = 2**21
_MOST_BYTES = 2**27  # of one answer: a list of several thousand pods
_MOST_ERROR_BYTES = 2**16

OnAnswer = Callable[[str, str, str], None]
"""Takes the verb, the resource (`jobs`, `pods/log`) and the HTTP status of a call; `none` without an answer."""

NO_ANSWER = "none"
_METHODS = {"create": "POST", "patch": "PATCH", "update": "PUT", "delete": "DELETE"}


class Server(Protocol):
    """Where to, and as whom."""

    url: str
    ssl: SSLContext
    options: Mapping[str, Any]
    """Of aiohttp's requests: `proxy`, `proxy_headers`, `server_hostname`."""

    certificates: int
    """How often `ssl` got another certificate to show: connections from before are of no use then."""

    async def shown(self) -> Shown:
        """What says who we are. Raises NoCredential, which is ApiUnreachable, as does `renewed`."""
        ...

    async def renewed(self, refused: Shown) -> bool:
        """After a 401 to it: whether there is something else to show."""
        ...


class Http:
    """To be made within a running event loop."""

    def __init__(self, server: Server, on_answer: OnAnswer) -> None:
        self._server = server
        self._on_answer = on_answer
        self._sockets = Sockets()
        self._certificates = server.certificates
        self._session = self._new_session()

    async def call(self, verb: str, target: str, body: Json | None, shape: Shape, accept: str = _JSON) -> Json:
        """One call, whose answer has that shape. Raises ApiError and ApiUnreachable."""
        timeout = aiohttp.ClientTimeout(_CALL_SECONDS, sock_connect=_CONNECT_SECONDS)
        async with self._request(verb, target, body, timeout, accept) as response:
            return answers.value(response.status, response.headers, await _read(response, _MOST_BYTES), shape)

    @asynccontextmanager
    async def stream(self, verb: str, target: str, silence: float) -> AsyncGenerator[aiohttp.StreamReader]:
        """The body of a long answer. Raises ApiError and ApiUnreachable: also when it breaks, or nothing arrives for
        `silence` seconds.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=silence)
        async with self._request(verb, target, None, timeout, "*/*") as response:
            try:
                if response.status >= HTTPStatus.BAD_REQUEST:
                    body = await _read(response, _MOST_ERROR_BYTES)
                    raise answers.error(response.status, response.headers, body)
                if verb == "watch":
                    answers.check_watch(response.status)
                else:
                    answers.check_log(response.status, response.headers)
                yield response.content
            finally:
                _hang_up(response)

    async def close(self) -> None:
        await self._session.close()
        await self._sockets.close()

    def _new_session(self) -> aiohttp.ClientSession:
        # No limit, since every run holds a connection while its log is followed.
        connector = aiohttp.TCPConnector(limit=0, socket_factory=self._sockets.make, ssl=self._server.ssl)
        return aiohttp.ClientSession(
            connector=connector, trust_env=True, read_bufsize=_READ_BYTES, cookie_jar=aiohttp.DummyCookieJar()
        )

    @asynccontextmanager
    async def _request(
        self, verb: str, target: str, body: Json | None, timeout: aiohttp.ClientTimeout, accept: str
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        try:
            shown = await self._server.shown()
            response = await self._send(verb, target, body, timeout, accept, shown)
            if response.status == HTTPStatus.UNAUTHORIZED and await self._server.renewed(shown):
                response.close()
                response = await self._send(verb, target, body, timeout, accept, await self._server.shown())
            async with response:
                yield response
        except (aiohttp.ClientError, HttpProcessingError, TimeoutError, OSError) as error:
            raise ApiUnreachable(f"{type(error).__name__}: {error}") from error

    async def _send(
        self, verb: str, target: str, body: Json | None, timeout: aiohttp.ClientTimeout, accept: str, shown: Shown
    ) -> aiohttp.ClientResponse:
        if self._certificates != self._server.certificates:
            self._certificates = self._server.certificates
            former, self._session = self._session, self._new_session()
            await former.close()
        method = _METHODS.get(verb, "GET")
        headers = {"Accept": accept}
        if shown.authorization:
            headers["Authorization"] = shown.authorization
        if body is not None:
            headers["Content-Type"] = MERGE_PATCH if method == "PATCH" else _JSON
        code = NO_ANSWER
        try:
            response = await self._session.request(
                method,
                f"{self._server.url}{target}",
                headers=headers,
                data=None if body is None else json.dumps(body).encode(),
                timeout=timeout,
                allow_redirects=False,
                **self._server.options,
            )
            code = str(response.status)
        finally:
            self._on_answer(verb, resource_of(target), code)
        return response


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    """All of it. Raises OddAnswer when there is more."""
    read = bytearray()
    async for chunk in response.content.iter_any():
        read += chunk
        if len(read) > most:
            raise OddAnswer(f"the answer ({response.status}) is over {most} bytes")
    return bytes(read)


def resource_of(target: str) -> str:
    """What a path of the API is about, without any name: `jobs`, `pods/log`, `namespaces`, `version`."""
    start, namespaced, rest = target.partition("?")[0].partition("/namespaces/")
    kind, _, name = rest.partition("/")[2].partition("/")
    if not kind:
        return "namespaces" if namespaced else start.rpartition("/")[2]
    subresource = name.partition("/")[2]
    return f"{kind}/{subresource}" if subresource else kind


def _hang_up(response: aiohttp.ClientResponse) -> None:
    """Close the connection of an answer that was not read to its end, without a goodbye that nobody waits for."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
