"""The Job of one run: whose it is, and what is written to it, each write with its precondition (see `ownership`)."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from math import ceil

from k8s_mcp.cluster import podstate
from k8s_mcp.cluster.client import Api, ApiError, ApiUnreachable, Json
from k8s_mcp.cluster.objects import AWAITED, CANCELLED, ENDED, FOLLOWED, REPLICA, RUN
from k8s_mcp.cluster.verdict import Verdict, verdict_of
from k8s_mcp.cluster.watch import JOBS
from k8s_mcp.cluster.watched import Watched
from k8s_mcp.executors.kubernetes.ownership import (
    NOBODY,
    Followers,
    Standing,
    annotations_of,
    awaited,
    owner_of,
    standing,
)
from k8s_mcp.models import RunSpec

_logger = logging.getLogger(__name__)


class RunJob:
    """The Job of `spec`, for the replica of that name. `is_gone` says of another replica whether it lives no more."""

    def __init__(
        self, api: Api, spec: RunSpec, replica: str, is_gone: Callable[[str], bool], watched: Watched
    ) -> None:
        self._api = api
        self._spec = spec
        self._name = spec.name
        self._replica = replica
        self._is_gone = is_gone
        self._watched = watched
        self._made = False
        self._let_go = False
        self._followers = Followers()

    @property
    def job(self) -> Json | None:
        """The Job's latest state, from the watch or from an answer."""
        return self._watched.job

    @property
    def standing(self) -> Standing:
        """Whose the run is."""
        return standing(self.job, self._replica, self._is_gone, deleted=self._watched.job_deleted)

    @property
    def owned(self) -> bool:
        """Whether it is ours to carry out."""
        return not self._let_go and self.standing is Standing.OWNED

    @property
    def lost(self) -> bool:
        """Whether it was ours, and is somebody else's."""
        return self.job is not None and owner_of(self.job) != self._replica

    @property
    def judges(self) -> bool:
        """Whether it is ours to say how the run ends: also when its Job is not made yet, or is gone."""
        if self._let_go or self.job is None:
            return self._made and not self._let_go
        return owner_of(self.job) == self._replica and ENDED not in annotations_of(self.job)

    @property
    def verdict(self) -> Verdict | None:
        """How the owner says that the run ended, where the log does not tell everybody."""
        return verdict_of(self.job)

    @property
    def told_to_stop(self) -> bool:
        """Whether a replica has noted that the run is to end."""
        return podstate.is_cancelled(self.job)

    def followed_ago(self) -> float:
        """See `SharedExecution`."""
        now = asyncio.get_running_loop().time()
        self._followers.look(self.job, now)
        return self._followers.ago(now)

    @property
    def awaited(self) -> float:
        """See `SharedExecution`."""
        return awaited(self.job)

    async def is_there(self) -> bool:
        """Whether the run's Job is there, on which this run's events can be followed. Raises ApiError and
        ApiUnreachable.
        """
        if self.job is None:
            await self._look_for_job()
        return self.job is not None and self.job["metadata"]["labels"].get(RUN) == self._spec.run_id

    async def note_stop(self) -> None:
        """Note on the Job that a replica ends the run, and nobody else. Raises ApiError and ApiUnreachable."""
        if not self.told_to_stop:
            await self._patch({"metadata": {"annotations": {CANCELLED: "true"}}})

    async def resume(self) -> None:
        """Have the pod started, if the Job still waits for that."""
        job = self.job
        if job is not None and job["spec"].get("suspend"):
            await self._patch({"spec": {"suspend": False}})

    async def take_over(self) -> bool:
        """Write our name on the orphaned Job, in the version that was seen; False when that is not so any more."""
        job = self.job
        if job is None or self.standing is not Standing.ORPHANED:
            return self.owned
        try:
            await self._patch({"metadata": {"annotations": {REPLICA: self._replica}}}, job)
        except ApiError as error:
            if not error.is_conflict:
                _logger.warning("the run is not taken over: %s", error)
                return False
            await self._look_again()  # somebody was faster; or we were, and the answer was lost
        except ApiUnreachable as error:
            _logger.warning("the run is not taken over: %s", error)
        return self.owned

    async def say_followed(self, window: float) -> None:
        """See `SharedExecution`."""
        job = self.job
        if job is None or self.standing is not Standing.THEIRS or self.followed_ago() < window / 2:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            # With the version: of several followers one says so for all.
            await self._patch({"metadata": {"annotations": {FOLLOWED: now}}}, job)
        except (ApiError, ApiUnreachable) as error:
            _logger.debug("not noted that the run is followed: %s", error)

    async def say_awaited(self, seconds: float) -> None:
        """See `SharedExecution`."""
        if self.standing not in (Standing.OWNED, Standing.THEIRS, Standing.ORPHANED) or self.awaited >= seconds:
            return
        try:
            await self._patch({"metadata": {"annotations": {AWAITED: f"{ceil(seconds)}"}}})
        except (ApiError, ApiUnreachable) as error:
            _logger.debug("not noted that the run is awaited: %s", error)

    async def release(self) -> None:
        """Take our name off the Job, so that others need not wait until this replica is known to be gone."""
        job = self.job
        owned = self.owned
        self._let_go = True
        if job is None or not owned:
            return
        try:
            await self._patch({"metadata": {"annotations": {REPLICA: NOBODY}}}, job)
        except (ApiError, ApiUnreachable) as error:
            _logger.warning("the run is free for others when this replica is known to be gone: %s", error)

    async def disown(self) -> None:
        """Take our name off a Job that was made here without our knowing, for whoever has its request.

        Raises ApiError and ApiUnreachable.
        """
        job = self.job
        if job is None or not self.owned:
            return
        try:
            await self._patch({"metadata": {"annotations": {REPLICA: NOBODY}}}, job)
        except ApiError as error:
            if not error.is_conflict:
                raise
            await self._look_again()

    async def _look_for_job(self) -> None:
        """Whether a create, whose answer never came, has made the Job all the same."""
        job = await self._api.find(JOBS, self._name)
        if job is not None and job["metadata"]["labels"].get(RUN) == self._spec.run_id:
            self._watched.note_job(job)

    async def _look_again(self) -> None:
        """The Job has changed since we saw it: how it is now."""
        job = await self._api.find(JOBS, self._name)
        if job is None:
            self._note_gone()
        else:
            self._watched.note_job(job)

    def _note_gone(self) -> None:
        """The API server says that the Job is gone, whether or not the watch has shown it."""
        self._watched.job_deleted = True
        self._watched.wake()

    async def _patch(self, body: Json, seen: Json | None = None) -> None:
        """Patch our Job, and no other of its name; with `seen`, only if it is still as it was then."""
        version = seen["metadata"]["resourceVersion"] if seen else None
        uid = self._uid()
        self._watched.note_job(await self._api.patch(JOBS, self._name, body, uid=uid, resource_version=version))

    def _uid(self) -> str:
        if self.job is None:
            raise ApiError(HTTPStatus.NOT_FOUND, "NotFound", "the run has no Job")
        return str(self.job["metadata"]["uid"])
