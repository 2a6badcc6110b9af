"""The history as it is read: in threads of its own, within a time, whatever the database does."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TypeVar

from k8s_mcp.errors import StartError, Unavailable
from k8s_mcp.history.database import Away, Session
from k8s_mcp.history.kept import PastRun, Timed, unpack
from k8s_mcp.history.store import Missed, Store
from k8s_mcp.history.writer import Keeping, Writer

_THREADS = 2
_SECONDS = 5.0
_AGAIN_SECONDS = 1.0
_LATEST = ("~", "")  # behind every time

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Found:
    """Some past runs, the latest first, and what the history has missed."""

    runs: list[PastRun]
    missed: list[Missed]


class History:
    """Use `open()` as an async context manager. Every question raises Unavailable when the database is away."""

    def __init__(self, store: Store, keeping: Keeping, writer: Writer, *, output: bool) -> None:
        self.keeping = keeping
        self.output_is_kept = output
        self.observe = writer.observe
        self._store = store
        self._writer = writer
        self._threads = ThreadPoolExecutor(_THREADS, "history")
        self._sessions: SimpleQueue[Session] = SimpleQueue()
        self._away_until = 0.0

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Raises StartError for a database that a later version has used."""
        async with self._writer.open():
            try:
                yield
            finally:
                self._threads.shutdown(wait=False, cancel_futures=True)
                self._close_all()

    async def past(self, owner: str | None, since: str | None, before: tuple[str, str] | None, most: int) -> Found:
        """Of that owner, or of all: what ended since then, and began before that run (its time and its id)."""
        kept_since = max(self.keeping.since(), since or "")

        def read(session: Session) -> Found:
            runs = self._store.past(session, owner, kept_since, before or _LATEST, most)
            return Found(runs, self._store.missed(session, kept_since))

        return await self._ask(read)

    async def one(self, run_id: str) -> PastRun | None:
        """The run of that id."""
        return await self._ask(lambda session: self._store.one(session, run_id, self.keeping.since()))

    async def output(self, run_id: str) -> list[Timed] | None:
        """What it sent, and when, as far as it is kept."""

        def read(session: Session) -> list[Timed] | None:
            packed = self._store.output(session, run_id)
            return unpack(packed) if packed else None

        return await self._ask(read)

    async def _ask(self, question: Callable[[Session], _Answer]) -> _Answer:
        if time.monotonic() < self._away_until:
            raise Unavailable(_AWAY)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_SECONDS):
                return await loop.run_in_executor(self._threads, self._carry_out, question)
        except (Away, StartError, TimeoutError) as error:
            self._away_until = time.monotonic() + _AGAIN_SECONDS
            raise Unavailable(_AWAY) from error

    def _carry_out(self, question: Callable[[Session], _Answer]) -> _Answer:
        """In a thread. A connection that was left too long may be gone: then it is asked once more."""
        try:
            session = self._sessions.get_nowait()
        except Empty:
            return self._with(self._store.connect(), question)
        try:
            return self._with(session, question)
        except Away:
            return self._with(self._store.connect(), question)

    def _with(self, session: Session, question: Callable[[Session], _Answer]) -> _Answer:
        try:
            answer = question(session)
        except BaseException:
            session.close()
            raise
        self._sessions.put(session)
        return answer

    def _close_all(self) -> None:
        while True:
            try:
                self._sessions.get_nowait().close()
            except Empty:
                return


_AWAY = "the history cannot be read right now; runs in progress are as they were; try again later"
