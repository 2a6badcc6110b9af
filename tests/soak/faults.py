"""What goes wrong: each kind of fault, what it does to whom, and when each came."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from anyio.to_thread import run_sync

from tests import testcluster
from tests.e2e.place import Place
from tests.soak.api_link import ApiLink
from tests.soak.balancer import Balancer
from tests.soak.follower import Note
from tests.soak.plan import Options
from tests.soak.replicas import Replica
from tests.soak.workload import Record

_LEASES = "app.kubernetes.io/managed-by=k8s-mcp-server"
_RUN = "k8s-mcp-server/run"

_Act = Callable[[random.Random], Coroutine[None, None, str]]


@dataclass
class Faults:
    """`log` has every fault that happened, `counted` how many of each kind.

    The first replica is neither killed nor ended when there is another: its memory is measured from start to end.
    """

    options: Options
    place: Place
    replicas: list[Replica]
    balancer: Balancer
    running: Mapping[str, Record]
    log: list[Note] = field(default_factory=list[Note])
    counted: Counter[str] = field(default_factory=Counter[str])
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def happen(self, planned: Iterator[tuple[float, str, random.Random]]) -> None:
        """One after the other, some at the same time, until `over`. What has begun then is brought to its end."""
        acts = self._acts()
        async with asyncio.TaskGroup() as group:
            for pause, kind, rng in planned:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.over.wait(), pause)
                    return
                group.create_task(self._act(kind, acts[kind], rng))

    def of(self, *kinds: str) -> list[float]:
        """When there were some of these kinds."""
        return [note.at for note in self.log if note.text.partition(":")[0].removesuffix(" …") in kinds]

    async def _act(self, kind: str, act: _Act, rng: random.Random) -> None:
        note = len(self.log)
        self.log.append(Note(time.monotonic(), f"{kind} …"))
        began = time.monotonic()
        done = await act(rng)
        self.log[note] = Note(began, f"{kind}: {done}, {time.monotonic() - began:.1f} s")
        if done != "nothing":
            self.counted[kind] += 1

    def _acts(self) -> dict[str, _Act]:
        return {
            "kill": self._kill,
            "sigterm": self._sigterm,
            "api-away": lambda rng: self._away(rng, self._one_link(rng)),
            "api-away-all": lambda rng: self._away(rng, [replica.link for replica in self.replicas]),
            "api-odd": self._odd,
            "api-slow": self._slow,
            "api-freeze": self._freeze,
            "api-cut": self._cut,
            "pod-delete": lambda rng: self._delete("pod", rng),
            "job-delete": lambda rng: self._delete("job", rng),
            "lease-delete": self._lease_delete,
            "client-cut": self._client_cut,
            "client-freeze": self._client_freeze,
            "client-garble": self._client_garble,
            "kubelet-restart": self._kubelet_restart,
            "cordon": self._cordon,
        }

    async def _kill(self, rng: random.Random) -> str:
        replica = self._one_to_end(rng)
        await replica.killed(rng.uniform(0, 10))
        return f"replica {replica.number}"

    async def _sigterm(self, rng: random.Random) -> str:
        replica = self._one_to_end(rng)
        await replica.terminated(rng.uniform(0, 5))
        return f"replica {replica.number}"

    async def _away(self, rng: random.Random, links: list[ApiLink]) -> str:
        longest = self.options.longest_outage
        seconds = min(longest, 5 * (max(5, longest) / 5) ** rng.random())  # short ones are more frequent
        async with asyncio.TaskGroup() as group:
            for link in links:
                group.create_task(_while_away(link, seconds))
        return self._of(links)

    async def _odd(self, rng: random.Random) -> str:
        links = self._some_links(rng)
        share = rng.choice((0.1, 0.5, 1.0))
        for link in links:
            link.odd.turn(share)
        await asyncio.sleep(rng.uniform(2, 20))
        for link in links:  # also what another one of these began meanwhile
            link.odd.turn(0)
        return f"{self._of(links)}, {share:.0%} of the calls"

    async def _slow(self, rng: random.Random) -> str:
        links = self._some_links(rng)
        for link in links:
            link.slow.turn(rng.choice((0.3, 1.0, 4.0)))
        await asyncio.sleep(rng.uniform(5, 30))
        for link in links:
            link.slow.turn(0)
        return self._of(links)

    async def _freeze(self, rng: random.Random) -> str:
        [link] = self._one_link(rng)
        async with link.being_frozen():
            await asyncio.sleep(rng.uniform(1, min(60, self.options.longest_outage)))
            if rng.random() < 0.5:
                link.cut()
        return self._of([link])

    async def _cut(self, rng: random.Random) -> str:
        links = self._some_links(rng)
        for link in links:
            link.cut()
        return self._of(links)

    async def _delete(self, what: str, rng: random.Random) -> str:
        """The pod or the Job of a run in progress."""
        there = [one for one in self.running.values() if one.run_id]
        if not there:
            return "nothing"
        record = rng.choice(there)
        record.hurt.append(Note(time.monotonic(), f"{what} deleted"))
        where = (f"--namespace={self.place.namespace}", f"--selector={_RUN}={record.run_id}")
        said = await self.place.akubectl("delete", what, *where, "--wait=false", "--ignore-not-found")
        return f"of run {record.planned.number}: {said.strip() or 'not there'}"

    async def _lease_delete(self, rng: random.Random) -> str:
        where = (f"--namespace={self.place.namespace}", f"--selector={_LEASES}")
        there = (await self.place.akubectl("get", "leases", *where, "--output=name")).split()
        if not there:
            return "nothing"
        chosen = rng.choice(there)
        await self.place.akubectl("delete", chosen, where[0], "--ignore-not-found")
        return chosen

    async def _client_cut(self, rng: random.Random) -> str:
        return f"{self.balancer.cut(rng.choice((0.3, 1.0)))} connections"

    async def _client_garble(self, rng: random.Random) -> str:
        return f"{self.balancer.garble(rng.choice((0.3, 1.0)))} connections"

    async def _client_freeze(self, rng: random.Random) -> str:
        async with self.balancer.being_frozen():
            await asyncio.sleep(rng.uniform(1, 12))
            if rng.random() < 0.5:
                self.balancer.cut(0.5)
        return "all connections"

    async def _kubelet_restart(self, rng: random.Random) -> str:
        await run_sync(testcluster.stop, "kubelet")
        try:
            await asyncio.sleep(rng.uniform(0, 10))
        finally:
            await run_sync(testcluster.start, "kubelet")
        return "stopped and started"

    async def _cordon(self, rng: random.Random) -> str:
        [node] = (await self.place.akubectl("get", "nodes", "--output=name")).split()
        await self.place.akubectl("cordon", node)
        try:
            await asyncio.sleep(rng.uniform(5, 30))
        finally:
            await self.place.akubectl("uncordon", node)
        return node

    def _one_to_end(self, rng: random.Random) -> Replica:
        return rng.choice(self.replicas[1:] or self.replicas)

    def _one_link(self, rng: random.Random) -> list[ApiLink]:
        return [rng.choice(self.replicas).link]

    def _some_links(self, rng: random.Random) -> list[ApiLink]:
        return self._one_link(rng) if rng.random() < 0.7 else [replica.link for replica in self.replicas]

    def _of(self, links: list[ApiLink]) -> str:
        return "replica " + ", ".join(str(one.number) for one in self.replicas if one.link in links)


async def _while_away(link: ApiLink, seconds: float) -> None:
    async with link.being_away():
        await asyncio.sleep(seconds)
