"""PostgreSQL, which all replicas share. https://www.postgresql.org/docs/current/libpq-connect.html"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from k8s_mcp.errors import StartError
from k8s_mcp.history.database import Away, Refused

_SCHEMA_LOCK = 0x6B38736D6370  # "k8smcp": of all that use this database, only we take it
_SILENCE = {
    "connect_timeout": 3,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "application_name": "k8s-mcp-server",
}
"""For a server that is there no more, or a network that says nothing; a URL can say otherwise."""
_STATEMENT = "SET statement_timeout = '10s'"
_NOT_A_URL = (
    "K8S_MCP_HISTORY_URL (--history-url) is no URL that PostgreSQL understands: "
    "postgresql://USER:PASSWORD@HOST:5432/DATABASE, with %40 for an @ in the password, and so on"
)


class Postgres:
    """The database of a URL. No error of it has the password."""

    types: Mapping[str, str] = {"text": 'TEXT COLLATE "C"', "blob": "BYTEA"}
    # Not to_regclass(), which remembers that a table was not there.
    find_table = "SELECT count(*) FROM pg_tables WHERE tablename = ? AND schemaname = ANY (current_schemas(false))"

    def __init__(self, url: str) -> None:
        try:
            parts = conninfo_to_dict(url)
            self._url = make_conninfo(url, **{name: value for name, value in _SILENCE.items() if name not in parts})
        except (psycopg.Error, UnicodeError):
            raise StartError(_NOT_A_URL) from None  # its own message quotes
        if not _is_whole(parts):
            raise StartError(_NOT_A_URL)
        self._password = str(parts.get("password") or "")
        where = ":".join(str(parts[name]) for name in ("host", "port") if parts.get(name))
        self.name = f"PostgreSQL at {where or 'its usual place'}"

    def connect(self) -> "_Session":
        with _told(self._masked):
            connection = psycopg.connect(self._url, autocommit=True, prepare_threshold=None)
        session = _Session(connection, self._masked)
        try:
            session.ask(_STATEMENT)
        except BaseException:
            session.close()
            raise
        return session

    def is_missing(self) -> bool:
        return False

    def _masked(self, text: str) -> str:
        return text.replace(self._password, "[masked]") if self._password else text


def _is_whole(parts: Mapping[str, object]) -> bool:
    """Whether no part of a password with an @ or a slash in it was taken for something else, which errors name."""
    ports = str(parts.get("port") or "").replace(",", "")
    return all("@" not in str(parts.get(name, "")) for name in ("host", "dbname")) and (not ports or ports.isdigit())


class _Session:
    def __init__(self, connection: "psycopg.Connection[tuple[Any, ...]]", mask: Callable[[str], str]) -> None:
        self._connection = connection
        self._mask = mask

    def ask(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with _told(self._mask):
            cursor = self._connection.execute(sql.replace("?", "%s").encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def transaction(self, *, alone: bool = False) -> Generator[None]:
        with _told(self._mask), self._connection.transaction():
            if alone:
                self.ask("SELECT pg_advisory_xact_lock(?)", _SCHEMA_LOCK)
            yield

    def close(self) -> None:
        self._connection.close()


@contextmanager
def _told(mask: Callable[[str], str]) -> Generator[None]:
    try:
        yield
    except (psycopg.DataError, psycopg.IntegrityError, UnicodeError) as error:
        raise Refused(mask(str(error))) from None
    except psycopg.Error as error:
        raise Away(mask(" ".join(str(error).split()))) from None
