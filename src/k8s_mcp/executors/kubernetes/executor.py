"""The Kubernetes executor: every run in a Job pod of its own, its output read from the pod's log."""

import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus

from k8s_mcp.cluster import podstate
from k8s_mcp.cluster.client import ApiError, ApiUnreachable
from k8s_mcp.cluster.connection import Cluster
from k8s_mcp.cluster.objects import PodTemplate, is_run, read_job
from k8s_mcp.cluster.watch import job_of
from k8s_mcp.errors import Unavailable
from k8s_mcp.executors.base import Execution, uninterrupted
from k8s_mcp.executors.kubernetes.pod_execution import PodExecution
from k8s_mcp.executors.kubernetes.run_objects import SECRETS, RunObjects, end_pod
from k8s_mcp.models import RunSpec

_UNREACHABLE = "the API server of the cluster for runner pods does not answer; try again later"


class KubernetesExecutor:
    """Runs commands in Job pods. `replica` names this process in them."""

    name = "kubernetes"
    loopback_clusters = False
    durable = True

    def __init__(self, cluster: Cluster, template: PodTemplate, replica: str) -> None:
        self._cluster = cluster
        self._template = template
        self._replica = replica
        self._here: set[str] = set()
        self.can_be_read_only = template.isolation

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        async with self._cluster.open():
            yield

    def check(self) -> None:
        if self._cluster.watch.trouble:
            raise Unavailable(self._cluster.watch.trouble)
        if self._cluster.trouble:
            raise Unavailable(f"runs cannot be started: {self._cluster.trouble}")

    @asynccontextmanager
    async def start(self, spec: RunSpec, *, adopt: bool) -> AsyncGenerator[Execution]:
        """Everything of the run is one Job and what belongs to it; leaving the context deletes it and waits until it
        is gone.
        """
        with self._cluster.watch.on(spec.name) as watched:
            objects = RunObjects(self._cluster, spec, self._replica, self._template, watched)
            self._here.add(spec.name)
            try:
                yield PodExecution(self._cluster, spec, adopt, objects, self._template, watched)
            finally:
                self._here.discard(spec.name)
                await uninterrupted(objects.remove())

    def elsewhere(self) -> list[tuple[RunSpec, str]]:
        watch = self._cluster.watch
        started = {job_of(pod) for pod in watch.pods.values() if podstate.has_started(pod)}
        specs = [read_job(job) for name, job in watch.jobs.items() if name not in self._here and is_run(job)]
        return [(spec, spec.ended or ("running" if spec.name in started else "pending")) for spec in specs]

    async def shown(self, spec: RunSpec) -> None:
        """The watch has shown the run's Job, so it has shown every Job that was created before it."""
        with self._cluster.watch.on(spec.name) as watched:
            while watched.job is None:
                await watched.changed()

    async def recover(self, spec: RunSpec) -> RunSpec | None:
        try:
            secret = await self._cluster.api.get(SECRETS, spec.name)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise Unavailable(f"the run cannot be taken over: {error.message}") from error
            # The run is over. With isolation its log holds no credential; else nobody knows any more what to mask.
            return spec if self._template.isolation else None
        except ApiUnreachable as error:
            raise Unavailable(_UNREACHABLE) from error
        files = {name: base64.b64decode(data).decode() for name, data in secret["data"].items()}
        kubeconfig = files.get("credentials") or files["kubeconfig"]
        return replace(spec, kubeconfig=kubeconfig, command=files["command"], stdin=files["stdin"] or None)

    async def cancel(self, spec: RunSpec) -> None:
        if spec.ended:
            return
        with self._cluster.watch.on(spec.name) as watched:
            pod = watched.pod
        try:
            await end_pod(self._cluster.api, spec.name, pod)
        except (ApiError, ApiUnreachable) as error:
            raise Unavailable(f"the run cannot be cancelled right now: {error}") from error
