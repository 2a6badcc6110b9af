"""What the cluster holds of one run: made, taken over, kept for others, removed; each write with its precondition
(see `ownership`).

Order: Job suspended, Secret owned by the Job, Job resumed. Whoever deletes the Job takes Secret and pod along, so
nothing is orphaned, and the Secret is there before the kubelet looks for it.
"""

import asyncio
import logging
from collections.abc import Iterator
from http import HTTPStatus
from math import isinf

from k8s_mcp.cluster import podstate
from k8s_mcp.cluster.client import Api, ApiError, ApiUnreachable, Json
from k8s_mcp.cluster.connection import Cluster
from k8s_mcp.cluster.objects import (
    RUN,
    UNTIL_READ,
    PodTemplate,
    make_job,
    make_secret,
    read_run,
)
from k8s_mcp.cluster.run_files import SECRETS, run_files
from k8s_mcp.cluster.verdict import VERDICT, Verdict, kept_for, written
from k8s_mcp.cluster.warm import KEY_OF, is_of_key, own_job
from k8s_mcp.cluster.watch import JOBS, OF_JOB, PODS
from k8s_mcp.cluster.watched import Watched, version_of
from k8s_mcp.executors.kubernetes.ownership import Standing, annotations_of
from k8s_mcp.executors.kubernetes.replicas import Replicas
from k8s_mcp.executors.kubernetes.run_job import RunJob
from k8s_mcp.models import RunSpec

FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_REMOVED_SECONDS = 30.0
_MOST_KEPT = 10
"""Most finished runs of one owner whose pods stay for other replicas to read."""

_logger = logging.getLogger(__name__)


