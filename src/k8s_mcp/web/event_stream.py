"""The response that streams a run's events."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import Protocol

import anyio
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from k8s_mcp.log_format import about_run
from k8s_mcp.models import Control, Event
from k8s_mcp.runs.eventlog import Reader
from k8s_mcp.web import compressed, sse

SEND_SECONDS = 300.0
"""How long a client may leave a stream unread before its connection is closed; it can come back and resume."""

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Vary": "Accept-Encoding"}
_NO_STORE = [(b"cache-control", b"no-store")]

_logger = logging.getLogger(__name__)


class Followable(Protocol):
    """A run that goes on, or is over and kept."""

    run_id: str

    @property
    def is_over(self) -> bool: ...
    @property
    def is_whole(self) -> bool: ...
    def started_event(self) -> Control: ...
    def events(self, after: int | None = None, *, watching: bool = False) -> AbstractContextManager[Reader]: ...


class EventStream(Response):
    """Sends a run's events as they come, a comment when there are none for a while, until the final event or the
    client's leave.

    Who comes back to a run that is over, with the id of its final event or a later one, is answered 204. That is how
    a browser's `EventSource`, which comes back after every end, is told to stop:
    https://html.spec.whatwg.org/multipage/server-sent-events.html#the-eventsource-interface

    The run goes on for the client's sake, unless it is only `watching`. Who asks for gzip gets that, event by event.
    """

    media_type = sse.MEDIA_TYPE

    def __init__(self, run: Followable, after: int | None = None, *, watching: bool = False) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._run = run
        self._after = after
        self._watching = watching
        self._gzip: compressed.Gzip | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if compressed.asked_for(", ".join(Headers(scope=scope).getlist("accept-encoding"))):
            self._gzip = compressed.Gzip()
            self.headers["Content-Encoding"] = "gzip"
        with about_run(self._run.run_id):
            await self._until_read_or_left(receive, send)

    async def _until_read_or_left(self, receive: Receive, send: Send) -> None:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_until_disconnect, receive, group.cancel_scope.cancel)
                with self._run.events(self._after, watching=self._watching) as reader:
                    await self._stream(reader, send)
                group.cancel_scope.cancel()
        except* TimeoutError:
            _logger.info("nothing was read for %g s, closing the connection", SEND_SECONDS)

    async def _stream(self, reader: Reader, send: Send) -> None:
        pending = asyncio.ensure_future(reader.next())
        try:
            if self._after is not None and self._run.is_over and self._has_seen_the_end(self._after, await pending):
                await send({"type": "http.response.start", "status": HTTPStatus.NO_CONTENT, "headers": _NO_STORE})
                await _send(send, b"", more=False)
                return
            await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": self.raw_headers})
            if self._after is None:
                await self._write(send, sse.encode([self._run.started_event()]))
            while True:
                done, _ = await asyncio.wait([pending], timeout=sse.PING_SECONDS)
                if not done:
                    await self._write(send, sse.PING)
                    continue
                events = pending.result()
                if not events:
                    break
                await self._write(send, sse.encode(events))
                pending = asyncio.ensure_future(reader.next())
        finally:
            pending.cancel()
        await _send(send, self._gzip.end() if self._gzip else b"", more=False)

    def _has_seen_the_end(self, after: int, events: list[Event]) -> bool:
        """Whether `events`, the first for who has seen all up to id `after`, are the final one that was seen already;
        that is not known where there may have been more lines than are known here.
        """
        first = events[0] if events else None
        is_final = isinstance(first, Control) and first.final and first.id is not None and first.id <= after
        return is_final and self._run.is_whole

    async def _write(self, send: Send, data: bytes) -> None:
        await _send(send, self._gzip.piece(data) if self._gzip else data)


async def _send(send: Send, data: bytes, *, more: bool = True) -> None:
    async with asyncio.timeout(SEND_SECONDS):
        await send({"type": "http.response.body", "body": data, "more_body": more})


async def _until_disconnect(receive: Receive, then: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    then()
