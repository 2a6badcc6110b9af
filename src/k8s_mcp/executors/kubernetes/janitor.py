"""Removes what a crashed replica left, and tells the others that this one lives.

Every replica renews a Lease of its own. The runs of one whose Lease is no longer renewed belong to whoever takes them
over; those that nobody does within the resume window are cancelled.
https://kubernetes.io/docs/concepts/architecture/leases/
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

from k8s_mcp.cluster.client import ApiError, ApiUnreachable, Json
from k8s_mcp.cluster.connection import Cluster
from k8s_mcp.cluster.objects import ENDED, MANAGED_BY, MANAGER, REPLICA, RUN, is_run, lease_name, make_lease, read_job
from k8s_mcp.cluster.run_files import SECRETS
from k8s_mcp.cluster.watch import JOBS
from k8s_mcp.errors import Unavailable
from k8s_mcp.executors.kubernetes.handle_store import SecretStore
from k8s_mcp.log_format import about_run
from k8s_mcp.observe.facts import Observe, OrphanRemoved

LEASES = "/apis/coordination.k8s.io/v1/leases"

LEASE_SECONDS = 30
_ROUND_SECONDS = 10.0
_ROUNDS_PER_EXPIRY = 6
_FIRST_ROUND_SECONDS = 5.0
_LAST_WORD_SECONDS = 3.0

_logger = logging.getLogger(__name__)


class Janitor:
    """Keeps this replica's Lease, and looks after the runs of replicas that have none any more.

    `on_lost` is called when the Lease could not be renewed in time: others may take our runs now.
    """

    def __init__(
        self,
        cluster: Cluster,
        handles: SecretStore,
        replica: str,
        resume_window: float,
        on_lost: Callable[[], None],
        observe: Observe,
    ) -> None:
        self._cluster = cluster
        self._handles = handles
        self._replica = replica
        self._resume_window = resume_window
        self._on_lost = on_lost
        self._observe = observe
        self._rounds = 0
        self._renewed_at = 0.0
        self._seen: dict[str, tuple[str, float]] = {}  # by Lease: its last renewal, and when we first saw that
        self._orphaned: dict[str, float] = {}

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Work until the context ends; then the Lease goes, so that others need not wait for it to expire."""
        try:
            async with asyncio.TaskGroup() as group:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_FIRST_ROUND_SECONDS):
                        await self._round()
                work = group.create_task(self._work())
                try:
                    yield
                finally:
                    work.cancel()
        finally:
            try:
                async with asyncio.timeout(_LAST_WORD_SECONDS):
                    await self._cluster.api.delete(LEASES, lease_name(self._replica))
            except (ApiError, ApiUnreachable, TimeoutError) as error:
                _logger.warning("the Lease of this replica will expire by itself: %s", error)

    async def _work(self) -> None:
        """Round after round, for ever. A round that fails is repeated; only our own Lease cannot wait."""
        while True:
            await asyncio.sleep(_ROUND_SECONDS)
            await self._round()
            if asyncio.get_running_loop().time() > self._renewed_at + LEASE_SECONDS:
                _logger.warning("the Lease was not renewed for %d s: letting go of all runs", LEASE_SECONDS)
                self._cluster.trouble = "the Lease of this replica could not be renewed"
                self._on_lost()

    async def _round(self) -> None:
        try:
            await self._renew()
            await self._clean()
            await self._remove_expired()
        except (ApiError, ApiUnreachable, Unavailable) as error:
            _logger.warning("janitor: %s; trying again in %g s", error, _ROUND_SECONDS)
            if self._cluster.trouble:
                self._cluster.trouble = str(error)

    async def _remove_expired(self) -> None:
        self._rounds += 1
        if self._rounds % _ROUNDS_PER_EXPIRY == 0:
            await self._handles.remove_expired()

    async def _renew(self) -> None:
        lease = make_lease(self._replica, LEASE_SECONDS)
        try:
            there = await self._cluster.api.get(LEASES, lease["metadata"]["name"])
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            await self._cluster.api.create(LEASES, lease)
        else:
            lease["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"]
            await self._cluster.api.replace(LEASES, lease["metadata"]["name"], lease)
        self._renewed_at = asyncio.get_running_loop().time()
        self._cluster.trouble = ""

    async def _clean(self) -> None:
        answer = await self._cluster.api.list(LEASES, {"labelSelector": f"{MANAGED_BY}={MANAGER}"})
        now = asyncio.get_running_loop().time()
        alive = {_holder(lease) for lease in answer["items"] if self._is_alive(lease, now)} - {""}
        orphans = {name: job for name, job in self._cluster.watch.jobs.items() if _is_orphan(job, alive)}
        self._orphaned = {name: self._orphaned.get(name, now) for name in orphans}
        for name, since in self._orphaned.items():
            if now >= since + self._resume_window:
                await self._remove(orphans[name])
        owners = {_owner(job) for job in orphans.values()}
        for lease in answer["items"]:
            holder = _holder(lease)
            if not holder:
                self._cluster.odd("leases", lease["metadata"]["name"], "it names no replica")
            elif holder not in alive and holder not in owners:
                await self._cluster.api.delete(LEASES, lease["metadata"]["name"], uid=lease["metadata"]["uid"])

    async def _remove(self, job: Json) -> None:
        name = job["metadata"]["name"]
        with about_run(job["metadata"]["labels"].get(RUN, "")):
            _logger.info("removing %s, whose replica is gone", name)
            await self._cluster.api.delete(SECRETS, name)
            was_ours = await self._cluster.api.delete(JOBS, name, uid=job["metadata"]["uid"])
            if was_ours and is_run(job):
                run = read_job(job)
                self._observe(OrphanRemoved(run.run_id, run.server, run.created))

    def _is_alive(self, lease: Json, now: float) -> bool:
        """Whether the Lease was renewed within its duration, by our own clock: those of other nodes may be wrong."""
        spec = lease.get("spec", {})
        name, renewed = lease["metadata"]["name"], spec.get("renewTime", "")
        if self._seen.get(name, (None, 0.0))[0] != renewed:
            self._seen[name] = (renewed, now)
        return now <= self._seen[name][1] + spec.get("leaseDurationSeconds", LEASE_SECONDS)


def _is_orphan(job: Json, alive: AbstractSet[str]) -> bool:
    """Whether its replica is gone, and with it who would end the run. One that has ended, Kubernetes removes."""
    return _owner(job) not in alive and ENDED not in job["metadata"].get("annotations", {})


def _holder(lease: Json) -> str:
    """The replica that it is of; nothing for one that somebody else made, or has changed."""
    return str(lease.get("spec", {}).get("holderIdentity", ""))


def _owner(job: Json) -> str:
    return str(job["metadata"].get("annotations", {}).get(REPLICA, ""))
