"""The open sessions of MCP's older SSE transport: whose each is, how many somebody may have, and when one is over."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from starlette.types import Message, Send

from k8s_mcp.errors import NotFound, TooManySessions
from k8s_mcp.models import Principal

_LOOK_SECONDS = 5.0
_ID = re.compile(rb"session_id=([0-9a-f]{32})")


@dataclass(eq=False)
class Session:
    """One open stream. `calls` are in progress; `used` is when it last had one, in seconds of a monotonic clock."""

    principal: Principal
    end: Callable[[], None]
    session_id: str = ""
    calls: int = 0
    used: float = field(default_factory=time.monotonic)


class Sessions:
    """All of this replica. A principal has at most `most`: one more takes the place of the one longest idle.

    A session without a message for `idle` seconds ends, unless a call is in progress.
    """

    def __init__(self, most: int, idle: float) -> None:
        self._most = most
        self._idle = idle
        self._open: dict[Session, None] = {}

    @asynccontextmanager
    async def expire(self) -> AsyncGenerator[None]:
        """End idle sessions, as long as the context lasts."""
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(self._look())
            try:
                yield
            finally:
                looking.cancel()

    @contextmanager
    def opened(self, principal: Principal, end: Callable[[], None]) -> Generator[Session]:
        """A new session, there as long as the context lasts; `end` ends it. Raises TooManySessions."""
        own = [session for session in self._open if session.principal == principal]
        if len(own) >= self._most:
            idle = min((session for session in own if not session.calls), key=lambda one: one.used, default=None)
            if idle is None:
                raise TooManySessions(f"{len(own)} MCP sessions are open and busy, the most that one caller may have")
            self._close(idle)
        session = Session(principal, end)
        self._open[session] = None
        try:
            yield session
        finally:
            self._open.pop(session, None)

    def of(self, principal: Principal, session_id: str) -> Session:
        """The principal's session of that id. Raises NotFound, also for somebody else's."""
        for session in self._open:
            if session_id and session.session_id == session_id and session.principal == principal:
                return session
        raise NotFound("there is no such session, or it is over; open another with GET /sse")

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
            for session in list(self._open):
                if not session.calls and time.monotonic() - session.used > self._idle:
                    self._close(session)

    def _close(self, session: Session) -> None:
        self._open.pop(session, None)
        session.end()


def learning_id(session: Session, send: Send) -> Send:
    """`send` of the session's stream, whose first event tells the id that the SDK has chosen."""

    async def send_and_learn(message: Message) -> None:
        if not session.session_id and (found := _ID.search(message.get("body", b""))):
            session.session_id = found[1].decode()
        await send(message)

    return send_and_learn
