"""Where audit lines are written: standard output, or a file that others may move away at any time."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from k8s_mcp.errors import StartError

_STDOUT = 1


class AuditFile:
    """Appends whole lines to `path`, or to standard output (None). Use `open()` as a context manager.

    A file that was renamed or removed, as log rotation does, is made anew before the next line; no signal is needed.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file = _STDOUT
        self._cut = False  # whether the last line was written in part

    @contextmanager
    def open(self) -> Generator[None]:
        """Raises StartError if the file cannot be written."""
        if self._path is None:
            yield
            return
        try:
            self._file = _opened(self._path)
        except OSError as error:
            raise StartError(f"the audit log {self._path} cannot be written: {error.strerror}") from error
        try:
            yield
        finally:
            os.close(self._file)

    def write(self, line: str) -> None:
        """Append one line, its end included. Raises OSError; then the next line begins a new line all the same."""
        if self._path is not None:
            self._follow(self._path)
        data = line.encode()
        rest = b"\n" + data if self._cut else data
        while rest:
            written = os.write(self._file, rest)
            rest = rest[written:]
            self._cut = bool(rest)

    def _follow(self, path: Path) -> None:
        """Open the file anew unless it is still the one with that name."""
        own = os.fstat(self._file)
        try:
            named = path.stat()
        except FileNotFoundError:
            named = None
        if named is None or (named.st_dev, named.st_ino) != (own.st_dev, own.st_ino):
            file = _opened(path)
            os.close(self._file)
            self._file, self._cut = file, False


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
