"""What a caller hears of runs while it waits: their ids, new lines, and that they go on."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from k8s_mcp.mcp.call import Progress
from k8s_mcp.models import Event, Output

_LINES_SECONDS = 0.1  # between two notifications with lines
_SILENCE_SECONDS = 3.0
"""Clients give up after as little as 5 s without a notification."""
_CHARACTERS = 4000


class Reports:
    """Progress notifications.

    `progress` is the number of lines so far, and a fraction more with each notification that has none.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._began = time.monotonic()
        self._lines = 0
        self._without_lines = 0
        self._text = ""
        self._has_lines = False
        self._news = asyncio.Event()
        self._finished = asyncio.Event()

    @asynccontextmanager
    async def sent(self) -> AsyncGenerator[None]:
        """Report as long as the context lasts, and then what is left."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send())
            yield
            self._finished.set()
            self._news.set()

    def say(self, text: str) -> None:
        """Report something that is no line of output, at once."""
        self._add(text)

    def add(self, events: list[Event], mark: str = "") -> None:
        """Report new lines, `mark` in front of each; and what a pod waits for."""
        for event in events:
            if isinstance(event, Output):
                self._lines += event.count
                self._without_lines = 0
                self._has_lines = True
                lines = event.data.decode()
                self._add("\n".join(mark + line for line in lines.split("\n")) if mark else lines)
            elif event.data["status"] == "pending":
                self._add(f"{mark}waiting: {event.data['reason']}")

    def _add(self, text: str) -> None:
        self._text = (self._text + text + "\n")[-_CHARACTERS:]
        self._news.set()

    async def _send(self) -> None:
        while not self._finished.is_set():
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                self.say(f"[still running after {time.monotonic() - self._began:.0f} s]")
            if await self._report():
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LINES_SECONDS):
                        await self._finished.wait()
        await self._report()

    async def _report(self) -> bool:
        """Whether lines were reported."""
        self._news.clear()
        text, self._text = self._text, ""
        has_lines, self._has_lines = self._has_lines, False
        if text:
            if not has_lines:
                self._without_lines += 1
            fraction = self._without_lines / (self._without_lines + 1)
            await self._progress(self._lines + fraction, None, text.rstrip("\n"))
        return has_lines
