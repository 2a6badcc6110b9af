"""Audit lines on their way to where they are written, which may stall: a log driver that blocks, a slow disk."""

import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager

MOST_BYTES = 16 * 2**20
_WAIT_SECONDS = 1.0  # once per stall, and everything waits meanwhile; on a busy machine a thread's turn takes 0.1 s
_LAST_SECONDS = 5.0


class Behind(OSError):
    """Earlier lines are still waiting to be written."""

    def __init__(self) -> None:
        super().__init__(None, "what reads it does not go on")


class Begun(Behind):
    """As Behind, but a part of the line is written already, and the rest will be."""


class _Line:
    def __init__(self, text: str, *, waited_for: bool = False) -> None:
        self.text = text
        self.waited_for = waited_for
        self.error: OSError | None = None
        self.written = threading.Event()


class AuditQueue:
    """Has lines written in a thread of its own, in their order. Use `open()` as a context manager.

    `write` writes a line, and raises OSError; `on_failure` takes the error and the line, if nobody waits for it.
    """

    def __init__(self, write: Callable[[str], None], on_failure: Callable[[OSError, str], None]) -> None:
        self._write = write
        self._on_failure = on_failure
        self._lines = deque[_Line]()
        self._bytes = 0
        self._late = False
        self._ending = False
        self._changed = threading.Condition()

    @contextmanager
    def open(self) -> Generator[None]:
        """At the end, a few seconds are left for the lines that still wait."""
        thread = threading.Thread(target=self._work, name="audit log", daemon=True)
        thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._ending = True
                self._changed.notify_all()
            thread.join(_LAST_SECONDS)
            with self._changed:
                unwritten = list(self._lines)
                self._lines.clear()
            for line in unwritten:
                self._on_failure(Behind(), line.text)

    def put(self, text: str) -> None:
        """Returns at once. Raises Behind when too much is waiting already."""
        with self._changed:
            if self._bytes + len(text) > MOST_BYTES:
                raise Behind
            self._add(_Line(text))

    def put_and_wait(self, text: str) -> None:
        """Returns when the line is written, for which it waits a second at most.

        Raises OSError if it cannot be: Behind also at once, after such a wait, until all that waits is written.
        """
        line = _Line(text, waited_for=True)
        with self._changed:
            if self._late:
                raise Behind
            self._add(line)
        if not line.written.wait(_WAIT_SECONDS):
            with self._changed:
                if not line.written.is_set():
                    self._late = True
                    if line in self._lines:
                        self._lines.remove(line)
                        self._bytes -= len(text)
                        raise Behind
                    line.waited_for = False
                    raise Begun
        if line.error is not None:
            raise line.error

    def _add(self, line: _Line) -> None:
        self._lines.append(line)
        self._bytes += len(line.text)
        self._changed.notify_all()

    def _work(self) -> None:
        while (line := self._next()) is not None:
            try:
                self._write(line.text)
            except OSError as error:
                line.error = error
            with self._changed:
                self._bytes -= len(line.text)
                self._late = self._late and bool(self._lines)
                line.written.set()
                untold = None if line.waited_for else line.error
            if untold is not None:
                self._on_failure(untold, line.text)

    def _next(self) -> _Line | None:
        """None at the end."""
        with self._changed:
            while not self._lines:
                if self._ending:
                    return None
                self._changed.wait()
            return self._lines.popleft()
