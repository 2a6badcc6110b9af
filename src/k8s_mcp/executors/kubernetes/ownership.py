"""Whose a run is: one replica carries it out, the others may follow it. Pure, but for the notes that it takes.

A run's Job names its owner. What may be done, by whom, and what must hold for it when it is written:

| the Job says | its state for a replica | the replica may | precondition of the write |
|---|---|---|---|
| nothing yet | to be created | create it, in its own name | the name is free |
| its own name | owned | resume, stop, settle, keep, delete; let go | the Job's `uid`; and the version that was seen |
| another name, of a replica that lives | theirs | note that it is followed, awaited, or to be stopped | `uid` |
| a name whose replica is gone, or none | orphaned | write its own name | `uid` and the version that was seen |
| that it has ended, and is kept | over | follow it | nothing is written |
| nothing any more: it is gone, or going | gone | nothing | |

A replica whose Lease is not surely good any more deletes with the version, too. So of two replicas that take a run
over one wins, an owner that was thought dead finds out at its next write, and nobody touches a later run of the same
name. Ownership is never lost by silence alone: an owner that cannot reach the API server goes on following the pod's
log, and is the owner still, unless somebody took the run meanwhile.
https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
"""

import re
from collections.abc import Callable
from enum import Enum

from k8s_mcp.cluster.client import Json
from k8s_mcp.cluster.objects import AWAITED, ENDED, FOLLOWED, REPLICA

NOBODY = ""
"""The owner of a run that was let go."""
_MOST_AWAITED = 3600.0


class Standing(Enum):
    """A run's state, as one replica sees it."""

    UNKNOWN = "to be created, or not seen yet"
    OWNED = "owned"
    THEIRS = "theirs"
    ORPHANED = "orphaned"
    OVER = "over"
    GONE = "gone"


def annotations_of(job: Json) -> dict[str, str]:
    """The Job's annotations; empty when it has none."""
    return job["metadata"].get("annotations") or {}


def awaited(job: Json | None) -> float:
    """Seconds for which the run goes on without any client, because one said that it comes back; 0 where none did."""
    said = annotations_of(job).get(AWAITED, "") if job else ""
    return min(float(said), _MOST_AWAITED) if re.fullmatch("[0-9]{1,9}", said) else 0.0


def is_going(thing: Json) -> bool:
    """Whether somebody has deleted it, whether or not it is still there."""
    return "deletionTimestamp" in thing["metadata"]


def owner_of(job: Json) -> str:
    """The replica that a Job names; NOBODY for none."""
    return annotations_of(job).get(REPLICA, NOBODY)


def standing(job: Json | None, replica: str, is_gone: Callable[[str], bool], *, deleted: bool = False) -> Standing:
    """The state of the run of `job` for `replica`. `is_gone` says of another replica whether it lives no more."""
    if job is None:
        return Standing.UNKNOWN
    if deleted or is_going(job):
        return Standing.GONE
    if ENDED in annotations_of(job):
        return Standing.OVER
    owner = owner_of(job)
    if owner == replica:
        return Standing.OWNED
    return Standing.ORPHANED if owner == NOBODY or is_gone(owner) else Standing.THEIRS


class Followers:
    """When followers on other replicas were last heard of, by our own clock: others' may be wrong."""

    def __init__(self) -> None:
        self._said = ""
        self._heard_at: float | None = None

    def look(self, job: Json | None, now: float) -> None:
        """Take note of what the Job says now."""
        said = annotations_of(job).get(FOLLOWED, "") if job else ""
        if said and said != self._said:
            self._said, self._heard_at = said, now

    def ago(self, now: float) -> float:
        """Seconds since then; infinite when nobody was heard of."""
        return float("inf") if self._heard_at is None else now - self._heard_at
