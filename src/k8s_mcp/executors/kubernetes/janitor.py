"""Removes what nobody looks after: runs whose replica is gone, runs of ours that are not carried out here, runs that
were kept for readers and that Kubernetes does not remove, Leases of the dead, stored clusters that have expired.

An orphaned run that somebody follows is taken over by the replica that he follows it at (see `PodExecution`); what is
still orphaned at the end of the resume window has no one. Every replica's janitor sees it at about the same time:
the preconditions of the deletes let one of them do it.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import asynccontextmanager

from k8s_mcp.beside import beside
from k8s_mcp.cluster import podstate
from k8s_mcp.cluster.client import ApiError, ApiUnreachable, Json
from k8s_mcp.cluster.connection import Cluster
from k8s_mcp.cluster.objects import FOLLOWED, REPLICA, RUN, read_run
from k8s_mcp.cluster.warm import is_bound, is_of_key, is_run_of_key, waits, warm_job_of
from k8s_mcp.cluster.watch import JOBS
from k8s_mcp.errors import Unavailable
from k8s_mcp.executors.kubernetes.executor import KubernetesExecutor
from k8s_mcp.executors.kubernetes.handle_store import SecretStore
from k8s_mcp.executors.kubernetes.ownership import NOBODY, Standing, annotations_of, awaited, owner_of, standing
from k8s_mcp.executors.kubernetes.replicas import LEASES, ROUND_SECONDS, holder_of
from k8s_mcp.executors.kubernetes.reservations import bind
from k8s_mcp.log_format import about_run
from k8s_mcp.observe.facts import Observe, OrphanRemoved

_ROUNDS_PER_EXPIRY = 6
_STRAY_SECONDS = 2 * ROUND_SECONDS
_AT_ONCE = 8  # deletes under way
_DELETE_SECONDS = 15.0

_WHY = {
    Standing.ORPHANED: "whose replica is gone",
    Standing.OWNED: "which is ours and goes on without us",
    Standing.OVER: "which was kept long enough",
}

_logger = logging.getLogger(__name__)


class Janitor:
    """Looks at all runs that the cluster holds, round after round."""

    def __init__(
        self,
        cluster: Cluster,
        executor: KubernetesExecutor,
        handles: SecretStore,
        resume_window: float,
        observe: Observe,
    ) -> None:
        self._cluster = cluster
        self._executor = executor
        self._handles = handles
        self._resume_window = resume_window
        self._observe = observe
        self._rounds = 0
        self._keys_since: dict[str, float] = {}  # by Job's uid
        self._since: dict[tuple[str, Standing], float] = {}  # by Job's uid, and what it was found to be

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Work until the context ends."""
        async with beside(self._work):
            yield

    async def _work(self) -> None:
        while True:
            await asyncio.sleep(ROUND_SECONDS)
            if self._cluster.watch.connected:
                await self._round(asyncio.get_running_loop().time())

    async def _round(self, now: float) -> None:
        found = self._left_alone()
        self._since = {key: self._since.get(key, now) for key in found}
        work: list[Coroutine[object, object, None]] = []
        for (uid, state), job in found.items():
            cancelled = podstate.is_cancelled(job) and state is not Standing.OVER
            if cancelled or now >= self._since[uid, state] + self._patience(job, state):
                given_away = state is Standing.OWNED and not cancelled and FOLLOWED in annotations_of(job)
                work.append(self._give_away(job) if given_away else self._remove(job, state))
        work += self._keys(now)
        work += [self._remove_lease(lease) for lease in self._leases_of_the_dead()]
        self._rounds += 1
        if self._rounds % _ROUNDS_PER_EXPIRY == 0:
            work.append(self._remove_expired())
        await _few_at_once(work)

    def _left_alone(self) -> dict[tuple[str, Standing], Json]:
        """Runs that nobody carries out: orphaned, said to be ours, or over."""
        found: dict[tuple[str, Standing], Json] = {}
        for name, job in self._cluster.watch.jobs.items():
            if waits(job) or is_of_key(job):
                continue  # it is nobody's run yet, or stands for one that is elsewhere
            state = standing(job, self._executor.replica, self._executor.replicas.is_gone)
            left_alone = state in (Standing.ORPHANED, Standing.OVER)
            if left_alone or (state is Standing.OWNED and not self._executor.carries(name)):
                found[job["metadata"]["uid"], state] = job
        return found

    def _keys(self, now: float) -> Iterator[Coroutine[object, object, None]]:
        """What is to be done with Jobs that stand for a key, and that nobody looks after. In whatever pod its run is,
        they go with that; where it never came into one, it never will.
        """
        watch, executor = self._cluster.watch, self._executor
        found: dict[str, float] = {}
        for name, job in watch.jobs.items():
            ours = owner_of(job) == executor.replica
            alone = not executor.carries(name) if ours else executor.replicas.is_gone(owner_of(job))
            if not is_of_key(job) or not alone:
                continue
            warm = watch.jobs.get(warm_job_of(job))
            if warm is not None and is_run_of_key(warm, job):
                if not is_bound(job):
                    yield bind(self._cluster, job, warm)
                continue
            uid = job["metadata"]["uid"]
            found[uid] = self._keys_since.get(uid, now)
            if now >= found[uid] + (_STRAY_SECONDS if ours else self._resume_window):
                yield self._remove_key(job)
        self._keys_since = found

    async def _remove_key(self, job: Json) -> None:
        _logger.info("removing %s, whose run was never begun, or is over", job["metadata"]["name"])
        await self._cluster.api.delete_as_seen(JOBS, job)

    def _patience(self, job: Json, state: Standing) -> float:
        """Seconds for which a run may be left alone."""
        if state is Standing.OVER:
            # Kubernetes removes a Job so long after its pod has ended; of some there never was a pod, or it hangs.
            return float(job["spec"].get("ttlSecondsAfterFinished") or 0) + ROUND_SECONDS
        return max(self._resume_window, awaited(job)) if state is Standing.ORPHANED else _STRAY_SECONDS

    async def _give_away(self, job: Json) -> None:
        """A run of ours that is followed elsewhere, and not carried out here: we were cut off while it was made."""
        metadata = job["metadata"]
        _logger.info("letting go of %s, which is ours, goes on without us, and is followed", metadata["name"])
        nobody = {"metadata": {"annotations": {REPLICA: NOBODY}}}
        await self._cluster.api.patch(
            JOBS, metadata["name"], nobody, uid=metadata["uid"], resource_version=metadata["resourceVersion"]
        )

    async def _remove(self, job: Json, state: Standing) -> None:
        metadata = job["metadata"]
        with about_run(metadata.get("labels", {}).get(RUN, "")):
            _logger.info("removing %s, %s", metadata["name"], _WHY[state])
            was_so = await self._cluster.api.delete_as_seen(JOBS, job)
            run = read_run(job)
            if was_so and run is not None and state is not Standing.OVER:
                self._observe(OrphanRemoved(run.run_id, run.server, run.created, run))

    def _leases_of_the_dead(self) -> list[Json]:
        """Those that no run needs any more to be known as orphaned; what has no holder is not ours to judge."""
        owners = {owner_of(job) for job in self._cluster.watch.jobs.values()}
        replicas = self._executor.replicas
        holders = [(holder_of(lease), lease) for lease in replicas.leases]
        return [lease for holder, lease in holders if holder and holder not in owners and replicas.is_gone(holder)]

    async def _remove_lease(self, lease: Json) -> None:
        await self._cluster.api.delete_as_seen(LEASES, lease)

    async def _remove_expired(self) -> None:
        await self._handles.remove_expired()


async def _few_at_once(work: list[Coroutine[object, object, None]]) -> None:
    """Do all of it, whatever becomes of each. One that hangs is tried again in another round."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(task: Coroutine[object, object, None]) -> None:
        async with places:
            try:
                async with asyncio.timeout(_DELETE_SECONDS):
                    await task
            except (ApiError, ApiUnreachable, Unavailable, TimeoutError) as error:
                _logger.warning("janitor: %s; trying again later", error or "no answer in time")

    async with asyncio.TaskGroup() as group:
        for task in work:
            group.create_task(one(task))
