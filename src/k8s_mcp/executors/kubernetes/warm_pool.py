"""The warm pods that wait: which of them a run can have, and how many there should be. No I/O; times are given.

docs/kubernetes-executor.md, "Warm pods", has the states, and who may do what in each.
"""

import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from k8s_mcp.cluster import podstate
from k8s_mcp.cluster.client import Json
from k8s_mcp.cluster.objects import ENDED, RUN, PodTemplate, read_run
from k8s_mcp.cluster.warm import MOST_AGE, TEMPLATE, is_lost, is_ready, template_hash, waits
from k8s_mcp.cluster.watch import Watch, job_of
from k8s_mcp.executors.kubernetes.ownership import annotations_of, is_going

MEMORY_SECONDS = 300.0
"""For so long it is remembered how many runs came at once."""
_REFILL_SECONDS = 4.0  # what comes within that comes at once: so long it takes until another pod waits
_TRIED_SECONDS = 30.0  # then the watch has long shown that it is claimed, if it is
_STARTING = 2  # most pods that are being started at a time


@dataclass(frozen=True)
class Waiting:
    """A Job that nobody has claimed, with its pod as far as it has one. `age`: seconds since it was first seen."""

    job: Json
    pod: Json | None
    age: float

    @property
    def ready(self) -> bool:
        return is_ready(self.job, self.pod)


class WarmPool:
    """What waits, as the watch shows it. `enabled`: runs may have it."""

    def __init__(self, template: PodTemplate, most: int) -> None:
        self.most = most
        self.enabled = False
        self.kind = template_hash(template)
        self._first_seen: dict[str, float] = {}  # by Job's uid
        self._tried: dict[str, float] = {}  # when it was, by Job's uid

    def waiting(self, watch: Watch, now: float) -> list[Waiting]:
        """All of it, also of other settings."""
        jobs = {name: job for name, job in watch.jobs.items() if waits(job)}
        pods = {job_of(pod): pod for pod in watch.pods.values() if job_of(pod) in jobs} if jobs else {}
        there = {job["metadata"]["uid"] for job in jobs.values()}
        self._first_seen = {uid: self._first_seen.get(uid, now) for uid in there}
        self._tried = {uid: at for uid, at in self._tried.items() if uid in there and now < at + _TRIED_SECONDS}
        return [
            Waiting(job, pods.get(name), now - self._first_seen[job["metadata"]["uid"]]) for name, job in jobs.items()
        ]

    def choose(self, watch: Watch, now: float) -> Waiting | None:
        """One that a run may try to claim, and no other here for a while. By chance, so that replicas seldom meet."""
        if not self.enabled:
            return None
        ready = [
            one
            for one in self.waiting(watch, now)
            if one.ready
            and one.job["metadata"]["labels"].get(TEMPLATE) == self.kind
            and one.job["metadata"]["uid"] not in self._tried
        ]
        if not ready:
            return None
        chosen = random.choice(ready)  # noqa: S311 - nobody gains by guessing it
        self._tried[chosen.job["metadata"]["uid"]] = now
        return chosen

    def give_back(self, chosen: Waiting) -> None:
        """Nobody has tried to claim it after all."""
        self._tried.pop(chosen.job["metadata"]["uid"], None)


class Demand:
    """How many runs came at once in the last minutes, on whatever replica."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._came: deque[float] = deque()

    def look(self, jobs: Mapping[str, Json], now: float) -> None:
        """Take note of the runs that are new."""
        runs = {job["metadata"]["labels"].get(RUN, ""): job for job in jobs.values()}
        for run_id in runs.keys() - self._known:
            run = read_run(runs[run_id])
            if run is not None and not run.ended:
                self._came.append(now)
        self._known = set(runs)
        while self._came and self._came[0] < now - MEMORY_SECONDS:
            self._came.popleft()

    def target(self, most: int) -> int:
        """How many pods should wait: at least one, unless there is to be none."""
        return min(most, max(1, _most_within(self._came, _REFILL_SECONDS)))


def _most_within(times: Iterable[float], seconds: float) -> int:
    """The most of these ascending times that lie within so many seconds of each other."""
    window: deque[float] = deque()
    most = 0
    for time in times:
        window.append(time)
        while window[0] < time - seconds:
            window.popleft()
        most = max(most, len(window))
    return most


@dataclass(frozen=True)
class Plan:
    """What is to be done now. `failed`: among what is retired is a pod that did not start in time, or has died."""

    create: bool
    retire: Sequence[Waiting] = ()
    failed: bool = False


@dataclass(frozen=True)
class Aim:
    """What there should be: so many pods of that kind. `start_timeout`: seconds in which one has to be up.

    `runs_wait`: some run's pod has not started; `no_room`: nor will it, while others take the room.
    """

    kind: str
    target: int
    start_timeout: float
    runs_wait: bool = False
    no_room: bool = False
    unseen: int = field(default=0)
    """Created, and not shown by the watch yet."""


def plan(waiting: Sequence[Waiting], aim: Aim) -> Plan:
    """At most one more; runs that wait come first."""
    late = [one for one in waiting if not one.ready and one.age > aim.start_timeout]
    others = [one for one in waiting if one.job["metadata"]["labels"].get(TEMPLATE) != aim.kind]
    retire = [one for one in waiting if one in late or one in others or is_lost(one.job, one.pod)]
    # The ready ones first, of these the young ones: what is left over is the rest.
    good = sorted((one for one in waiting if one not in retire), key=lambda one: (not one.ready, one.age))
    target = 0 if aim.no_room else aim.target
    retire += good[target:]
    good = good[:target]
    if good and all(one.ready for one in good) and good[-1].age > MOST_AGE:
        retire.append(good.pop())  # one after the other, so that there always is one
    starting = aim.unseen + sum(not one.ready for one in good)
    create = len(good) + aim.unseen < target and starting < _STARTING and not aim.runs_wait
    gone = {one.job["metadata"]["uid"] for one in waiting if is_going(one.job)}
    died = any(one.pod is not None and podstate.terminated(one.pod) and not is_going(one.pod) for one in waiting)
    retire = [one for one in retire if one.job["metadata"]["uid"] not in gone]
    return Plan(create, retire, failed=bool(late) or died)


def unstarted(watch: Watch) -> Iterator[tuple[Json, Json | None]]:
    """Runs, on whatever replica, whose command cannot have started yet, each with its pod if it has one."""
    pods = {job_of(pod): pod for pod in watch.pods.values()}
    for name, job in watch.jobs.items():
        if RUN not in job["metadata"]["labels"] or is_lost(job, None) or ENDED in annotations_of(job):
            continue
        pod = pods.get(name)
        if not podstate.has_started(pod):
            yield job, pod
