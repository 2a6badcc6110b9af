"""A proxy between the service and the API server that counts calls, and spoils those that a test wants spoilt.

The service speaks plain HTTP with it, so that it can look inside; `cutter.py` is for connections as they really are.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from anyio.from_thread import start_blocking_portal

from tests.e2e.place import Json, Place
from tests.support.passing_on import abort, kept, served, session_with

_HELD_SECONDS = 60
_OF_REPLICA = re.compile(r"lease|watch=true|GET secrets\?labelSelector=.*handle")


@dataclass
class Fault:
    """What happens to the next `times` calls that match.

    `pattern` is searched in `METHOD resource[/name[/subresource]][?query]`. With `status` the call is answered so and
    passed on to nobody; else it is carried out, and its answer breaks off after `cut` bytes, or is `late` by so many
    seconds. With `held` it is passed on as it is, once a test has set that to False.
    """

    pattern: str
    times: int = 1
    status: int | None = None
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    cut: int = 0
    late: float = 0
    held: bool = False
    seen: int = 0


def refusal(status: int, reason: str, message: str = "the test wants it so") -> bytes:
    """A Kubernetes Status, as the body of an answer."""
    fields = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
    return json.dumps({**fields, "code": status, "reason": reason, "message": message}).encode()


class ApiProxy:
    """`url` is for the service, `calls` what it called, `answered` what came through of that, with the status.
    `noise` is asked about calls that match no fault.
    """

    def __init__(self, upstream: str, session: aiohttp.ClientSession) -> None:
        self.url = ""
        self.calls: list[str] = []
        self.answered: list[tuple[str, int]] = []
        self.noise: Callable[[str], Fault | None] = _silence
        self._faults: list[Fault] = []
        self._upstream = upstream
        self._session = session
        self._open: dict[int, tuple[web.Request, str]] = {}
        self._loop = asyncio.get_running_loop()

    def spoil(self, pattern: str, **how: object) -> Fault:
        """Add a Fault with these fields; the oldest that matches a call is taken."""
        fault = Fault(pattern, **how)  # type: ignore[arg-type]
        self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """No faults any more, and no calls seen."""
        self._faults = []
        self.calls = []
        self.answered = []
        self.noise = _silence

    def cut(self, pattern: str) -> None:
        """Break off the answers that are being sent to such calls."""

        def cut_now() -> None:
            for request, call in self._open.values():
                if re.search(pattern, call) and request.transport:
                    request.transport.abort()

        self._loop.call_soon_threadsafe(cut_now)

    def counted(self) -> Counter[str]:
        """Calls by method and resource, without those of a replica as such: its watches, and its janitor's."""
        calls = (call for call in self.calls if not _OF_REPLICA.search(call))
        return Counter(re.sub(r"[/?].*?(/log)?(\?.*)?$", r"\1", call) for call in calls)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        where = re.sub(r"^/apis?/(.+/)?namespaces/[^/]+/", "", request.path_qs)
        call = f"{request.method} {where}"
        self.calls.append(call)
        fault = self._fault(call)
        if fault and fault.held:
            await _released(fault)
            fault = None
        if fault and fault.status:
            return web.Response(status=fault.status, body=fault.body, headers=fault.headers)
        self._open[id(request)] = (request, call)
        try:
            return await self._pass_on(request, call, fault)
        finally:
            del self._open[id(request)]

    def _fault(self, call: str) -> Fault | None:
        for fault in self._faults:
            if fault.times and re.search(fault.pattern, call):
                fault.times -= 1
                fault.seen += 1
                return fault
        return self.noise(call)

    async def _pass_on(self, request: web.Request, call: str, fault: Fault | None) -> web.StreamResponse:
        async with self._session.request(
            request.method,
            f"{self._upstream}{request.path_qs}",
            data=await request.read(),
            headers=kept(request.headers),
        ) as answer:
            self.answered.append((call, answer.status))
            try:
                if fault and fault.late:
                    await asyncio.sleep(fault.late)
                return await self._answer(request, answer, fault.cut if fault and not fault.late else None)
            finally:
                if answer.connection and answer.connection.transport:
                    answer.connection.transport.abort()  # nobody waits for a goodbye in TLS

    async def _answer(
        self, request: web.Request, answer: aiohttp.ClientResponse, cut: int | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=kept(answer.headers))
        if cut == 0:
            await answer.read()
            abort(request)
            return response
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            await response.write(chunk if cut is None else chunk[:cut])
            if cut is not None:
                cut -= len(chunk)
                if cut <= 0:
                    abort(request)
                    return response
        await response.write_eof()
        return response


async def _released(fault: Fault) -> None:
    with suppress(TimeoutError):  # where the test has failed
        async with asyncio.timeout(_HELD_SECONDS):
            while fault.held:  # noqa: ASYNC110 - it is a test in another thread that changes it
                await asyncio.sleep(0.02)


def _silence(_call: str) -> Fault | None:
    """No noise."""


@contextmanager
def api_proxy(place: Place) -> Generator[ApiProxy]:
    """Serve from a thread of its own."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(_serving(place.server)) as proxy:
        yield proxy


@asynccontextmanager
async def _serving(server: Json) -> AsyncGenerator[ApiProxy]:
    async with session_with(server) as session:
        proxy = ApiProxy(server["server"], session)
        async with served(proxy.handle) as proxy.url:
            yield proxy
