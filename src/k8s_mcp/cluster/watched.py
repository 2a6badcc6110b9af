"""What is known of one Job at a time: states that come on several ways, in any order."""

import asyncio
from collections.abc import Sequence

from k8s_mcp.cluster.http import Json


class Watched:
    """What is known of one Job: its latest state, that of its pod (it never has two), and the warnings about them.

    States come from the watches and from answers to requests, in any order: the later one counts. What is told of
    another Job of the same name is not this one's.
    """

    def __init__(self) -> None:
        self.job: Json | None = None
        self.job_deleted = False
        self.pod: Json | None = None
        self.pod_deleted = False
        self.warnings: list[Json] = []
        self._changed = asyncio.Event()

    @property
    def gone(self) -> bool:
        """Whether neither Job nor pod is left."""
        return (self.job is None or self.job_deleted) and not self.has_pod

    @property
    def has_pod(self) -> bool:
        """Whether there is a pod now, as far as is known."""
        return self.pod is not None and not self.pod_deleted

    @property
    def pod_has_ended(self) -> bool:
        """Whether the Job says that its pod has ended, whatever is known of the pod."""
        status = (self.job or {}).get("status", {})
        return bool(status.get("failed") or status.get("succeeded"))

    async def changed(self) -> None:
        """Wait until there is news."""
        await self._changed.wait()

    def wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def begin(self, job: Json) -> None:
        """This is the Job, which was created just now: what is known so far is told of a former one of its name."""
        if self.job is not None and self.job["metadata"]["uid"] != job["metadata"]["uid"]:
            self.job, self.job_deleted = None, False
        self.note_job(job)

    def note_job(self, job: Json, *, deleted: bool = False) -> None:
        """A state of the Job."""
        if self.job is not None and self.job["metadata"]["uid"] != job["metadata"]["uid"]:
            self.job_deleted = True  # that one could be made because ours is gone
        else:
            self.job = later(job, self.job)
            self.job_deleted = self.job_deleted or deleted
            if self.pod is not None and not self._is_ours(self.pod):
                self.pod, self.pod_deleted = None, False
        self.wake()

    def note_pod(self, pod: Json, *, deleted: bool = False) -> None:
        """A state of the pod."""
        if self._is_ours(pod) and (self.pod is None or version_of(pod) >= version_of(self.pod)):
            was_deleted = self.pod_deleted and self.pod is not None and version_of(pod) == version_of(self.pod)
            self.pod, self.pod_deleted = pod, deleted or was_deleted
            self.wake()

    def note_pods(self, pods: Sequence[Json], version: int) -> None:
        """All pods of Jobs of this name that a list of that version has: if ours was there before, it is gone."""
        ours = [pod for pod in pods if self._is_ours(pod)]
        for pod in ours:
            self.note_pod(pod)
        if not ours and (self.pod_has_ended if self.pod is None else version_of(self.pod) <= version):
            self.pod_deleted = True
            self.wake()

    def note_missing(self, version: int) -> None:
        """A list of that version does not have the Job."""
        if self.job is not None and not self.job_deleted and version_of(self.job) <= version:
            self.job_deleted = True
            self.wake()

    def _is_ours(self, pod: Json) -> bool:
        uid = pod["metadata"]["labels"].get("batch.kubernetes.io/controller-uid")
        return self.job is None or uid is None or uid == self.job["metadata"]["uid"]


def later(one: Json, other: Json | None) -> Json:
    """Of two states of an object that came on different ways, the one that the API server wrote later; else `one`."""
    return one if other is None or version_of(one) >= version_of(other) else other


def version_of(thing: Json) -> int:
    """Its resource version, which grows with every write (KEP-5504)."""
    return int(thing["metadata"]["resourceVersion"])
