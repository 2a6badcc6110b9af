"""A database as the history needs one: SQLite, or PostgreSQL. What each does in its own way is behind this."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from k8s_mcp.errors import StartError

_EXAMPLES = "sqlite:////var/lib/k8s-mcp/history.sqlite, postgresql://USER:PASSWORD@HOST:5432/DATABASE"


class Away(Exception):
    """The database does not answer, or not now. The message says why, without a password."""


class Refused(Exception):
    """The database does not take these values, and never will."""


class Session(Protocol):
    """One connection, for one thread at a time. Each method raises Away, or Refused."""

    def ask(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Carry out one statement, each `?` in it a value; its rows."""
        ...

    def transaction(self, *, alone: bool = False) -> AbstractContextManager[None]:
        """All or nothing of what is asked meanwhile; with `alone` no other session changes the schema."""
        ...

    def close(self) -> None: ...


class Database(Protocol):
    """Makes sessions. `name` is for people, `types` are columns as it calls them."""

    name: str
    types: Mapping[str, str]
    find_table: str
    """A statement with a table's name for `?`; its first value is true if that table is there."""

    def connect(self) -> Session:
        """Raises Away."""
        ...

    def is_missing(self) -> bool:
        """Whether nothing is there yet, and `connect` would make it. Raises Away where it could not."""
        ...


def database(url: str) -> Database:
    """The database of a URL. What PostgreSQL needs is imported only if it is one. Raises StartError."""
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        from k8s_mcp.history.sqlite import Sqlite  # noqa: PLC0415 - a service has one of them

        return Sqlite(rest[1:])
    if scheme in {"postgresql", "postgres"}:
        try:
            from k8s_mcp.history.postgres import Postgres  # noqa: PLC0415 - it takes a tenth of a second
        except ImportError as error:
            raise StartError(f"K8S_MCP_HISTORY_URL: {error}; pip install 'k8s-mcp-server[postgresql]'") from error
        return Postgres(url)
    raise StartError(f"K8S_MCP_HISTORY_URL (--history-url) is no URL of a database: {_EXAMPLES}")
