"""Why a command does not start yet: on a terminal a line that goes away again, else a line when that lasts."""

import os
from collections.abc import Callable
from threading import Event, Lock, Thread, Timer

from k8s_mcp.cli.tell import printable

_TERMINAL_SECONDS = 1.0
_PENDING_SECONDS = 2.0
_STDERR = 2
_COLUMNS = 80  # of a terminal that does not say it
_ERASE = b"\r\x1b[K"


class StartNotice:
    """`is_pending` asks the service; `tell` writes a line that stays; `write` writes to a file."""

    def __init__(
        self,
        is_pending: Callable[[], bool],
        tell: Callable[[str], None],
        write: Callable[[int, bytes], None],
        *,
        transient: bool = True,
    ) -> None:
        """`transient`: whether a terminal can be given the line that goes away again."""
        self._is_pending = is_pending
        self._tell = tell
        self._write = write
        self._terminal = transient and os.isatty(_STDERR)
        self._reason = ""
        self._timer: Timer | None = None
        self._shown = False
        self._over = Event()
        self._lock = Lock()

    def started(self) -> None:
        """The run is there; its command may not have begun."""
        if self._terminal and not self._over.is_set():
            Thread(target=self._watch, daemon=True).start()

    def on(self, reason: str, message: str) -> None:
        """Kubernetes says why the pod does not start."""
        said = f"{reason}: {message}"
        if said == self._reason:
            return
        self._reason = said
        if not self._terminal:
            self._stop_timer()
            self._timer = Timer(_PENDING_SECONDS, self._tell, [f"waiting: {said}"])
            self._timer.daemon = True
            self._timer.start()

    def over(self) -> None:
        """Something else is about to be written, or the run has ended."""
        self._stop_timer()
        if not self._over.is_set():
            with self._lock:
                self._over.set()
                self._erase()

    def _watch(self) -> None:
        while not self._over.wait(_TERMINAL_SECONDS):
            pending = self._is_pending()
            with self._lock:
                self._erase()
                if not pending or self._over.is_set():
                    return
                text = printable(f"k8s-mcp: a pod is being started ({self._reason or 'the service waits for it'})")
                self._write(
                    _STDERR, text[: (os.get_terminal_size(_STDERR).columns or _COLUMNS) - 1].encode(errors="replace")
                )
                self._shown = True

    def _erase(self) -> None:
        if self._shown:
            self._write(_STDERR, _ERASE)
            self._shown = False

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None
