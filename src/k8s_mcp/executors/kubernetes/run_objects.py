"""What the cluster holds of one run: made, taken over, kept for others, removed.

Order: Job suspended, Secret owned by the Job, Job resumed. Whoever deletes the Job takes Secret and pod along, so
nothing is orphaned, and the Secret is there before the kubelet looks for it.
"""

import asyncio
import logging
from collections.abc import Iterator
from http import HTTPStatus

from k8s_mcp.cluster import podstate
from k8s_mcp.cluster.client import Api, ApiError, ApiUnreachable, Json
from k8s_mcp.cluster.connection import Cluster
from k8s_mcp.cluster.objects import (
    CANCELLED,
    REPLICA,
    RUN,
    PodTemplate,
    is_run,
    kept_for,
    make_job,
    make_secret,
    read_job,
)
from k8s_mcp.cluster.run_files import SECRETS, run_files
from k8s_mcp.cluster.watch import JOBS, PODS, Watched
from k8s_mcp.models import RunSpec

FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_REMOVED_SECONDS = 30.0
_MOST_KEPT = 10
"""Most finished runs of one owner whose pods stay for other replicas to read."""

_logger = logging.getLogger(__name__)


class RunObjects:
    """Job, Secret and pod of one run. `left` says after `remove` what could not be removed, and why."""

    def __init__(
        self, cluster: Cluster, spec: RunSpec, replica: str, template: PodTemplate, watched: Watched
    ) -> None:
        self.left = ""
        self._api = cluster.api
        self._jobs = cluster.watch.jobs
        self._spec = spec
        self._name = spec.name
        self._replica = replica
        self._template = template
        self._watched = watched
        self._owned_version = 0  # the Job's version since which it is ours
        self._let_go = False
        self._secret_gone = False
        self._trouble = ""

    async def create(self) -> None:
        """Raises ApiError and ApiUnreachable, as does `take_over`."""
        spec = self._spec
        job = await self._create_once(JOBS, make_job(spec, self._replica, self._template))
        self._own(job)
        secret = make_secret(
            self._name, spec.run_id, job["metadata"]["uid"], run_files(spec, self._template.isolation)
        )
        await self._create_once(SECRETS, secret)
        await self._api.patch(JOBS, self._name, {"spec": {"suspend": False}})

    async def take_over(self) -> None:
        """Write our name on the Job; if somebody else does so at the same moment, on what they wrote."""
        while (job := self._watched.job) is not None and not self._watched.job_deleted:
            body = {
                "metadata": {
                    "resourceVersion": job["metadata"]["resourceVersion"],
                    "annotations": {REPLICA: self._replica},
                }
            }
            try:
                self._own(await self._api.patch(JOBS, self._name, body))
            except ApiError as error:
                if error.status != HTTPStatus.CONFLICT:
                    raise
                self._watched.job = await self._api.get(JOBS, self._name)
            else:
                return
        raise ApiError(HTTPStatus.NOT_FOUND, "NotFound", "the run is over, and its pod is gone")

    def is_taken(self) -> bool:
        """Whether the Job names another replica, in a version later than the one with our name."""
        job = self._watched.job
        if job is None or not self._owned_version or int(job["metadata"]["resourceVersion"]) < self._owned_version:
            return False
        return job["metadata"]["annotations"].get(REPLICA) != self._replica

    async def settle(self) -> None:
        """The Secret goes now. Job and pod, which hold the log, go when the final event was read."""
        try:
            await self._api.delete(SECRETS, self._name)
        except (ApiError, ApiUnreachable) as error:
            _logger.warning("the run's Secret is not deleted yet: %s", error)
        else:
            self._secret_gone = True

    async def keep(self, status: str, seconds: float) -> None:
        """Leave Job and pod, whose log it is, to Kubernetes' own clean-up. A few of them for each owner.

        Without isolation the log can hold credentials, and nobody knows any more what to mask in it.
        """
        kept = [job for job in self._jobs.values() if is_run(job) and self._is_kept(job)]
        if len(kept) >= _MOST_KEPT or not self._template.isolation or seconds < 1 or not self._has_log():
            return
        try:
            await self._api.patch(JOBS, self._name, kept_for(status, seconds))
        except (ApiError, ApiUnreachable) as error:
            _logger.warning("run %s cannot be kept for other replicas: %s", self._spec.run_id, error)
        else:
            self._let_go = True

    def let_go(self) -> None:
        self._let_go = True

    async def remove(self) -> None:
        """Delete Secret, Job and pod, and see them go. What cannot be deleted now is left to the janitor."""
        if self._let_go:
            return
        try:
            async with asyncio.timeout(_REMOVED_SECONDS):
                await self._delete_all()
                while not self._watched.gone:
                    await self._watched.changed()
        except TimeoutError:
            self.left = f"{', '.join(self._there())}: {self._trouble or 'deleted, but not gone yet'}"
            _logger.warning("the run is not cleaned up yet: %s", self.left)

    def _there(self) -> Iterator[str]:
        """What may still be there of the run."""
        if not self._secret_gone:
            yield "Secret"
        if not self._watched.job_deleted:
            yield "Job"
        if self._watched.pod is not None and not self._watched.pod_deleted:
            yield "pod"

    async def _delete_all(self) -> None:
        """Delete Secret and Job, as soon as the API server lets us."""
        pause = FIRST_PAUSE
        while True:
            try:
                if not self._secret_gone:
                    await self._api.delete(SECRETS, self._name)
                    self._secret_gone = True
                by_us = await self._api.delete(JOBS, self._name)
                pod = self._watched.pod
                if not by_us and pod is not None:  # by somebody else, who may have orphaned the pod
                    await self._api.delete(PODS, pod["metadata"]["name"], uid=pod["metadata"]["uid"])
            except (ApiError, ApiUnreachable) as error:
                self._trouble = str(error)
                _logger.warning("the run cannot be removed yet: %s", error)
                pause = await pause_after(pause, self._watched)
            else:
                self._trouble = ""
                return

    def _own(self, job: Json) -> None:
        self._watched.job = job
        self._owned_version = int(job["metadata"]["resourceVersion"])

    async def _create_once(self, path: str, manifest: Json) -> Json:
        """Create, also if an earlier attempt has done it and only its answer was lost."""
        try:
            return await self._api.create(path, manifest)
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
        there = await self._api.get(path, self._name)
        if there["metadata"]["labels"].get(RUN) != self._spec.run_id:
            raise ApiError(HTTPStatus.CONFLICT, "AlreadyExists", f"{self._name} belongs to another run")
        return there

    def _is_kept(self, job: Json) -> bool:
        spec = read_job(job)
        return bool(spec.ended) and spec.owner == self._spec.owner and spec.run_id != self._spec.run_id

    def _has_log(self) -> bool:
        return self._watched.pod is not None and podstate.why_leaving(self._watched) is None


async def pause_after(seconds: float, watched: Watched) -> float:
    """Before another attempt: wait for news, but not for long. Returns the next pause."""
    try:
        async with asyncio.timeout(seconds):
            await watched.changed()
    except TimeoutError:
        return min(2 * seconds, _LONGEST_PAUSE)
    return seconds


async def end_pod(api: Api, name: str, pod: Json | None) -> None:
    """Delete the pod (or the Job that has none yet), after a note on the Job that a replica does so."""
    try:
        await api.patch(JOBS, name, {"metadata": {"annotations": {CANCELLED: "true"}}})
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
    if pod is None:
        await api.delete(JOBS, name)
    else:
        await api.delete(PODS, pod["metadata"]["name"], uid=pod["metadata"]["uid"])
