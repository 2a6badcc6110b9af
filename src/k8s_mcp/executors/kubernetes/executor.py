"""The Kubernetes executor: every run in a Job pod of its own, its output read from the pod's log."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from dataclasses import replace
from http import HTTPStatus

from k8s_mcp.cluster import podstate
from k8s_mcp.cluster.client import ApiError, ApiUnreachable, Json
from k8s_mcp.cluster.connection import Cluster
from k8s_mcp.cluster.objects import CANCELLED, RUN, PodTemplate, read_run
from k8s_mcp.cluster.run_files import SECRETS, read_files
from k8s_mcp.cluster.verdict import verdict_of
from k8s_mcp.cluster.warm import was_warm
from k8s_mcp.cluster.watch import JOBS, NO_ANSWER, job_of
from k8s_mcp.cluster.watched import Watched
from k8s_mcp.errors import Unavailable
from k8s_mcp.executors.base import SharedExecution, uninterrupted
from k8s_mcp.executors.kubernetes.gate_log import GateLog
from k8s_mcp.executors.kubernetes.pod_execution import PodExecution
from k8s_mcp.executors.kubernetes.replicas import Replicas
from k8s_mcp.executors.kubernetes.reservations import Reservations, Reserved
from k8s_mcp.executors.kubernetes.run_objects import FIRST_PAUSE, RunObjects, pause_after, pods_of
from k8s_mcp.executors.kubernetes.warm_execution import Begun, WarmExecution
from k8s_mcp.executors.kubernetes.warm_keeper import WarmKeeper
from k8s_mcp.executors.kubernetes.warm_objects import WarmObjects
from k8s_mcp.executors.kubernetes.warm_pool import Waiting, WarmPool
from k8s_mcp.models import RunSpec
from k8s_mcp.observe.facts import Observe, WarmPodAsked

_BEING_MADE_SECONDS = 5.0  # for the Secret of a run that another replica is starting just now
_WARM_TRIES = 2  # of claims that somebody else is faster with: then a pod of one's own is surer

_logger = logging.getLogger(__name__)


class KubernetesExecutor:
    """Runs commands in Job pods. `replica` names this process in them; `warm_pods` is the most that wait for runs."""

    name = "kubernetes"
    loopback_clusters = False

    def __init__(
        self,
        cluster: Cluster,
        template: PodTemplate,
        replica: str,
        warm_pods: int = 0,
        observe: Observe = lambda _: None,
    ) -> None:
        self.replica = replica
        self.replicas = Replicas(cluster, replica, keeps_warm=warm_pods > 0)
        self._cluster = cluster
        self._template = template
        self._observe = observe
        self._carried: set[str] = set()
        self._pool = WarmPool(template, warm_pods)
        self._reservations = Reservations(cluster, template, replica, self.replicas, self._pool)
        self._keeper = WarmKeeper(cluster, template, self.replicas, self._pool, observe)
        self.can_be_read_only = template.isolation

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        async with self._cluster.open():
            try:
                async with self.replicas.open(), self._keeper.open():
                    yield
            finally:
                await self._keeper.leave()

    def check(self) -> None:
        if self._cluster.watch.trouble:
            raise Unavailable(self._cluster.watch.trouble)
        if self.replicas.trouble:
            raise Unavailable(f"runs cannot be started: {self.replicas.trouble}")

    def carries(self, name: str) -> bool:
        """Whether the run of that name is being carried out or followed here."""
        return name in self._carried or self._reservations.has(name)

    @asynccontextmanager
    async def start(self, spec: RunSpec) -> AsyncGenerator[SharedExecution]:
        """Everything of the run is one Job and what belongs to it; leaving the context deletes it and waits until it
        is gone. Where a warm pod waits, that is the run's.
        """
        reserved = self._reservations.take(spec)
        self._carried.add(spec.name)  # the Job of its key, if it has one, wherever the run is
        try:
            async with AsyncExitStack() as stack:
                warm = await self._begun_in_a_warm_pod(spec, reserved, stack)
                job = reserved.job if reserved else None
                yield warm or await stack.enter_async_context(self._in_its_own_pod(spec, job, made_here=True))
        finally:
            self._carried.discard(spec.name)

    async def _begun_in_a_warm_pod(
        self, spec: RunSpec, reserved: Reserved | None, stack: AsyncExitStack
    ) -> SharedExecution | None:
        """The run in a warm pod, for the life of `stack`; None when it is certain that it is not executed in one."""
        clock = asyncio.get_running_loop()
        for waiting in self._waiting_for(spec, reserved):
            began = clock.time()
            name = waiting.job["metadata"]["name"]
            async with AsyncExitStack() as own:
                warm = self._in_a_warm_pod(replace(spec, name=name), made_here=True)
                execution = await own.enter_async_context(warm)
                begun = await execution.begin()
                if begun is Begun.YES or execution.claimed:
                    await stack.enter_async_context(own.pop_all())  # what was claimed in vain goes beside the run
            if begun is Begun.YES:
                if reserved is not None and execution.claimed:
                    await stack.enter_async_context(self._reservations.bound(reserved))
                self._observe(WarmPodAsked("hit", clock.time() - began, waiting.age))
                return execution
            if begun is Begun.NEVER:
                self._observe(WarmPodAsked("late"))
                return None
        if self._pool.enabled:
            self._observe(WarmPodAsked("miss"))
        return None

    def _waiting_for(self, spec: RunSpec, reserved: Reserved | None) -> Iterator[Waiting]:
        """The warm pods that a run can try to claim, one after the other; with a key, the one that its Job names."""
        if spec.is_unique:
            if reserved is not None and reserved.waiting is not None:
                yield reserved.waiting
            return
        for _ in range(_WARM_TRIES):
            waiting = self._pool.choose(self._cluster.watch, asyncio.get_running_loop().time())
            if waiting is None:
                return
            yield waiting

    @asynccontextmanager
    async def follow(self, spec: RunSpec) -> AsyncGenerator[SharedExecution]:
        """Follow a run; leaving the context deletes it only if this replica has become its owner."""
        where = self._in_a_warm_pod if was_warm(spec.name) else self._in_its_own_pod
        async with where(spec, made_here=False) as execution:
            yield execution

    @asynccontextmanager
    async def _in_its_own_pod(
        self, spec: RunSpec, reserved: Json | None = None, *, made_here: bool
    ) -> AsyncGenerator[PodExecution]:
        with self._cluster.watch.on(spec.name) as watched:
            objects = RunObjects(*self._parts(spec), watched, reserved)
            async with self._carrying(spec, objects, watched, made_here) as gate_log:
                parts = (self._cluster, spec, objects, self._template, watched)
                yield PodExecution(*parts, made_here=made_here, gate_log=gate_log)

    @asynccontextmanager
    async def _in_a_warm_pod(self, spec: RunSpec, *, made_here: bool) -> AsyncGenerator[WarmExecution]:
        with self._cluster.watch.on(spec.name) as watched:
            objects = WarmObjects(*self._parts(spec), watched)
            async with self._carrying(spec, objects, watched, made_here) as gate_log:
                parts = (self._cluster, spec, objects, self._template, watched)
                yield WarmExecution(*parts, made_here=made_here, gate_log=gate_log)

    def _parts(self, spec: RunSpec) -> tuple[Cluster, RunSpec, str, Replicas, PodTemplate]:
        return self._cluster, spec, self.replica, self.replicas, self._template

    @asynccontextmanager
    async def _carrying(
        self, spec: RunSpec, objects: RunObjects, watched: Watched, made_here: bool
    ) -> AsyncGenerator[GateLog | None]:
        has_gate = self._template.isolation if made_here else spec.isolated
        gate_log = GateLog(self._cluster.api, watched, lambda: objects.judges) if has_gate else None
        self._carried.add(spec.name)
        try:
            async with gate_log.read() if gate_log else nullcontext():
                try:
                    yield gate_log
                finally:
                    await uninterrupted(objects.remove())  # the gate's last line comes meanwhile
        finally:
            self._carried.discard(spec.name)

    async def reserve(self, spec: RunSpec) -> RunSpec | None:
        """See `SharedExecutor`."""
        return await self._reservations.reserve(spec)

    async def unreserve(self, spec: RunSpec) -> None:
        """See `SharedExecutor`."""
        await self._reservations.unreserve(spec)

    def elsewhere(self) -> list[tuple[RunSpec, str]]:
        watch = self._cluster.watch
        started = {job_of(pod) for pod in watch.pods.values() if podstate.has_started(pod)}
        runs = [read_run(job) for name, job in watch.jobs.items() if not self.carries(name)]
        return [(run, run.ended or ("running" if run.name in started else "pending")) for run in runs if run]

    async def shown(self, spec: RunSpec) -> None:
        """The watch has shown the run's Job, so it has shown every Job that was created before it."""
        await self._cluster.watch.until_shown(spec.run_id)

    async def recover(self, spec: RunSpec) -> RunSpec | None:
        """See `SharedExecutor`. A run that is just being started has no Secret yet: that is waited for, a while."""
        try:
            if spec.ended and await self._is_unreadable(spec):
                return None
            secret = await self._secret(spec)
            if secret is None and not spec.ended:
                with self._cluster.watch.on(spec.name) as watched, suppress(TimeoutError):
                    async with asyncio.timeout(_BEING_MADE_SECONDS):
                        await _until_resumed(watched)
                        while was_warm(spec.name) and secret is None and not podstate.is_over(watched):
                            secret = await self._secret(spec)  # which is made when the pod is there already
                            if secret is None:
                                await pause_after(FIRST_PAUSE, watched)
                secret = secret or await self._secret(spec)
        except ApiError as error:
            raise Unavailable(f"the run cannot be followed: {error.message}") from error
        except ApiUnreachable as error:
            raise Unavailable(NO_ANSWER) from error
        if secret is None:
            # The run is over, or was never started, which is for whoever has the request. With isolation its log
            # holds no credential; else nobody knows any more what to mask.
            return spec if spec.isolated or (spec.command and not spec.ended) else None
        try:
            return read_files(spec, secret.get("data", {}))
        except (KeyError, ValueError) as error:
            self._cluster.odd("secrets", spec.name, f"no files of a run: {type(error).__name__}")
            raise Unavailable("the run cannot be followed: somebody has changed its Secret") from None

    async def _is_unreadable(self, spec: RunSpec) -> bool:
        """Whether the log of a run that is over is gone, and something was in it. Raises ApiError, ApiUnreachable."""
        with self._cluster.watch.on(spec.name) as watched:
            if watched.has_pod:
                return False
            told = verdict_of(watched.job)
        if told is not None and not told.output:
            return False
        # The watch of pods may be behind that of Jobs, or not have begun.
        return not (await pods_of(self._cluster.api, spec.name))["items"]

    async def _secret(self, spec: RunSpec) -> Json | None:
        return await self._cluster.api.find(SECRETS, spec.name)

    async def cancel(self, spec: RunSpec) -> None:
        """Note it on the Job: its owner sees that; of a run that has none, every janitor."""
        if spec.ended:
            return
        with self._cluster.watch.on(spec.name) as watched:
            job = watched.job
        if job is None or job["metadata"]["labels"].get(RUN) != spec.run_id:
            return
        note = {"metadata": {"annotations": {CANCELLED: "true"}}}
        try:
            await self._cluster.api.patch(JOBS, spec.name, note, uid=job["metadata"]["uid"])
        except (ApiError, ApiUnreachable) as error:
            if isinstance(error, ApiError) and error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
                return  # it has ended meanwhile
            raise Unavailable(f"the run cannot be cancelled right now: {error}") from error


async def _until_resumed(watched: Watched) -> None:
    while not watched.job_deleted and (watched.job is None or watched.job["spec"].get("suspend")):
        await watched.changed()
