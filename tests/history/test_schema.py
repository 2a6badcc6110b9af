"""The tables of any version before are brought forward, once, whoever comes at the same time."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest

from k8s_mcp.errors import StartError
from k8s_mcp.history.database import Away, Database, Session, database
from k8s_mcp.history.schema import STEPS, VERSION, migrate, version_of
from k8s_mcp.history.store import Store
from tests.history.rows import OWNER, row

ANY = "2000-01-01T00:00:00.000Z"


def at_version(one: Database, number: int) -> Session:
    session = one.connect()
    migrate(session, one.find_table, one.types, STEPS[:number])
    return session


@pytest.mark.parametrize("number", range(VERSION))
def test_a_database_of_a_version_before_is_brought_forward_with_what_it_holds(url: str, number: int) -> None:
    one = database(url)
    old = at_version(one, number)
    state = row(1).state
    if number:
        statement = "INSERT INTO k8s_mcp_runs (run_id, owner, created, ended, state) VALUES (?, ?, ?, ?, ?)"
        old.ask(statement, row(1).run_id, OWNER, row(1).created, row(1).ended, state)
    store = Store(one)
    session = store.connect()
    assert store.version() == VERSION
    store.write(session, [row(2, output=b"x")], None)
    there = [run.spec.run_id for run in store.past(session, OWNER, ANY, ("~", ""), 10)]
    assert there == [row(n).run_id for n in ((2, 1) if number else (2,))]
    if number:
        found = store.one(session, row(1).run_id, ANY)
        assert found
        assert (found.requests, found.has_output) == (None, False)
    assert store.output(session, row(2).run_id) == b"x"
    for each in (old, session):
        each.close()


def test_of_many_that_come_at_once_one_makes_the_tables(url: str) -> None:
    one, together = database(url), Barrier(8)

    def come(_: int) -> int:
        together.wait()
        session = Store(one).connect()
        session.close()
        return Store(one).version()

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(come, range(8))) == {VERSION}


def test_who_comes_while_another_writes_waits(tmp_path: Path) -> None:
    """SQLite refuses at once to change the mode of a file that another one writes, whatever its busy timeout."""
    file = tmp_path / "history.sqlite"
    with (
        closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other,
        ThreadPoolExecutor(1) as thread,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"), closing(sqlite3.connect(file)) as refused:
            refused.execute("PRAGMA journal_mode = WAL")
        coming = thread.submit(database(f"sqlite:///{file}").connect)
        with pytest.raises(TimeoutError):
            coming.result(0.2)
        other.execute("COMMIT")
        coming.result(5).close()


def test_a_database_of_a_later_version_is_refused_and_left_as_it_is(url: str) -> None:
    one = database(url)
    session = at_version(one, VERSION)
    session.ask("UPDATE k8s_mcp_history SET version = ?", VERSION + 1)
    with pytest.raises(StartError, match=f"version {VERSION + 1} of the tables, and this service knows {VERSION}"):
        Store(one).connect()
    assert version_of(session, one.find_table) == VERSION + 1
    session.close()


def test_a_step_that_breaks_off_leaves_what_was_there(url: str) -> None:
    one = database(url)
    session = at_version(one, 1)
    with pytest.raises(Away):
        migrate(session, one.find_table, one.types, [*STEPS, ["CREATE TABLE half_way (a INTEGER)", "NONSENSE"]])
    assert version_of(session, one.find_table) == 1
    assert not session.ask(one.find_table, "half_way")[0][0]
    assert not session.ask(one.find_table, "k8s_mcp_missed")[0][0]
    migrate(session, one.find_table, one.types)
    assert version_of(session, one.find_table) == VERSION
    session.close()


@pytest.mark.parametrize(
    "wrong",
    [
        "mysql://u:only-here@h/d",
        "sqlite://",
        "sqlite:///",
        "history.sqlite",
        "postgresql://u:only-here%zz@h/d",
        "postgresql://u:o@only-here@h/d",
        "postgresql://u:only-here@h/d?no_such=1",
        "postgresql://u:only-here/x@h/d",
        "postgresql://u:99/only-here@h/d",
    ],
)
def test_a_url_that_is_none_is_refused_without_being_quoted(wrong: str) -> None:
    with pytest.raises(StartError, match="K8S_MCP_HISTORY_URL") as refused:
        database(wrong)
    assert "only-here" not in str(refused.value)
    assert refused.value.__cause__ is None
