"""Who sees which run: its caller, and those whom the policy makes observers of all. Nothing else decides that.

What an observer looks at is told to the audit log, a line for each run and kind of look: programs that look at the
same again and again, as pages do, fill no disk with it.
"""

import asyncio
from collections.abc import Iterable, Sequence

from k8s_mcp.errors import Forbidden, NotFound
from k8s_mcp.models import Principal, RunSpec, owner_of
from k8s_mcp.observe.facts import Look, Observe, Observed, Via
from k8s_mcp.policy.admission import Admission
from k8s_mcp.policy.observers import Deed, Observing

_AGAIN_SECONDS = 600.0
"""After so long a look is told once more."""
_MOST_REMEMBERED = 10_000
NO_SUCH = "no such run; a finished run can be read for a limited time only"

_State = dict[str, object]


class Sight:
    """Asks the policy as it is at that moment."""

    def __init__(self, admission: Admission, observe: Observe) -> None:
        self._admission = admission
        self._observe = observe
        self._told: dict[tuple[str, str, Look], float] = {}

    def sees(self, who: Principal, spec: RunSpec) -> bool:
        """Whether the run is there for `who`."""
        return spec.is_of(who) or self._admission.observing(who).state

    def sees_all(self, who: Principal) -> bool:
        return self._admission.observing(who).state

    def checked(self, who: Principal, spec: RunSpec | None, deed: Deed, via: Via) -> RunSpec:
        """The run, if `who` may do that with it. Raises NotFound; and Forbidden where the run may be seen."""
        if spec is None or not self.sees(who, spec):
            raise NotFound(NO_SUCH)
        if spec.is_of(who):
            return spec
        if not self._admission.observing(who).allows(deed):
            what = "read" if deed == "output" else "cancel"
            raise Forbidden(f"you may see that this run is there, and not {what} it: the policy's `observers` say so")
        if deed != "cancel":  # of which there is a line anyway
            self._note(who, deed, via, spec)
        return spec

    def seen(self, who: Principal, runs: Iterable[tuple[RunSpec, _State]]) -> list[tuple[RunSpec, _State]]:
        """Those of the runs that are there for `who`. The policy is asked once for all: pages ask every second."""
        owner, may = owner_of(who), self._admission.observing(who)
        return [
            (spec, self._told_of(may, spec, state, own=spec.owner == owner))
            for spec, state in runs
            if may.state or spec.owner == owner
        ]

    def shown(self, who: Principal, spec: RunSpec, state: _State) -> _State:
        """The run's state as `who` may know it: observers are told whose it is."""
        return self._told_of(self._admission.observing(who), spec, state, own=spec.is_of(who))

    def _told_of(self, may: Observing, spec: RunSpec, state: _State, *, own: bool) -> _State:
        if not may.state:
            return state
        hidden: _State = {}
        if not (may.output or own):
            hidden["command"] = None
            if state["status"] == "error":  # whose message the command may have written: into its termination log
                hidden["message"] = None
        return {**state, **hidden, "principal": spec.principal}

    def note_list(self, who: Principal, seen: Sequence[RunSpec], via: Via) -> None:
        """`who` was shown the states of these runs."""
        owner = owner_of(who)
        if not all(spec.owner == owner for spec in seen):
            self._note(who, "list", via)

    def about(self, who: Principal) -> _State:
        """What `who` may know of itself."""
        may = self._admission.observing(who)
        return {
            "principal": who.name,
            "groups": sorted(who.groups),
            "observer": {"output": may.output, "cancel": may.cancel} if may.state else None,
            "rules": [rule.describe() for rule in self._admission.rules_for(who)],
        }

    def _note(self, who: Principal, look: Look, via: Via, spec: RunSpec | None = None) -> None:
        now = asyncio.get_running_loop().time()
        key = who.name, spec.run_id if spec else "", look
        told = self._told.pop(key, None)
        if told is not None and now < told + _AGAIN_SECONDS:
            self._told[key] = told
            return
        while len(self._told) >= _MOST_REMEMBERED:
            del self._told[next(iter(self._told))]  # the one told longest ago
        self._told[key] = now
        self._observe(Observed(who, via, look, spec.run_id if spec else "", spec.principal if spec else ""))
