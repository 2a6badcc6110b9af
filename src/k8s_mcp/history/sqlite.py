"""SQLite: a file, for one service on one machine. https://www.sqlite.org/wal.html"""

import os
import sqlite3
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from k8s_mcp.history.database import Away, Refused

_BUSY_SECONDS = 5.0
_AGAIN_AFTER_SECONDS = 0.02


class Sqlite:
    """The database in `file`, which is made, for this user alone, if it is not there."""

    types: Mapping[str, str] = {"text": "TEXT", "blob": "BLOB"}
    find_table = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"

    def __init__(self, file: str) -> None:
        self._file = Path(file)
        self.name = f"SQLite in {file}"

    def connect(self) -> "_Session":
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise Away(f"{self._file}: {error.strerror}") from None
        session = _Session(self._file)
        try:
            session.write_ahead()
            session.ask("PRAGMA synchronous = NORMAL")
        except BaseException:
            session.close()
            raise
        return session

    def is_missing(self) -> bool:
        if self._file.exists():
            return False
        place = next(parent for parent in self._file.absolute().parents if parent.exists())
        if not (place.is_dir() and os.access(place, os.W_OK)):
            raise Away(f"{self._file} cannot be made in {place}")
        return True


class _Session:
    def __init__(self, file: Path) -> None:
        with _told():
            self._connection = sqlite3.connect(
                file, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )

    def write_ahead(self) -> None:
        """Change to the mode in which readers and the writer do not wait for one another.

        The busy timeout does not hold for this: who comes while another one writes is refused, and asks again.
        """
        give_up = time.monotonic() + _BUSY_SECONDS
        with _told():
            while True:
                try:
                    self._connection.execute("PRAGMA journal_mode = WAL").fetchall()
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                        raise
                    time.sleep(_AGAIN_AFTER_SECONDS)
                else:
                    return

    def ask(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with _told():
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def transaction(self, *, alone: bool = False) -> Generator[None]:  # noqa: ARG002 - there is but one writer
        self.ask("BEGIN IMMEDIATE")
        try:
            yield
            self.ask("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self.ask("ROLLBACK")
            raise

    def close(self) -> None:
        self._connection.close()


@contextmanager
def _told() -> Generator[None]:
    try:
        yield
    except (sqlite3.DataError, sqlite3.IntegrityError, OverflowError, UnicodeError) as error:
        raise Refused(str(error)) from None
    except sqlite3.Error as error:
        raise Away(str(error)) from None
