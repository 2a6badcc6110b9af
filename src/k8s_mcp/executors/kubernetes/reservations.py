"""The Jobs that idempotency keys name. The cluster refuses a second one: of several requests one starts the run.

Where a warm pod waits, the key's Job says from its creation on that its run is to be in that one; then the pod is
claimed. docs/kubernetes-executor.md, "Warm pods and idempotency keys", has the states, and who may do what in each.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

from k8s_mcp.cluster.client import ApiError, ApiUnreachable, Json
from k8s_mcp.cluster.connection import Cluster
from k8s_mcp.cluster.objects import PodTemplate, make_job, read_run
from k8s_mcp.cluster.warm import bound_job, is_of_key, is_run_of_key, make_key_job, waits, warm_job_of
from k8s_mcp.cluster.watch import JOBS, NO_ANSWER
from k8s_mcp.errors import Unavailable
from k8s_mcp.executors.base import uninterrupted
from k8s_mcp.executors.kubernetes.ownership import is_going, owner_of
from k8s_mcp.executors.kubernetes.replicas import Replicas
from k8s_mcp.executors.kubernetes.run_objects import FIRST_PAUSE, create_once, pause_after
from k8s_mcp.executors.kubernetes.warm_pool import Waiting, WarmPool
from k8s_mcp.models import RunSpec

_GOING_SECONDS = 10.0  # for a run of the same key that is just being started, or removed
_BIND_SECONDS = 9.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reserved:
    """The Job of a key, and the warm pod that it names, if one waited."""

    job: Json
    waiting: Waiting | None


class Reservations:
    """What is reserved here, and not started yet. `replica` names this process."""

    def __init__(
        self, cluster: Cluster, template: PodTemplate, replica: str, replicas: Replicas, pool: WarmPool
    ) -> None:
        self._cluster = cluster
        self._template = template
        self._replica = replica
        self._is_gone = replicas.is_gone
        self._pool = pool
        self._reserved: dict[str, Reserved] = {}

    def has(self, name: str) -> bool:
        """Whether the Job of that name is reserved here."""
        return name in self._reserved

    def take(self, spec: RunSpec) -> Reserved | None:
        """What was reserved for the run, which is started now; None when nothing was."""
        return self._reserved.pop(spec.name, None)

    async def reserve(self, spec: RunSpec) -> RunSpec | None:
        """See `SharedExecutor`. The Job is created, suspended: whoever comes second finds it there."""
        try:
            async with asyncio.timeout(_GOING_SECONDS):
                while True:
                    there = await self._create(spec)
                    if there is None:
                        return None
                    run = await self._told_of(there)
                    if run is not None:
                        return run
        except TimeoutError:
            busy = "the run that this key has started before is being started or removed; try again later"
            raise Unavailable(busy) from None
        except ApiUnreachable as error:
            raise Unavailable(NO_ANSWER) from error
        except ApiError:
            return None  # the run will say so

    async def unreserve(self, spec: RunSpec) -> None:
        """See `SharedExecutor`."""
        reserved = self._reserved.pop(spec.name, None)
        if reserved is not None:
            self._give_back(reserved.waiting)
            try:
                await self._cluster.api.delete(JOBS, spec.name, uid=reserved.job["metadata"]["uid"])
            except (ApiError, ApiUnreachable) as error:
                _logger.warning("the janitor will remove %s: %s", spec.name, error)

    @asynccontextmanager
    async def bound(self, reserved: Reserved) -> AsyncGenerator[None]:
        """The run is in the warm pod: meanwhile its key's Job is written to go with it. That is seen to its end."""
        task = asyncio.create_task(self._bind(reserved))
        try:
            yield
        finally:
            await uninterrupted(_ended(task))

    async def _bind(self, reserved: Reserved) -> None:
        if reserved.waiting is None:
            return
        try:
            async with asyncio.timeout(_BIND_SECONDS):
                await bind(self._cluster, reserved.job, reserved.waiting.job)
        except (ApiError, ApiUnreachable, TimeoutError) as error:
            _logger.warning("the janitor will see to the key's Job: %s", error or "no answer in time")

    async def _create(self, spec: RunSpec) -> Json | None:
        """None when the Job was created; else the one of that name that is there."""
        waiting = self._pool.choose(self._cluster.watch, asyncio.get_running_loop().time())
        warm = waiting.job["metadata"]["name"] if waiting else ""
        parts = (spec, self._replica, self._template)
        manifest = make_key_job(*parts, warm) if warm else make_job(*parts)
        try:
            job = await create_once(self._cluster.api, JOBS, manifest, spec)
        except ApiError as error:
            self._give_back(waiting)
            if error.status != HTTPStatus.CONFLICT:
                raise
        else:
            self._reserved[spec.name] = Reserved(job, waiting)
            return None
        return await self._cluster.api.find(JOBS, spec.name) or await self._create(spec)

    def _give_back(self, waiting: Waiting | None) -> None:
        if waiting is not None:
            self._pool.give_back(waiting)

    async def _told_of(self, job: Json) -> RunSpec | None:
        """The run that the Job of a key is for; None after a change, or a while, after which to look again."""
        name = job["metadata"]["name"]
        if is_going(job):
            with self._cluster.watch.on(name) as watched:
                watched.job = watched.job or job
                while not watched.job_deleted and watched.job["metadata"]["uid"] == job["metadata"]["uid"]:
                    await watched.changed()
            return None
        if not is_of_key(job):
            return _told(job)
        warm = await self._cluster.api.find(JOBS, warm_job_of(job)) if warm_job_of(job) else None
        if warm is not None and is_run_of_key(warm, job) and not is_going(warm):
            return _told(warm)
        if not self._is_gone(owner_of(job)):
            with self._cluster.watch.on(name) as watched:
                await pause_after(FIRST_PAUSE, watched)  # its owner claims the pod just now, or the run has ended
        elif warm is None or not waits(warm) or await self._cluster.api.delete_as_seen(JOBS, warm):
            await self._cluster.api.delete_as_seen(JOBS, job)  # the pod can never be claimed for the run any more
        return None


async def bind(cluster: Cluster, of_key: Json, warm: Json) -> None:
    """Have Kubernetes remove the key's Job when the warm one goes. Raises ApiError and ApiUnreachable."""
    metadata = of_key["metadata"]
    await cluster.api.patch(JOBS, metadata["name"], bound_job(warm), uid=metadata["uid"])


async def _ended(task: asyncio.Task[None]) -> None:
    await asyncio.wait((task,))


def _told(job: Json) -> RunSpec:
    run = read_run(job)
    if run is None:
        raise Unavailable("a Job of that name is there, and it is none of this service's runs")
    return run
