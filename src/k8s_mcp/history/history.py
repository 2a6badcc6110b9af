"""The history as it is read: in threads of its own, within a time, whatever the database does."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

from k8s_mcp.errors import StartError, Unavailable
from k8s_mcp.history.database import Away, Session
from k8s_mcp.history.kept import PastRun, Timed, unpack
from k8s_mcp.history.store import Missed, Store
from k8s_mcp.history.writer import Keeping, Writer

_THREADS = 2
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
        self._threads = asyncio.Semaphore(_THREADS)
        self._sessions: SimpleQueue[Session] = SimpleQueue()
        self._away_until = 0.0
        self._closed = False

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Raises StartError for a database that a later version has used."""
        async with self._writer.open():
            try:
                yield
            finally:
                self._closed = True
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
        try:
            async with asyncio.timeout(self.keeping.answer_seconds):
                await self._threads.acquire()
                return await self._in_thread(question)
        except (Away, StartError, TimeoutError) as error:
            self._away_until = time.monotonic() + _AGAIN_SECONDS
            raise Unavailable(_AWAY) from error

    def _in_thread(self, question: Callable[[Session], _Answer]) -> asyncio.Future[_Answer]:
        """The answer. The thread is one that the end of the process does not wait for, whatever the database does."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[_Answer] = loop.create_future()

        def give(value: _Answer | None, error: BaseException | None) -> None:
            self._threads.release()
            if answer.done():  # nobody waits any more
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(value)  # type: ignore[arg-type]

        def work() -> None:
            value, error = None, None
            try:
                value = self._carry_out(question)
            except Exception as raised:  # noqa: BLE001 - who asked gets it
                error = raised
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(give, value, error)

        Thread(target=work, name="history", daemon=True).start()
        return answer

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
        if self._closed:
            self._close_all()
        return answer

    def _close_all(self) -> None:
        while True:
            try:
                self._sessions.get_nowait().close()
            except Empty:
                return


_AWAY = "the history cannot be read right now; runs in progress are as they were; try again later"
