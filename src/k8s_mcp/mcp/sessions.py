"""The open sessions of MCP's older SSE transport: whose each is, how many somebody may have, and when one is over."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from anyio.streams.memory import MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from k8s_mcp.beside import beside
from k8s_mcp.errors import NotFound, TooManySessions
from k8s_mcp.models import Principal

_LOOK_SECONDS = 5.0


@dataclass(eq=False)
class Session:
    """One open stream. `incoming` takes what its client says; `end` ends it.

    `calls` are in progress; `used` is when it last had one, in seconds of a monotonic clock.
    """

    principal: Principal
    incoming: MemoryObjectSendStream[SessionMessage | Exception]
    end: Callable[[], None]
    session_id: str = field(default_factory=lambda: secrets.token_hex(16))
    calls: int = 0
    used: float = field(default_factory=time.monotonic)


class Sessions:
    """All of this replica, at most `most` of one principal.

    A session without a message for `idle` seconds ends, unless a call is in progress. None ends for the sake of
    another: its client would come back by itself, in the place of the next one.
    """

    def __init__(self, most: int, idle: float) -> None:
        self._most = most
        self._idle = idle
        self._open: dict[str, Session] = {}

    @asynccontextmanager
    async def expire(self) -> AsyncGenerator[None]:
        """End idle sessions, as long as the context lasts."""
        async with beside(self._look):
            yield

    @contextmanager
    def opened(
        self,
        principal: Principal,
        incoming: MemoryObjectSendStream[SessionMessage | Exception],
        end: Callable[[], None],
    ) -> Generator[Session]:
        """A new session, there as long as the context lasts. Raises TooManySessions."""
        count = sum(session.principal == principal for session in self._open.values())
        if count >= self._most:
            raise TooManySessions(
                f"{count} MCP sessions are open, the most that one caller may have; close one, or use /mcp instead"
            )
        session = Session(principal, incoming, end)
        self._open[session.session_id] = session
        try:
            yield session
        finally:
            self._open.pop(session.session_id, None)

    def of(self, principal: Principal, session_id: str) -> Session:
        """The principal's session of that id. Raises NotFound, also for somebody else's."""
        session = self._open.get(session_id)
        if session is None or session.principal != principal:
            raise NotFound("there is no such session, or it is over; open another with GET /sse")
        return session

    @contextmanager
    def busy(self, principal: Principal, session_id: str) -> Generator[None]:
        """A call in progress in the principal's session of that id; without one it belongs to no session."""
        try:
            session = self.of(principal, session_id)
        except NotFound:
            yield
            return
        session.calls += 1
        try:
            yield
        finally:
            session.calls -= 1
            session.used = time.monotonic()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(min(_LOOK_SECONDS, self._idle / 4))
            for session in list(self._open.values()):
                if not session.calls and time.monotonic() - session.used > self._idle:
                    del self._open[session.session_id]
                    session.end()
