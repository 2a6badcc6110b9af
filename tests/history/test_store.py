"""What is written is there once, is found by who may find it, and goes when it is time; in either database."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from k8s_mcp.history.database import Session, database
from k8s_mcp.history.kept import past_run, row_of, row_of_ended
from k8s_mcp.history.store import Missed, Store
from k8s_mcp.history.writer import MOST_RUNS
from k8s_mcp.models import RunSpec
from k8s_mcp.observe.facts import OrphanRemoved
from tests.history.rows import CHANGE, OWNER, created, ended, row, run_id

ANY = "2000-01-01T00:00:00.000Z"
LATEST = ("~", "")
HOSTILE = "\0'; DROP TABLE k8s_mcp_runs; -- \u202e\ud800 \x1b]0;x\x07 <script> %s ? {}"


@pytest.fixture
def store(url: str) -> Store:
    return Store(database(url))


@pytest.fixture
def session(store: Store) -> Iterator[Session]:
    session = store.connect()
    yield session
    session.close()


def ids(store: Store, session: Session, owner: str | None = None) -> list[int]:
    return [int(run.spec.run_id, 16) for run in store.past(session, owner, ANY, LATEST, 20_000)]


def test_what_is_written_again_is_there_once(store: Store, session: Session) -> None:
    """A connection that breaks at the commit leaves open whether it was one; and a run may have had two owners."""
    missed = Missed("m", created(1), created(2), 7)
    for _ in range(2):
        store.write(session, [row(1), row(2, output=b"kept")], missed)
    store.write(session, [row(2)], missed.and_another(created(3)))
    assert ids(store, session) == [2, 1]
    assert store.output(session, run_id(2)) == b"kept"
    assert store.missed(session, ANY) == [Missed("m", created(1), created(3), 8)]


def test_a_guess_changes_nothing_that_is_known_and_nobody_takes_anothers_place(
    store: Store, session: Session
) -> None:
    store.write(session, [row(1), row(2)], None)
    guess = replace(row(1, sure=False), state=json.dumps({"status": "cancelled"}))
    other = replace(row(2, owner="other"), state=json.dumps({"status": "error"}))
    store.write(session, [guess, other, replace(row(3, sure=False))], None)
    found = {
        run.spec.run_id: (run.spec.owner, run.state["status"]) for run in store.past(session, None, ANY, LATEST, 9)
    }
    assert found == {run_id(number): (OWNER, "done") for number in (1, 2, 3)}
    store.write(session, [replace(row(3), state=json.dumps({"status": "timeout"}))], None)
    assert store.past(session, None, ANY, LATEST, 1)[0].state["status"] == "timeout"


def test_pages_have_each_run_once_also_of_one_moment(store: Store, session: Session) -> None:
    same = [replace(row(number), created=created(number // 10)) for number in range(35)]
    store.write(session, [*same, row(99, owner="other")], None)
    seen: list[str] = []
    before = LATEST
    while page := store.past(session, OWNER, ANY, before, 4):
        seen += [run.spec.run_id for run in page]
        before = (created(int(page[-1].spec.run_id, 16) // 10), page[-1].spec.run_id)
    assert seen == [run_id(number) for number in reversed(range(35))]
    assert ids(store, session)[0] == 99
    late = store.past(session, None, created(30), LATEST, 99)
    assert [int(run.spec.run_id, 16) for run in late] == [99, 34, 33, 32, 31, 30]


def test_what_is_too_old_or_too_much_goes(store: Store, session: Session) -> None:
    store.write(session, [row(number) for number in range(MOST_RUNS + 200)], Missed("m", created(0), created(1), 1))
    store.prune(session, created(50), MOST_RUNS)
    there = ids(store, session)
    assert (len(there), there[0], there[-1]) == (MOST_RUNS, MOST_RUNS + 199, 200)
    assert store.missed(session, ANY) == []
    store.prune(session, created(MOST_RUNS + 100), MOST_RUNS)
    assert ids(store, session)[-1] == MOST_RUNS + 100


def test_whatever_was_written_by_callers_comes_back_as_it_was(store: Store, session: Session) -> None:
    fact = ended(1, HOSTILE + "é漢" * 10)
    store.write(session, [row_of_ended(fact, 1000)], None)
    found = store.one(session, run_id(1), ANY)
    assert found
    assert found.state["command"] == (HOSTILE + "é漢" * 10).replace("\ud800", "?")
    assert found.requests
    assert found.requests["changes"] == [CHANGE.describe()]
    assert found.spec.principal == "alice"
    assert "principal" not in found.state
    long = row_of_ended(ended(2, "x" * 5_000_000), 5_000_000)
    assert len(long.state) < 2000


def test_a_run_whose_replica_is_gone_has_what_its_job_said(store: Store, session: Session) -> None:
    spec = RunSpec(run_id(1), "run-1", OWNER, "d", "https://s", 60, created(1), "secret", access="dry_run")
    orphan = row_of(OrphanRemoved(spec.run_id, spec.server, spec.created, replace(spec, principal="alice")), 99, ANY)
    assert orphan
    store.write(session, [orphan], None)
    found = store.past(session, OWNER, ANY, LATEST, 1)[0]
    state = found.state
    assert found.spec.principal == "alice"
    assert (state["status"], state["reason"], state["command"]) == ("cancelled", "ReplicaLost", None)
    assert (state["cluster"], state["dry_run"], state["ended"]) == ("https://s", True, ANY)
    assert row_of(OrphanRemoved("r", "https://s", created(1)), 99, ANY) is None, "of whom nobody knows whose it was"


@pytest.mark.parametrize(
    ("most", "kept"), [(0, None), (3, "kub…"), (1000, "kubectl get pods")], ids=["none", "cut", "all"]
)
def test_no_more_of_a_command_is_kept_than_the_audit_log_may_quote(most: int, kept: str | None) -> None:
    made = row_of_ended(ended(1, "kubectl get pods"), most)
    assert past_run(made.run_id, made.owner, made.state).state["command"] == kept


def test_a_beginning_that_is_no_time_is_not_sorted_by() -> None:
    fact = ended(1)
    odd = replace(fact, run=replace(fact.run, created="~~~"))
    made = row_of_ended(odd, 10)
    assert made.created == made.ended
    assert past_run(made.run_id, made.owner, made.state).spec.created == made.ended
