"""Writes what has ended into the history, in a thread of its own: no run waits for it, nor ends by it.

What a database that is away does not take waits here, up to a bound. What is beyond it is missed: counted, logged,
and noted in the history itself, once that is there again.
"""

import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from secrets import token_hex
from time import monotonic
from typing import Protocol

from anyio.to_thread import run_sync

from k8s_mcp.errors import StartError
from k8s_mcp.history.database import Away, Refused, Session
from k8s_mcp.history.kept import Row, row_of
from k8s_mcp.history.store import Missed, Store
from k8s_mcp.log_format import now
from k8s_mcp.models import Output
from k8s_mcp.observe.facts import Happening, OrphanRemoved, RunEnded

MOST_RUNS = 10_000
"""In the history, of all callers together."""
MOST_WAITING = 1000
MOST_WAITING_BYTES = 16 * 2**20
_BATCH = 100
_ROW_BYTES = 2048
_EVENT_BYTES = 200
_LONGEST_PAUSE = 5.0

_logger = logging.getLogger(__name__)


class Told(Protocol):
    """Who counts."""

    def written(self, runs: int) -> None: ...
    def missed(self, runs: int) -> None: ...
    def reachable(self, *, is_so: bool) -> None: ...


@dataclass(frozen=True)
class Keeping:
    """What is kept: for how many seconds, of how many runs, and how much of a command. What is beyond that goes every
    `prune_seconds`; nobody waits for the database for longer than `answer_seconds`.
    """

    seconds: float
    command_bytes: int
    runs: int = MOST_RUNS
    prune_seconds: float = 30.0
    answer_seconds: float = 5.0

    def since(self) -> str:
        """What ended before that is forgotten."""
        return time_text(datetime.now(UTC) - timedelta(seconds=self.seconds))


def time_text(time: datetime) -> str:
    """As runs have their times."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Writer:
    """Told of what happens by `observe`, while `open()` is entered."""

    def __init__(self, store: Store, keeping: Keeping, told: Told) -> None:
        self._store = store
        self._keeping = keeping
        self._told = told
        self._waiting: deque[tuple[int, str, RunEnded | OrphanRemoved]] = deque()
        self._bytes = 0
        self._missed: Missed | None = None
        self._changed = threading.Condition()
        self._begun = threading.Event()
        self._refused: StartError | None = None
        self._ending = False
        self._session: Session | None = None
        self._trouble = ""
        self._pruned = -keeping.prune_seconds

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Raises StartError for a database that a later version has used; one that is away may come later. At the
        end, a few seconds are left for what still waits.
        """
        thread = threading.Thread(target=self._work, name="history", daemon=True)
        thread.start()
        await run_sync(self._begun.wait, self._keeping.answer_seconds)
        if self._refused:
            raise self._refused
        try:
            yield
        finally:
            with self._changed:
                self._ending = True
                self._changed.notify_all()
            await run_sync(thread.join, self._keeping.answer_seconds)
            with self._changed:
                left = len(self._waiting)
            if left:
                self._told.missed(left)
                _logger.warning("the service ends, and the history misses its last %d runs", left)

    def observe(self, happening: Happening) -> None:
        """Returns at once."""
        if not isinstance(happening, RunEnded | OrphanRemoved):
            return
        size = _size(happening)
        with self._changed:
            if len(self._waiting) >= MOST_WAITING or self._bytes + size > MOST_WAITING_BYTES:
                self._miss()
                return
            self._waiting.append((size, now(), happening))
            self._bytes += size
            self._changed.notify_all()

    def _miss(self) -> None:
        at = now()
        if self._missed is None:
            _logger.warning("the history misses runs from now on: %s", self._trouble or "its database is too slow")
        self._missed = self._missed.and_another(at) if self._missed else Missed(token_hex(16), at, at, 1)
        self._told.missed(1)

    def _work(self) -> None:
        try:
            self._try(self._connect)
        except StartError as error:
            self._refused = error
            return
        finally:
            self._begun.set()
        pause = 0.0
        while self._next(pause):
            done = self._try(self._flush)
            pause = 0.0 if done else min(max(1.0, 2 * pause), _LONGEST_PAUSE)
        while self._waiting and self._try(self._flush):
            pass
        if self._session:
            self._session.close()

    def _next(self, pause: float) -> bool:
        """Wait until there is something to do, `pause` seconds at least. False at the end."""
        with self._changed:
            if pause:
                self._changed.wait_for(lambda: self._ending, pause)
                return not self._ending
            self._changed.wait_for(lambda: self._ending or self._waiting or self._missed, self._keeping.prune_seconds)
            return bool(self._waiting or self._missed or not self._ending)

    def _try(self, work: Callable[[], None]) -> bool:
        """Whether the database was there. It is told once that it is away, and once that it is back."""
        try:
            work()
        except StartError as error:
            if not self._trouble:
                raise
            self._on_trouble(str(error))
            return False
        except Away as error:
            self._on_trouble(str(error))
            return False
        except Exception as error:
            _logger.exception("the history failed")
            self._on_trouble(type(error).__name__)
            return False
        if self._trouble:
            _logger.warning("the history is written again")
            self._trouble = ""
        self._told.reachable(is_so=True)
        return True

    def _on_trouble(self, why: str) -> None:
        if self._session:
            self._session.close()
            self._session = None
        if not self._trouble:
            _logger.warning("the history cannot be written; what ends meanwhile waits: %s", why)
        self._trouble = why
        self._told.reachable(is_so=False)

    def _connect(self) -> None:
        self._session = self._session or self._store.connect()

    def _connected(self) -> Session:
        self._session = self._session or self._store.connect()
        return self._session

    def _flush(self) -> None:
        self._connect()  # before any work for it
        with self._changed:
            batch = list(islice(self._waiting, _BATCH))
            missed = self._missed
        rows = [row for _, at, fact in batch if (row := self._row(fact, at))]
        if missed:
            self._write([], missed)
        if rows:
            self._write(rows)
        with self._changed:
            for size, *_ in batch:
                self._waiting.popleft()
                self._bytes -= size
            if missed and self._missed == missed:
                self._missed = None
        if missed:
            _logger.warning("the history misses %d runs that ended until %s", missed.runs, missed.ended)
        self._prune()

    def _row(self, fact: RunEnded | OrphanRemoved, at: str) -> Row | None:
        try:
            return row_of(fact, self._keeping.command_bytes, at)
        except Exception:
            _logger.exception("the history failed at %s", type(fact).__name__)
            with self._changed:
                self._miss()
            return None

    def _write(self, rows: list[Row], missed: Missed | None = None) -> None:
        """If the database refuses one, all others."""
        try:
            self._store.write(self._connected(), rows, missed)
            self._told.written(len(rows))
        except Refused as error:
            if len(rows) == 1:
                _logger.warning("the history does not take run %s: %s", rows[0].run_id, error)
                with self._changed:
                    self._miss()
                return
            for row in rows:
                self._write([row])

    def _prune(self) -> None:
        if monotonic() >= self._pruned + self._keeping.prune_seconds:
            self._store.prune(self._connected(), self._keeping.since(), self._keeping.runs)
            self._pruned = monotonic()


def _size(fact: RunEnded | OrphanRemoved) -> int:
    """About how many bytes wait with it."""
    if isinstance(fact, OrphanRemoved):
        return _ROW_BYTES
    requests = fact.outcome.requests
    sent = sum(_EVENT_BYTES + (len(one.data) if isinstance(one, Output) else 0) for _, one in fact.outcome.sent)
    return _ROW_BYTES + len(fact.run.command or "") + (requests.size if requests else 0) + sent
