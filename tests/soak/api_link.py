"""One replica's way to the API server, which can go away, hold everything up, or answer nonsense.

The replica speaks plain HTTP with it, so that it can look inside.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from yarl import URL

from tests.e2e.api_proxy import refusal
from tests.e2e.place import Json
from tests.support.passing_on import abort, kept, served, session_with

_STREAM_NOISE = (
    b"<html><body><h1>502 Bad Gateway</h1></body></html>\n",
    b'{"type": "MODIFIED", "object": {"kind": "Jo',
    b"\xff\xfe\x00\x01\n",
    b'"no healthy upstream"\n',
    b"\n",
)


@dataclass(frozen=True)
class _Odd:
    """An answer that no API server gives."""

    status: int
    body: bytes
    type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


_HTML = "<html><body>Zur Zeit nicht verfügbar</body></html>"
_ODD = (
    _Odd(429, refusal(429, "TooManyRequests"), headers={"Retry-After": "1"}),
    _Odd(500, refusal(500, "InternalError", "etcdserver: request timed out")),
    _Odd(500, b"Internal Server Error", "text/plain"),
    _Odd(503, refusal(503, "ServiceUnavailable")),
    _Odd(503, b"no healthy upstream", "text/plain"),
    _Odd(503, b'"no healthy upstream"'),
    _Odd(520, _HTML.encode("latin-1"), "text/html; charset=iso-8859-1"),
    _Odd(200, _HTML.encode(), "text/html"),
    _Odd(200, b""),
    _Odd(200, b"{}"),
    _Odd(200, b'{"kind": "Job", "metad'),
    _Odd(200, json.dumps("no healthy upstream").encode()),
)


_OFTEN = 0.5
"""Share of nonsense with which all tries of a call may meet it."""

_SLOW = 1.0
"""Seconds of a call with which what a run needs takes as long as a pod's start."""


class Dial:
    """A number that can be turned, and from when to when it was `much` or more, by time.monotonic()."""

    def __init__(self, much: float) -> None:
        self.value = 0.0
        self._much = much
        self._since = 0.0
        self._spells: list[tuple[float, float]] = []

    def turn(self, value: float) -> None:
        now = time.monotonic()
        if self.value >= self._much:
            self._spells.append((self._since, now))
        self.value, self._since = value, now

    @property
    def spells(self) -> list[tuple[float, float]]:
        """What goes on lasts until now."""
        return [*self._spells, *([(self._since, time.monotonic())] if self.value >= self._much else [])]


class ApiLink:
    """`url` is for the replica. `odd`: the share of calls that are answered with nonsense, half of them after they
    were carried out; `slow`: most seconds by which a call is held up.
    """

    def __init__(self, upstream: str, session: aiohttp.ClientSession, rng: random.Random) -> None:
        self.url = ""
        self.odd = Dial(_OFTEN)
        self.slow = Dial(_SLOW)
        self._outages: list[tuple[float, float]] = []
        self._began: list[float] = []  # those outages that go on
        self._away = 0
        self._frozen = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._upstream = upstream
        self._session = session
        self._rng = rng
        self._open: dict[int, web.Request] = {}

    @property
    def outages(self) -> list[tuple[float, float]]:
        """From when to when nothing went through, by time.monotonic(); what goes on lasts until now."""
        now = time.monotonic()
        return [*self._outages, *((began, now) for began in self._began)]

    @contextmanager
    def _outage(self) -> Generator[None]:
        began = time.monotonic()
        self._began.append(began)
        try:
            yield
        finally:
            self._began.remove(began)
            self._outages.append((began, time.monotonic()))

    @asynccontextmanager
    async def being_away(self) -> AsyncGenerator[None]:
        """While the context lasts every connection is refused; those there were are cut."""
        self._away += 1
        self.cut()
        try:
            with self._outage():
                yield
        finally:
            self._away -= 1

    @asynccontextmanager
    async def being_frozen(self) -> AsyncGenerator[None]:
        """While the context lasts nothing gets through, and no connection ends."""
        self._frozen += 1
        self._flowing.clear()
        try:
            with self._outage():
                yield
        finally:
            self._frozen -= 1
            if not self._frozen:
                self._flowing.set()

    def cut(self) -> None:
        """Cut the connections on which something is being answered."""
        for request in self._open.values():
            abort(request)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self._open[id(request)] = request
        try:
            return await self._handle(request)
        except (aiohttp.ClientError, ConnectionError):  # either end has closed it
            abort(request)
            return web.Response()
        finally:
            del self._open[id(request)]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        await self._flowing.wait()
        if self._away:
            abort(request)
            return web.Response()
        if self.slow.value:
            await asyncio.sleep(self._rng.uniform(0, self.slow.value))
        odd = self._rng.choice(_ODD) if self._rng.random() < self.odd.value else None
        if odd and self._rng.random() < 0.5:
            return _answer(odd)
        url = URL(f"{self._upstream}{request.raw_path}", encoded=True)
        async with self._session.request(request.method, url, data=body, headers=kept(request.headers)) as answer:
            try:
                return _answer(odd) if odd else await self._pass_on(request, answer)
            finally:
                if answer.connection and answer.connection.transport and not answer.content.is_eof():
                    answer.connection.transport.abort()  # nobody waits for a goodbye in TLS

    async def _pass_on(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=kept(answer.headers))
        await self._flowing.wait()
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            await self._flowing.wait()
            if self._rng.random() < self.odd.value / 4:
                await response.write(chunk[: self._rng.randint(0, len(chunk))] + self._rng.choice(_STREAM_NOISE))
                if self._rng.random() < 0.5:
                    await response.write_eof()
                else:
                    abort(request)
                return response
            await response.write(chunk)
        await response.write_eof()
        return response


def _answer(odd: _Odd) -> web.Response:
    return web.Response(status=odd.status, body=odd.body, headers={"Content-Type": odd.type, **odd.headers})


@asynccontextmanager
async def api_link(server: Json, rng: random.Random) -> AsyncGenerator[ApiLink]:
    """Serves while the context lasts. `server` is the API server as a kubeconfig's cluster entry has it."""
    async with session_with(server) as session:
        link = ApiLink(server["server"], session, rng)
        async with served(link.handle) as link.url:
            yield link
