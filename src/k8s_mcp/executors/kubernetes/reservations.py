"""The Jobs that idempotency keys name. The cluster refuses a second one: of several requests one starts the run."""

import asyncio
import logging
from http import HTTPStatus

from k8s_mcp.cluster.client import ApiError, ApiUnreachable, Json
from k8s_mcp.cluster.connection import Cluster
from k8s_mcp.cluster.objects import PodTemplate, make_job, read_run
from k8s_mcp.cluster.watch import JOBS, NO_ANSWER
from k8s_mcp.errors import Unavailable
from k8s_mcp.executors.kubernetes.ownership import is_going
from k8s_mcp.executors.kubernetes.run_objects import create_once
from k8s_mcp.models import RunSpec

_GOING_SECONDS = 10.0  # for a former run of the same name that is being deleted

_logger = logging.getLogger(__name__)


class Reservations:
    """What is reserved here, and not started yet. `replica` names this process."""

    def __init__(self, cluster: Cluster, template: PodTemplate, replica: str) -> None:
        self._cluster = cluster
        self._template = template
        self._replica = replica
        self._reserved: dict[str, Json] = {}

    def has(self, name: str) -> bool:
        """Whether the Job of that name is reserved here."""
        return name in self._reserved

    def take(self, spec: RunSpec) -> Json | None:
        """The Job that was created for the run, which is started now; None when there is none."""
        return self._reserved.pop(spec.name, None)

    async def reserve(self, spec: RunSpec) -> RunSpec | None:
        """See `SharedExecutor`. The Job is created, suspended: whoever comes second finds it there."""
        try:
            async with asyncio.timeout(_GOING_SECONDS):
                while True:
                    there = await self._create(spec)
                    if there is None:
                        return None
                    if not is_going(there):
                        return _told_of(there)
                    with self._cluster.watch.on(spec.name) as watched:
                        watched.job = watched.job or there
                        while not watched.job_deleted and watched.job["metadata"]["uid"] == there["metadata"]["uid"]:
                            await watched.changed()
        except TimeoutError:
            raise Unavailable("the run that this key has started before is being removed; try again later") from None
        except ApiUnreachable as error:
            raise Unavailable(NO_ANSWER) from error
        except ApiError:
            return None  # the run will say so

    async def unreserve(self, spec: RunSpec) -> None:
        """See `SharedExecutor`."""
        job = self._reserved.pop(spec.name, None)
        if job is not None:
            try:
                await self._cluster.api.delete(JOBS, spec.name, uid=job["metadata"]["uid"])
            except (ApiError, ApiUnreachable) as error:
                _logger.warning("the janitor will remove %s: %s", spec.name, error)

    async def _create(self, spec: RunSpec) -> Json | None:
        """None when the Job was created; else the one of that name that is there."""
        try:
            job = await create_once(self._cluster.api, JOBS, make_job(spec, self._replica, self._template), spec)
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
        else:
            self._reserved[spec.name] = job
            return None
        try:
            return await self._cluster.api.get(JOBS, spec.name)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return await self._create(spec)


def _told_of(job: Json) -> RunSpec:
    run = read_run(job)
    if run is None:
        raise Unavailable("a Job of that name is there, and it is none of this service's runs")
    return run