class RunObjects(RunJob):
    """Job, Secret and pod of one run. `left` says after `remove` what could not be removed, and why."""

    def __init__(
        self,
        cluster: Cluster,
        spec: RunSpec,
        replica: str,
        replicas: Replicas,
        template: PodTemplate,
        watched: Watched,
        reserved: Json | None = None,
    ) -> None:
        super().__init__(cluster.api, spec, replica, replicas.is_gone, watched)
        self._replicas = replicas
        self.left = ""
        self._cluster = cluster
        self._template = template
        self._reserved = reserved
        self._secret_uid = ""
        self._secret_gone = False
        self._trouble = ""
        self._owed: Verdict | None = None  # what others are to be told before the Job goes
        if reserved is not None:
            watched.begin(reserved)

    async def create(self) -> None:
        """Make Job and Secret; the pod is not started yet. Raises ApiError and ApiUnreachable."""
        self._made = True
        if self._reserved is not None and is_of_key(self._reserved):
            await self._have_for_itself(self._reserved)
        if self._reserved is None:
            manifest = make_job(self._spec, self._replica, self._template)
            self._watched.begin(await create_once(self._api, JOBS, manifest, self._spec))
        await self._create_secret()

    async def _have_for_itself(self, of_key: Json) -> None:
        """The run is in no warm pod, for certain: its key's Job is its own."""
        try:
            uid = of_key["metadata"]["uid"]
            self._watched.note_job(await self._api.patch(JOBS, self._name, own_job(self._spec), uid=uid))
        except ApiError as error:
            if not error.is_conflict and error.status != HTTPStatus.NOT_FOUND:
                raise
            self._reserved = None  # this replica was taken for gone

    async def _create_secret(self) -> None:
        files = run_files(self._spec, self._template.isolation)
        secret = make_secret(self._name, self._spec.run_id, self._uid(), files)
        made = await create_once(self._api, SECRETS, secret, self._spec)
        self._secret_uid = made["metadata"]["uid"]

    @property
    def can_go_on(self) -> bool:
        """Whether this replica, as its owner, could carry the run out: it was started, or the request is known."""
        return bool(self._spec.command) or self.job is None or not self.job["spec"].get("suspend")

    async def resume_if_complete(self) -> bool:
        """Have the pod started, unless it was; False when the Secret of a run that was taken over was never made, and
        cannot be made here, where nobody sent the request. Raises ApiError and ApiUnreachable.
        """
        job = self.job
        if job is not None and self.owned and job["spec"].get("suspend"):
            if not await self._find_secret():
                if not self._spec.command:
                    return False
                await self._create_secret()
            await self.resume()
        return True

    async def look_for_pod(self) -> None:
        """See how the pod is now, and whether it is gone. Raises ApiError and ApiUnreachable."""
        answer = await pods_of(self._api, self._name)
        self._watched.note_pods(answer["items"], version_of(answer))

    async def end_pod(self) -> None:
        """Have the kubelet end the runner, if there is a pod. Raises ApiError and ApiUnreachable."""
        pod = self._watched.pod
        if pod is not None and self._watched.has_pod:
            await self._api.delete(PODS, pod["metadata"]["name"], uid=pod["metadata"]["uid"])

    async def settle(self, untold: Verdict | None) -> None:
        """The Secret goes now, and the Job says how the run ended if its log does not say so to everybody; of a run
        that was told to end, only where others follow it. Job and pod, which hold the log, go when the final event
        was read.
        """
        if not self.judges:
            return
        alone = self.told_to_stop and isinf(self.followed_ago())
        self._owed = untold if self.owned and not alone else None
        try:
            await self._say_owed()
            await self._delete_secret()
        except (ApiError, ApiUnreachable) as error:
            _logger.warning("the run's Secret is not deleted yet: %s", error)

    async def _say_owed(self) -> None:
        """Tried again before the Job is deleted, which does not depend on it."""
        if self._owed is None:
            return
        try:
            await self._patch({"metadata": {"annotations": {VERDICT: written(self._owed)}}})
            self._owed = None
        except (ApiError, ApiUnreachable) as error:
            _logger.warning("others are not told yet how the run ended: %s", error)

    async def keep(self, status: str, seconds: float, untold: Verdict | None, *, always: bool) -> None:
        """Leave Job and pod, whose log it is, to Kubernetes' own clean-up. A few of them for each owner.

        Without isolation the log can hold credentials, and nobody knows any more what to mask in it: then only a run
        that must be known to have been is kept (`always`), and nobody reads it (`SharedExecutor.recover`).
        """
        if not always and not self._may_be_read_later():
            return
        try:
            if self.owned and seconds >= 1:
                await self._patch(kept_for(status, seconds, untold, until_read=not always))
                self._let_go = True
        except (ApiError, ApiUnreachable) as error:
            _logger.warning("run %s cannot be kept for other replicas: %s", self._spec.run_id, error)

    async def remove_read(self) -> None:
        """The end of a run that is kept until then was read. Somebody else may have been faster."""
        job = self.job
        if job is None or self.standing is not Standing.OVER or UNTIL_READ not in annotations_of(job):
            return
        try:
            await self._api.delete_as_seen(JOBS, job)
        except (ApiError, ApiUnreachable) as error:
            _logger.warning("Kubernetes will remove the run: %s", error)

    def _may_be_read_later(self) -> bool:
        kept = [job for job in self._cluster.watch.jobs.values() if self._is_kept(job)]
        return len(kept) < _MOST_KEPT and self._template.isolation and self._has_log()

    async def remove(self) -> None:
        """Delete Secret, Job and pod if they are ours, and see them go. What cannot be deleted now is left to the
        janitor.
        """
        if not self.judges:
            return
        try:
            async with asyncio.timeout(_REMOVED_SECONDS):
                await self._until_deleted()
                while self.judges and not self._watched.gone:
                    await self._watched.changed()
        except TimeoutError:
            self.left = f"{', '.join(self._there())}: {self._trouble or 'deleted, but not gone yet'}"
            _logger.warning("the run is not cleaned up yet: %s", self.left)

    def _there(self) -> Iterator[str]:
        """What may still be there of the run."""
        if not self._watched.job_deleted:
            yield "Job"
        if self._watched.has_pod:
            yield "pod"

    async def _until_deleted(self) -> None:
        """Delete what is ours, as soon as the API server lets us."""
        pause = FIRST_PAUSE
        while True:
            try:
                if self.job is None:
                    await self._look_for_job()
                if self.judges and self._watched.job_deleted:
                    await self.end_pod()  # whoever has deleted our Job may have left it
                elif self.judges:
                    await self._say_owed()
                    await self._delete_secret()
                    await self._delete_job()
            except (ApiError, ApiUnreachable) as error:
                self._trouble = str(error)
                _logger.warning("the run cannot be removed yet: %s", error)
                pause = await pause_after(pause, self._watched)
            else:
                self._trouble = ""
                return

    async def _find_secret(self) -> bool:
        """Whether the run's Secret is there; then its uid is known."""
        if not self._secret_uid:
            secret = await self._api.find(SECRETS, self._name)
            if secret is None:
                return False
            owners: list[Json] = secret["metadata"].get("ownerReferences") or [{}]
            if owners[0].get("uid") == self._uid():
                self._secret_uid = secret["metadata"]["uid"]
        return bool(self._secret_uid)

    async def _delete_secret(self) -> None:
        there = bool(self._secret_uid)
        if not (there or self._made or self._secret_gone):
            there = await self._find_secret()
        if there:
            await self._api.delete(SECRETS, self._name, uid=self._secret_uid)
        self._secret_uid, self._secret_gone = "", True

    async def _delete_job(self) -> None:
        """Delete our Job: by its uid while nobody can have taken us for dead, else in the version in which it is
        ours. Nothing is done to one that is not ours any more.
        """
        while self.owned and (job := self.job) is not None:
            if await self._is_deleted(job, as_seen=not self._replicas.surely_alive):
                return

    async def _is_deleted(self, job: Json, *, as_seen: bool) -> bool:
        """Delete our Job, `as_seen` in that very version; if it is not so any more, look how it is."""
        metadata = job["metadata"]
        version = metadata["resourceVersion"] if as_seen else None
        if not await self._api.delete(JOBS, self._name, uid=metadata["uid"], resource_version=version):
            await self._look_again()
            return False
        self._watched.note_job({**job, "metadata": {**metadata, "deletionTimestamp": "now"}})
        return True

    def _is_kept(self, job: Json) -> bool:
        spec = read_run(job)
        return (
            spec is not None
            and bool(spec.ended)
            and spec.owner == self._spec.owner
            and spec.run_id != self._spec.run_id
        )

    def _has_log(self) -> bool:
        return self._watched.pod is not None and podstate.why_leaving(self._watched) is None


async def pods_of(api: Api, job: str) -> Json:
    """The list of a Job's pods, with its version. Raises ApiError and ApiUnreachable."""
    return await api.list(PODS, {"labelSelector": f"{OF_JOB}={job}"})


async def create_once(api: Api, path: str, manifest: Json, spec: RunSpec) -> Json:
    """Create, also if an earlier attempt has done it and only its answer was lost. Raises ApiError, with `Conflict`
    for a thing of that name that belongs to another run, and ApiUnreachable.
    """
    try:
        return await api.create(path, manifest)
    except ApiError as error:
        if error.status != HTTPStatus.CONFLICT:
            raise
    there = await api.get(path, spec.name)
    labels = there["metadata"]["labels"]
    if spec.run_id not in (labels.get(RUN), labels.get(KEY_OF)):
        raise ApiError(HTTPStatus.CONFLICT, "AlreadyExists", f"{spec.name} belongs to another run")
    return there


async def pause_after(seconds: float, watched: Watched) -> float:
    """Before another attempt: wait for news, but not for long. Returns the next pause."""
    try:
        async with asyncio.timeout(seconds):
            await watched.changed()
    except TimeoutError:
        return min(2 * seconds, _LONGEST_PAUSE)
    return seconds
