"""Runs that are over, as their history has them, for who may see them: the rules are those of all other runs."""

import re
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from k8s_mcp.errors import NotFound
from k8s_mcp.history.history import History
from k8s_mcp.history.kept import PastRun, Timed
from k8s_mcp.log_format import later
from k8s_mcp.models import Control, Principal, owner_of
from k8s_mcp.observe.facts import Via
from k8s_mcp.policy.observers import Deed
from k8s_mcp.runs.eventlog import EventLog, Reader
from k8s_mcp.runs.sight import NO_SUCH, Sight

_RUN_ID = re.compile("[0-9a-f]{32}")
_NO_HISTORY = "this service keeps no history: K8S_MCP_HISTORY_SECONDS and K8S_MCP_HISTORY_URL are its settings"
_ONLY_STATES = "the history has what runs were, and their output only with K8S_MCP_HISTORY_OUTPUT"
_NONE_OF_IT = "the history has what the run was, and none of its output"


@dataclass(frozen=True)
class PastOutput:
    """What a run sent, and when: all of it, or its beginning and its end. It is forgotten at `until`."""

    run: PastRun
    sent: Sequence[Timed]
    until: str

    @property
    def missing(self) -> int:
        """How many lines between are not kept, or were lost on the way."""
        counts = (event.data.get("missing") for _, event in self.sent if isinstance(event, Control))
        return sum(count for count in counts if isinstance(count, int))


class PastRuns:
    """Asks the history, if there is one. Every method raises Unavailable when its database is away."""

    def __init__(self, history: History | None, sight: Sight) -> None:
        self._history = history
        self._sight = sight

    def about(self) -> dict[str, object] | None:
        """What is kept; None if nothing is."""
        if self._history is None:
            return None
        return {"seconds": self._history.keeping.seconds, "output": self._history.output_is_kept}

    async def list(
        self,
        principal: Principal,
        since: str | None,
        before: str | None,
        most: int,
        *,
        everybodys: bool,
    ) -> dict[str, object]:
        """The principal's, or with `everybodys` all that it may see, the latest first; `before` is the `next` of an
        earlier answer. Raises NotFound without a history.
        """
        if self._history is None:
            raise NotFound(_NO_HISTORY)
        sees_all = everybodys and self._sight.sees_all(principal)
        owner = None if sees_all else owner_of(principal)
        time, _, run_id = before.partition("/") if before else ("", "", "")
        found = await self._history.past(owner, since, (time, run_id) if before else None, most)
        states = [(run.spec, run.state) for run in found.runs]
        if everybodys:
            states = self._sight.seen(principal, states)
            self._sight.note_list(principal, [spec for spec, _ in states], "http")
        last = found.runs[-1] if len(found.runs) == most else None
        return {
            "runs": [state for _, state in states],
            "next": f"{last.spec.created}/{last.spec.run_id}" if last else None,
            "missed": [
                {"from": missed.began, "to": missed.ended, **({"runs": missed.runs} if sees_all else {})}
                for missed in found.missed
            ],
        }

    async def describe(self, principal: Principal, run_id: str) -> dict[str, object]:
        """One run's state. Raises NotFound, also for somebody else's run."""
        run = await self._checked(principal, run_id, "state")
        state = self._sight.shown(principal, run.spec, run.state)
        return state if run.requests is None else {**state, "requests": run.requests}

    async def follow(self, principal: Principal, run_id: str, *, timed: bool) -> "Replay":
        """What it sent; with `timed`, and when. Raises NotFound; Forbidden for an observer who may not read it."""
        output = await self.output(principal, run_id)
        return Replay(run_id, output.sent, timed=timed)

    async def output(self, principal: Principal, run_id: str, via: Via = "http") -> PastOutput:
        """The same, to be looked into. Raises NotFound and Forbidden as `follow`."""
        if self._history is None:
            raise NotFound(NO_SUCH)
        run = await self._checked(principal, run_id, "output", via)
        sent = await self._history.output(run_id) if run.has_output else None
        if sent is None:
            raise NotFound(_without_output(run, _NONE_OF_IT if self._history.output_is_kept else _ONLY_STATES))
        return PastOutput(run, sent, later(str(run.state["ended"]), self._history.keeping.seconds))

    async def _checked(self, principal: Principal, run_id: str, deed: Deed, via: Via = "http") -> PastRun:
        known = await self._history.one(run_id) if self._history and _RUN_ID.fullmatch(run_id) else None
        if known is None:
            raise NotFound(NO_SUCH)
        self._sight.checked(principal, known.spec, deed, via)
        return known


def _without_output(run: PastRun, why: str) -> str:
    state = run.state
    code = "" if state["exit_code"] is None else f", exit code {state['exit_code']}"
    return f"the run ended at {state['ended']} ({state['status']}{code}), and its output is gone: {why}"


class Replay:
    """A past run's events, to be followed as those of any other run."""

    is_over = True
    is_whole = True

    def __init__(self, run_id: str, sent: Iterable[Timed], *, timed: bool) -> None:
        self.run_id = run_id
        self._sent = list(sent)
        self._timed = timed

    def started_event(self) -> Control:
        return Control({"status": "started", "run_id": self.run_id})

    @contextmanager
    def events(self, after: int | None = None, *, watching: bool = False) -> Generator[Reader]:
        """All of them, or those behind id `after`; times only with all."""
        log = EventLog(capacity=0)
        shown = -1.0
        for at, event in self._sent:
            if self._timed and at != shown:
                shown = at
                log.add(Control({"status": "at", "seconds": at}))
            log.add(event)
        log.close()
        with log.reader(after, watching=watching) as reader:
            yield reader
