"""Rows and facts of runs that never were."""

import json
from datetime import UTC, datetime, timedelta

from k8s_mcp.history.kept import Row
from k8s_mcp.history.writer import time_text
from k8s_mcp.models import Ended, Event, Principal, StreamName, owner_of
from k8s_mcp.observe.facts import Amount, Outcome, RunEnded, RunFacts, Target
from k8s_mcp.recorded import Change, Requests

ALICE = Principal("alice")
OWNER = owner_of(ALICE)
BEGAN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=5)
CHANGE = Change("", "patch", "deployments.apps", "scale", "shop", "web", "", 200, dry_run=False, refused="")


def run_id(number: int) -> str:
    return f"{number:032x}"


def created(number: int) -> str:
    return time_text(BEGAN + timedelta(seconds=number))


def row(number: int, owner: str = OWNER, *, output: bytes | None = None, sure: bool = True) -> Row:
    """Runs with higher numbers are later."""
    state = {"principal": "alice", "run_id": run_id(number), "status": "done", "created": created(number)}
    text = json.dumps({**state, "ended": created(number)})
    return Row(run_id(number), owner, created(number), created(number), text, output=output, sure=sure)


def ended(number: int, command: str = "true", sent: tuple[tuple[float, Event], ...] = ()) -> RunEnded:
    """What an observer is told at the end of a run."""
    run = RunFacts(
        run_id(number), ALICE, "http", Target("https://192.0.2.1"), 60, created(number), command, None, None
    )
    requests = Requests(2, 1, complete=True, changes=(CHANGE,))
    amounts: dict[StreamName, Amount] = {"stdout": Amount(4, 2), "stderr": Amount(2, 1)}
    outcome = Outcome(
        Ended("done", 3),
        created(number),
        created(number + 1),
        amounts,
        0,
        0,
        {},
        "",
        requests,
        sent,
    )
    return RunEnded(run, outcome, command_started=True, seconds=1)
