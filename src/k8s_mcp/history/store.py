"""The history's statements. A session is for one thread at a time; every method raises Away."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from k8s_mcp.history.database import Database, Session
from k8s_mcp.history.kept import PastRun, Row, past_run
from k8s_mcp.history.schema import migrate, version_of

_INSERT = """INSERT INTO k8s_mcp_runs (run_id, owner, created, ended, state, requests, output)
    VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run_id) """
_SURE = f"""{_INSERT} DO UPDATE SET ended = excluded.ended, state = excluded.state,
        requests = coalesce(excluded.requests, k8s_mcp_runs.requests),
        output = coalesce(excluded.output, k8s_mcp_runs.output)
    WHERE k8s_mcp_runs.owner = excluded.owner"""
_UNSURE = f"{_INSERT} DO NOTHING"
_MISSED = """INSERT INTO k8s_mcp_missed (id, began, ended, runs) VALUES (?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET began = excluded.began, ended = excluded.ended, runs = excluded.runs"""
_MANY = 2**40
_PRUNE = """DELETE FROM k8s_mcp_runs WHERE ended < ? OR run_id IN
    (SELECT run_id FROM k8s_mcp_runs ORDER BY created DESC, run_id DESC LIMIT ? OFFSET ?)"""
_LIST = """SELECT run_id, owner, state FROM k8s_mcp_runs
    WHERE ended >= ? AND (created, run_id) < (?, ?) {whose} ORDER BY created DESC, run_id DESC LIMIT ?"""
_ONE = """SELECT run_id, owner, state, requests, output IS NOT NULL FROM k8s_mcp_runs
    WHERE run_id = ? AND ended >= ?"""
_OUTPUT = "SELECT output FROM k8s_mcp_runs WHERE run_id = ?"


@dataclass(frozen=True, slots=True)
class Missed:
    """So many runs that ended in that time are not in the history. The id is there to say so once."""

    id: str
    began: str
    ended: str
    runs: int

    def and_another(self, at: str) -> "Missed":
        return Missed(self.id, self.began, at, self.runs + 1)


class Store:
    """The tables in a database."""

    def __init__(self, database: Database) -> None:
        self.name = database.name
        self._database = database

    def connect(self) -> Session:
        """A session on tables as this version knows them. Raises StartError where a later one has been."""
        session = self._database.connect()
        try:
            migrate(session, self._database.find_table, self._database.types)
        except BaseException:
            session.close()
            raise
        return session

    def version(self) -> int:
        """Of the tables that are there, without a change to anything; 0 if there are none."""
        if self._database.is_missing():
            return 0
        session = self._database.connect()
        try:
            return version_of(session, self._database.find_table)
        finally:
            session.close()

    def write(self, session: Session, rows: Sequence[Row], missed: Missed | None) -> None:
        """All of it, or nothing; what is there already is not there twice. Raises Refused."""
        with session.transaction():
            for row in rows:
                values = row.run_id, row.owner, row.created, row.ended, row.state, row.requests, row.output
                session.ask(_SURE if row.sure else _UNSURE, *values)
            if missed:
                session.ask(_MISSED, missed.id, missed.began, missed.ended, missed.runs)

    def prune(self, session: Session, before: str, most: int) -> None:
        """Forget what ended before that, and what is older than the latest so many."""
        session.ask(_PRUNE, before, _MANY, most)
        session.ask("DELETE FROM k8s_mcp_missed WHERE ended < ?", before)

    def past(
        self, session: Session, owner: str | None, since: str, before: tuple[str, str], most: int
    ) -> list[PastRun]:
        """Of that owner, or of all, the latest first: what ended since then, and began before that."""
        values: list[Any] = [since, *before]
        if owner is not None:
            values.append(owner)
        statement = _LIST.format(whose="" if owner is None else "AND owner = ?")
        return [past_run(*row) for row in session.ask(statement, *values, most)]

    def missed(self, session: Session, since: str) -> list[Missed]:
        """The latest first, a hundred at most."""
        statement = "SELECT id, began, ended, runs FROM k8s_mcp_missed WHERE ended >= ? ORDER BY ended DESC LIMIT 100"
        return [Missed(*row) for row in session.ask(statement, since)]

    def one(self, session: Session, run_id: str, since: str) -> PastRun | None:
        rows = session.ask(_ONE, run_id, since)
        if not rows:
            return None
        *known, has_output = rows[0]
        return past_run(*known, has_output=bool(has_output))

    def output(self, session: Session, run_id: str) -> bytes | None:
        """What the run sent, packed."""
        rows = session.ask(_OUTPUT, run_id)
        return rows[0][0] if rows else None
