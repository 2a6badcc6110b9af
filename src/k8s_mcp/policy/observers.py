"""Who may see the runs of all callers, by the policy, and what they may do with them. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from k8s_mcp.models import Principal
from k8s_mcp.policy.callers import ForCallers

Deed = Literal["state", "output", "cancel"]
"""What can be done with a run: to see its state, to read what it writes, to end it."""


class Observer(ForCallers):
    """Some callers who see the state of all runs; with `output` they read them, with `cancel` they can end them."""

    output: bool = False
    cancel: bool = False


@dataclass(frozen=True)
class Observing:
    """What a caller may do with the runs of others. Nothing of it is so without `state`."""

    state: bool = False
    output: bool = False
    cancel: bool = False

    def allows(self, deed: Deed) -> bool:
        return {"state": self.state, "output": self.output, "cancel": self.cancel}[deed]


def observing(observers: Iterable[Observer], who: Principal) -> Observing:
    """What all entries for `who` say together: each can only add."""
    own = [observer for observer in observers if observer.is_for(who)]
    cancel = not who.only_reads and any(one.cancel for one in own)  # a token that only looks ends nothing of others
    return Observing(bool(own), any(one.output for one in own), cancel)


def warnings(observers: Iterable[Observer]) -> list[str]:
    """One line for each entry by which the runs of all are everybody's."""
    return [
        f"warning: observers[{number}] is for everybody: each caller {_may(observer)}"
        for number, observer in enumerate(observers)
        if any(set(pattern) == {"*"} for pattern in (*observer.principals, *observer.groups))
    ]


def _may(observer: Observer) -> str:
    deeds = ["sees the runs of all others"]
    deeds += ["reads their commands and output"] if observer.output else []
    deeds += ["can end them"] if observer.cancel else []
    return f"{', '.join(deeds[:-1])} and {deeds[-1]}" if len(deeds) > 1 else deeds[0]
