"""Which replicas live. Each renews a Lease of its own, and looks at those of the others.

Renewing waits for nothing else: its task does nothing but that. Of the others only what successful lists show counts:
while nothing can be seen, nobody is thought dead, and after a time without lists everybody gets a new one.
https://kubernetes.io/docs/concepts/architecture/leases/
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

from k8s_mcp.cluster.client import Api, ApiError, ApiUnreachable, Json
from k8s_mcp.cluster.connection import Cluster
from k8s_mcp.cluster.leases import lease_name, make_lease
from k8s_mcp.cluster.objects import MANAGED_BY, MANAGER
from k8s_mcp.cluster.warm import WARM

LEASES = "/apis/coordination.k8s.io/v1/leases"

LEASE_SECONDS = 30.0
ROUND_SECONDS = 10.0
_LONGEST_GAP = 2.5 * ROUND_SECONDS  # between two lists, so that what they show counts as seen all the time
_LISTS_WITHOUT = 3  # a Lease that somebody deletes is there again within a round, and ours may lie behind theirs
_FIRST_ROUND_SECONDS = 5.0
_LAST_WORD_SECONDS = 3.0

_logger = logging.getLogger(__name__)


class Census:
    """Who lives, as the lists of Leases show it. Pure: times are given, in seconds of one clock."""

    def __init__(self) -> None:
        self._lists = 0
        self._listed_at = 0.0
        self._seen: dict[str, tuple[str, float, float]] = {}  # by holder: last renewal, seen first at, good for
        self._without: dict[str, int] = {}  # by holder that has no Lease: how many lists there were when first asked

    def take_note(self, leases: list[Json], at: float) -> None:
        """What a list that was asked for at that time shows."""
        gap = at - self._listed_at > _LONGEST_GAP
        found: dict[str, tuple[str, float, float]] = {}
        for lease in leases:
            holder = holder_of(lease)
            if not holder:
                continue
            spec: Json = lease["spec"]
            renewed = str(spec.get("renewTime", ""))
            known, since, _ = self._seen.get(holder, ("", at, 0.0))
            found[holder] = (renewed, at if gap or known != renewed else since, _duration(spec))
        self._seen = found
        self._listed_at = at
        self._lists += 1
        self._without = {holder: since for holder, since in self._without.items() if holder not in found}

    def is_gone(self, replica: str) -> bool:
        """Whether a replica has not renewed its Lease in time, or had none in several lists."""
        if replica in self._seen:
            _, since, seconds = self._seen[replica]
            return self._listed_at > since + seconds
        return self._lists >= self._without.setdefault(replica, self._lists) + _LISTS_WITHOUT


def holder_of(lease: Json) -> str:
    """The replica that a Lease speaks for; empty where it names none."""
    spec: Json = lease.get("spec") or {}
    holder = spec.get("holderIdentity")
    return holder if isinstance(holder, str) else ""


def keeper_of_warm_pods(leases: list[Json], is_gone: Callable[[str], bool]) -> str:
    """Of the living replicas that take part the first by name, or of all, where none does; empty for no replicas."""
    holders = {holder_of(lease): WARM in lease["metadata"]["labels"] for lease in leases}
    living = {name: warm for name, warm in holders.items() if name and not is_gone(name)}
    return min([name for name, warm in living.items() if warm] or living, default="")


class Replicas:
    """Keeps this replica's Lease, and knows of the others'. `trouble` says why no run should be started, if so.

    `keeps_warm`: this replica takes part in keeping pods warm, and says so.
    """

    def __init__(self, cluster: Cluster, replica: str, *, keeps_warm: bool = False) -> None:
        self.trouble = "this replica has no Lease yet"
        self.leases: list[Json] = []
        """As the latest list had them."""
        self._cluster = cluster
        self._replica = replica
        self.keeps_warm = keeps_warm
        self._census = Census()
        self._renewed_at = float("-inf")

    def is_gone(self, replica: str) -> bool:
        """Whether another replica lives no more."""
        return replica != self._replica and self._census.is_gone(replica)

    @property
    def warms(self) -> bool:
        """Whether keeping pods warm is this replica's. Between two looks at who is there two may think so."""
        return keeper_of_warm_pods(self.leases, self.is_gone) == self._replica

    async def is_alone(self) -> bool:
        """Whether it can be seen now that no other replica lives."""
        seen = await self._look()
        others = {holder_of(lease) for lease in self.leases} - {"", self._replica}
        return seen and all(map(self.is_gone, others))

    @property
    def surely_alive(self) -> bool:
        """Whether our Lease was renewed so lately that nobody can take this replica for gone."""
        return asyncio.get_running_loop().time() < self._renewed_at + LEASE_SECONDS

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Renew and look until the context ends; then the Lease goes, so that others need not wait for its expiry."""
        try:
            async with asyncio.TaskGroup() as group:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_FIRST_ROUND_SECONDS):
                        await self._renew()
                        await self._look()
                tasks = [group.create_task(self._renewing()), group.create_task(self._looking())]
                try:
                    yield
                finally:
                    for task in tasks:
                        task.cancel()
        finally:
            try:
                async with asyncio.timeout(_LAST_WORD_SECONDS):
                    await self._api.delete(LEASES, lease_name(self._replica))
            except (ApiError, ApiUnreachable, TimeoutError) as error:
                _logger.warning("the Lease of this replica will expire by itself: %s", error)

    @property
    def _api(self) -> Api:
        return self._cluster.api

    async def _renewing(self) -> None:
        while True:
            await asyncio.sleep(ROUND_SECONDS)
            await self._renew()

    async def _renew(self) -> None:
        clock = asyncio.get_running_loop()
        began = clock.time()
        try:
            async with asyncio.timeout(ROUND_SECONDS):
                await self._write_lease()
        except (ApiError, ApiUnreachable, TimeoutError) as error:
            _logger.warning("the Lease is not renewed: %s", error or "no answer in time")
            if self.trouble or clock.time() > self._renewed_at + LEASE_SECONDS:
                self.trouble = f"the Lease of this replica cannot be renewed: {error or 'no answer in time'}"
        else:
            self._renewed_at = began
            self.trouble = ""

    async def _write_lease(self) -> None:
        lease = make_lease(self._replica, int(LEASE_SECONDS), keeps_warm=self.keeps_warm)
        name = lease["metadata"]["name"]
        there = await self._api.find(LEASES, name)
        if there is None:
            await self._api.create(LEASES, lease)
        else:
            lease["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"]
            await self._api.replace(LEASES, name, lease)

    async def _looking(self) -> None:
        while True:
            await asyncio.sleep(ROUND_SECONDS)
            await self._look()

    async def _look(self) -> bool:
        """Whether anything could be seen."""
        at = asyncio.get_running_loop().time()
        try:
            answer = await self._api.list(LEASES, {"labelSelector": f"{MANAGED_BY}={MANAGER}"})
        except (ApiError, ApiUnreachable) as error:
            _logger.warning("not seen which replicas live: %s", error)
            return False
        self.leases = answer["items"]
        for lease in self.leases:
            if not holder_of(lease):
                self._cluster.odd("leases", lease["metadata"]["name"], "it names no replica")
        self._census.take_note(self.leases, at)
        self._cluster.watch.wake_all()
        return True


def _duration(spec: Json) -> float:
    seconds = spec.get("leaseDurationSeconds")
    return float(seconds) if isinstance(seconds, int) and seconds > 0 else LEASE_SECONDS
