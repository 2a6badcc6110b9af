"""What the cluster holds of a run in a warm pod: Job and pod were there before it. Each write with its precondition.

Order: the Job is patched in the version in which it waits, so that of several runs one has it; then the Secret is
created under the name that the pod waits for; then the pod is patched, so that its kubelet looks at once. It was
woken when the claim began, since a look takes it a while. Before the Secret nothing can be executed, whatever becomes
of us.
"""

import logging
import time
from http import HTTPStatus

from k8s_mcp.cluster.client import ApiError, ApiUnreachable
from k8s_mcp.cluster.objects import RUN, Manifest
from k8s_mcp.cluster.warm import claimed_job, is_lost, told_pod, waits
from k8s_mcp.cluster.watch import PODS
from k8s_mcp.executors.kubernetes.run_objects import RunObjects

_TRIES = 3

_logger = logging.getLogger(__name__)


class WarmObjects(RunObjects):
    """Job, Secret and pod of one run, whose name is that of a Job that waited."""

    async def claim(self) -> bool:
        """Have the waiting Job be this run's; False when it is somebody else's, or gone.

        Raises ApiError and ApiUnreachable: it may be ours then, but nothing is, or will be, executed in it.
        """
        for _ in range(_TRIES):
            job = self.job
            if job is None or self._watched.job_deleted or not waits(job) or is_lost(job, self._watched.pod):
                break
            try:
                await self._patch(claimed_job(self._spec, self._replica, self._template), job)
            except ApiError as error:
                if not error.is_conflict and error.status != HTTPStatus.NOT_FOUND:
                    raise
                # Kubernetes has changed it, or somebody was faster; or we were, and the answer was lost.
                await self._look_again()
        return self._is_ours()

    async def hand_over(self) -> bool:
        """Create the Secret for which the pod waits; where nothing is known, it is taken to be there. False when it
        was refused; an earlier try, whose answer was lost, may have made it all the same.
        """
        try:
            await self._create_secret()
        except (ApiError, ApiUnreachable) as error:
            _logger.warning("not known whether the run's Secret was created: %s", error)
            return isinstance(error, ApiUnreachable) or error.is_passing
        return True

    async def wake(self) -> None:
        """Have the pod's kubelet look soon: it takes longer to do so than a Secret to be there. Says nothing of the
        run, so it does no harm to a pod that proves to be another's.
        """
        await self._patch_pod(told_pod(time.time_ns()))

    async def tell(self) -> None:
        """The pod is the run's, and its kubelet looks now; by itself it does within a minute and a half."""
        await self._patch_pod(told_pod(time.time_ns(), self._spec))

    async def _patch_pod(self, patch: Manifest) -> None:
        pod = self._watched.pod
        if pod is None or not self._watched.has_pod:
            return
        metadata = pod["metadata"]
        try:
            await self._api.patch(PODS, metadata["name"], patch, uid=metadata["uid"])
        except (ApiError, ApiUnreachable) as error:
            _logger.warning("the pod is not told of its run: %s", error)

    async def is_handed_over(self) -> bool:
        """Whether the Secret is there. Raises ApiError and ApiUnreachable."""
        return await self._find_secret()

    async def take_back(self) -> bool:
        """Delete the Job, in a version in which it is ours and nobody has ended the run: only then may the run go on
        in another pod. Raises ApiError and ApiUnreachable.
        """
        while self.owned and not self.told_to_stop and (job := self.job) is not None:
            if await self._is_deleted(job, as_seen=True):
                return True
        return False

    def _is_ours(self) -> bool:
        """Not by the run alone: another replica may have taken it over meanwhile."""
        job = self.job
        return job is not None and job["metadata"]["labels"].get(RUN) == self._spec.run_id and self.owned
