"""Keeps warm pods: starts some before anybody asks, and removes those that nobody should have.

One replica does it for all (`Replicas.warms`). What waits is created under a name of its own, and deleted in the very
version in which it was seen to wait: whoever claims one at that moment has it, or finds it gone.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from k8s_mcp.beside import beside
from k8s_mcp.cluster import podstate
from k8s_mcp.cluster.access import FOR_WARM_PODS, not_allowed
from k8s_mcp.cluster.client import ApiError, ApiUnreachable, Json
from k8s_mcp.cluster.connection import Cluster
from k8s_mcp.cluster.objects import PodTemplate
from k8s_mcp.cluster.warm import WARM, make_warm_job
from k8s_mcp.cluster.watch import JOBS
from k8s_mcp.executors.kubernetes.ownership import is_going
from k8s_mcp.executors.kubernetes.replicas import Replicas
from k8s_mcp.executors.kubernetes.warm_pool import Aim, Demand, Waiting, WarmPool, plan, unstarted
from k8s_mcp.observe.facts import Observe, WarmPodsWait

_LEAST_PAUSE = 0.5  # between two rounds: a run that has just claimed a pod has the node for itself meanwhile
_ROUND_SECONDS = 5.0
_NO_ROOM_SECONDS = 3.0  # for so long a run without a place waits before warm pods make room for it
_UNSEEN_SECONDS = 10.0
_SETTLED_SECONDS = 10.0  # one that is up for so long shows that the others can be
_LAST_WORD_SECONDS = 3.0
_FIRST_BACKOFF, _LONGEST_BACKOFF = 5.0, 300.0

_logger = logging.getLogger(__name__)


class WarmKeeper:
    """Use `open()` for the life of the service, and `leave()` behind it."""

    def __init__(
        self, cluster: Cluster, template: PodTemplate, replicas: Replicas, pool: WarmPool, observe: Observe
    ) -> None:
        self._cluster = cluster
        self._template = template
        self._replicas = replicas
        self._pool = pool
        self._observe = observe
        self._demand = Demand()
        self._unseen: dict[str, float] = {}  # names of Jobs that were created, and when
        self._without_place: dict[str, float] = {}  # runs by Job's uid, and since when
        self._not_before = 0.0
        self._backoff = _FIRST_BACKOFF
        self._told = 0

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Work until the context ends."""
        async with beside(self._work):
            yield

    async def leave(self) -> None:
        """What waits is left to other replicas; the last one takes it along, which nobody would have until its own
        deadline. To be called when the Lease of this replica is gone: of several that end at the same moment, the
        last to look sees no other.
        """
        try:
            async with asyncio.timeout(_LAST_WORD_SECONDS):
                if self._pool.enabled and await self._replicas.is_alone():
                    while there := await self._still_wait():
                        for job in there:
                            await self._retire(job)
        except (ApiError, ApiUnreachable, TimeoutError) as error:
            _logger.warning("warm pods go by their own deadline: %s", error or "no answer in time")

    async def _still_wait(self) -> list[Json]:
        """As the API server has them: the watch can be behind one that has changed, which is deleted as seen only."""
        there = await self._cluster.api.list(JOBS, {"labelSelector": WARM})
        return [job for job in there["items"] if not is_going(job)]

    async def _work(self) -> None:
        while True:
            self._cluster.watch.news.clear()
            try:
                if self._cluster.watch.connected:
                    await self._look(asyncio.get_running_loop().time())
            except (ApiError, ApiUnreachable) as error:
                _logger.warning("warm pods: %s; trying again later", error)
                self._back_off()
            await asyncio.sleep(_LEAST_PAUSE)
            with suppress(TimeoutError):
                async with asyncio.timeout(_ROUND_SECONDS):
                    await self._cluster.watch.news.wait()

    async def _look(self, now: float) -> None:
        pool, watch = self._pool, self._cluster.watch
        if pool.most and not pool.enabled and (now < self._not_before or not await self._enable()):
            return
        waiting = pool.waiting(watch, now)
        self._tell(waiting)
        self._demand.look(watch.jobs, now)
        if self._replicas.warms:
            await self._keep(waiting, now)

    async def _enable(self) -> bool:
        """Whether this account may do with warm pods what it has to."""
        missing = await not_allowed(self._cluster.api, FOR_WARM_PODS)
        if missing:
            _logger.warning(
                "no warm pods: this account may not %s pods in %s; docs/kubernetes-executor.md, Rights",
                *(", ".join(missing), self._cluster.namespace),
            )
            self._pool.most = 0
            self._replicas.keeps_warm = False
        self._pool.enabled = not missing
        return self._pool.enabled

    def _tell(self, waiting: list[Waiting]) -> None:
        ready = sum(one.ready for one in waiting)
        if ready != self._told:
            self._told = ready
            self._observe(WarmPodsWait(ready))

    async def _keep(self, waiting: list[Waiting], now: float) -> None:
        runs_wait, no_room = self._runs_that_wait(now)
        seen = {one.job["metadata"]["name"] for one in waiting}
        self._unseen = {
            name: at for name, at in self._unseen.items() if name not in seen and now < at + _UNSEEN_SECONDS
        }
        most = self._pool.most
        planned = plan(
            waiting,
            Aim(
                kind=self._pool.kind,
                target=self._demand.target(most) if most else 0,
                start_timeout=self._template.start_timeout,
                runs_wait=runs_wait,
                no_room=no_room,
                unseen=len(self._unseen),
            ),
        )
        for one in planned.retire:
            await self._retire(one.job)
        if planned.failed and now >= self._not_before:
            _logger.warning("a warm pod did not start within %g s, or has died", self._template.start_timeout)
            self._back_off()
        elif any(one.ready and one.age > _SETTLED_SECONDS for one in waiting):
            self._backoff = _FIRST_BACKOFF
        if planned.create and now >= self._not_before:
            job = make_warm_job(secrets.token_hex(8), self._template)
            self._unseen[job["metadata"]["name"]] = now
            await self._cluster.api.create(JOBS, job)

    def _runs_that_wait(self, now: float) -> tuple[bool, bool]:
        """Whether there are any; and whether one has found no place in the cluster for a while."""
        runs = list(unstarted(self._cluster.watch))
        homeless = {
            job["metadata"]["uid"]
            for job, pod in runs
            if not job["spec"].get("suspend") and (pod is None or podstate.has_no_node(pod))
        }
        self._without_place = {uid: self._without_place.get(uid, now) for uid in homeless}
        no_room = any(now >= since + _NO_ROOM_SECONDS for since in self._without_place.values())
        return bool(runs), no_room

    async def _retire(self, job: Json) -> None:
        """Remove what waits, unless it waits no more."""
        _logger.debug("warm pod %s goes", job["metadata"]["name"])
        await self._cluster.api.delete_as_seen(JOBS, job)

    def _back_off(self) -> None:
        self._not_before = asyncio.get_running_loop().time() + self._backoff
        self._backoff = min(2 * self._backoff, _LONGEST_BACKOFF)
