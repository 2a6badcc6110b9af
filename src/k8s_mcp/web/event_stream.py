"""The response that streams a run's events."""

import asyncio
import logging
from collections.abc import Callable

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from k8s_mcp.log_format import about_run
from k8s_mcp.runs.run import Run
from k8s_mcp.web import sse

SEND_SECONDS = 300.0
"""How long a client may leave a stream unread before its connection is closed; it can come back and resume."""

_logger = logging.getLogger(__name__)


class EventStream(Response):
    """Sends a run's events as they come, a comment when there are none for a while, until the final event or the
    client's leave.
    """

    media_type = sse.MEDIA_TYPE

    def __init__(self, run: Run, after: int | None = None) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._run = run
        self._after = after

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        with about_run(self._run.run_id):
            await self._until_read_or_left(receive, send)

    async def _until_read_or_left(self, receive: Receive, send: Send) -> None:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_until_disconnect, receive, group.cancel_scope.cancel)
                await self._stream(send)
                group.cancel_scope.cancel()
        except* TimeoutError:
            _logger.info("nothing was read for %g s, closing the connection", SEND_SECONDS)

    async def _stream(self, send: Send) -> None:
        async def write(data: bytes, more: bool = True) -> None:
            async with asyncio.timeout(SEND_SECONDS):
                await send({"type": "http.response.body", "body": data, "more_body": more})

        with self._run.events(self._after) as reader:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            if self._after is None:
                await write(sse.encode([self._run.started_event()]))
            pending = asyncio.ensure_future(reader.next())
            try:
                while True:
                    done, _ = await asyncio.wait([pending], timeout=sse.PING_SECONDS)
                    if not done:
                        await write(sse.PING)
                        continue
                    events = pending.result()
                    if not events:
                        break
                    await write(sse.encode(events))
                    pending = asyncio.ensure_future(reader.next())
            finally:
                pending.cancel()
        await write(b"", more=False)


async def _until_disconnect(receive: Receive, then: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    then()
