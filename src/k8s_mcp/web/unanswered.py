"""Requests that are not answered yet when the service ends: each gets an answer, and none keeps the service."""

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from k8s_mcp.errors import ShuttingDown
from k8s_mcp.web.problems import problem_of

_SECONDS = 2.0  # for what is about to be answered; what hangs at an API server or an issuer would do so for longer


class Unanswered:
    """The tasks of such requests. `end()` ends them."""

    def __init__(self) -> None:
        self.ended = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._none = asyncio.Event()

    def add(self, task: asyncio.Task[None]) -> None:
        """A request has come."""
        self._tasks.add(task)
        self._none.clear()

    def discard(self, task: asyncio.Task[None]) -> None:
        """Its answer has begun, or nothing will come of it."""
        self._tasks.discard(task)
        if not self._tasks:
            self._none.set()

    def __contains__(self, task: asyncio.Task[None]) -> bool:
        return task in self._tasks

    async def end(self) -> None:
        """Have what hangs answered with 503. To be called when no run is left."""
        if self._tasks:
            with suppress(TimeoutError):
                async with asyncio.timeout(_SECONDS):
                    await self._none.wait()
        self.ended = True
        for task in self._tasks:
            task.cancel()


class EndsAnswered:
    """A middleware that keeps `unanswered`."""

    def __init__(self, app: ASGIApp, unanswered: Unanswered) -> None:
        self._app = app
        self._unanswered = unanswered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task, unanswered = asyncio.current_task(), self._unanswered
        if scope["type"] != "http" or task is None:
            await self._app(scope, receive, send)
            return

        async def send_and_see(message: Message) -> None:
            if message["type"] == "http.response.start":
                unanswered.discard(task)
            await send(message)

        unanswered.add(task)
        try:
            await self._app(scope, receive, send_and_see)
        except asyncio.CancelledError:
            if task not in unanswered or not unanswered.ended:
                raise
            await problem_of(ShuttingDown())(scope, receive, send)
        finally:
            unanswered.discard(task)
