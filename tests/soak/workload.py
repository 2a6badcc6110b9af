"""Runs, one after the other and several at a time, each with its clients."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.soak.balancer import Balancer
from tests.soak.follower import Follower, Note
from tests.soak.plan import Options, Planned
from tests.soak.witness import Witness

CLUSTER = "soak"
"""The stored cluster that some runs name."""

PATIENCE = 420
"""Seconds in which a run must have come to its end for each of its clients."""

_CANCEL_SECONDS = 90


@dataclass
class Record:
    """A run and what became of it. `hurt`: faults that were meant for it. Times by time.monotonic()."""

    planned: Planned
    followers: list[Follower] = field(default_factory=list[Follower])
    hurt: list[Note] = field(default_factory=list[Note])
    began: float = 0.0
    ended: float = 0.0
    cancelled: float | None = None
    overdue: bool = False
    replayed: Follower | None = None

    @property
    def run_id(self) -> str:
        return next((one.run_id for one in self.followers if one.run_id), "")


class Workload:
    """`running` are the runs in progress; `finished` gets those that are over, for the checker."""

    def __init__(
        self, options: Options, balancer: Balancer, witness: Witness, kubeconfig: str, http: httpx.AsyncClient
    ) -> None:
        self.running: dict[str, Record] = {}
        self.finished: asyncio.Queue[Record] = asyncio.Queue()
        self._options = options
        self._balancer = balancer
        self._witness = witness
        self.kubeconfig = kubeconfig
        self.http = http

    async def carry_out(self, planned: Iterator[Planned], seconds: float, then: Callable[[], object]) -> None:
        """Begin runs for so long, and call `then`; return when all are over."""
        end = time.monotonic() + seconds
        timer = asyncio.get_running_loop().call_later(seconds, then)

        async def worker() -> None:
            while time.monotonic() < end:
                await self._carry_out(next(planned))

        async with asyncio.TaskGroup() as group:
            for _ in range(self._options.at_a_time):
                group.create_task(worker())
        timer.cancel()
        then()

    async def _carry_out(self, planned: Planned) -> None:
        record = Record(planned, began=time.monotonic())
        self.running[planned.label] = record
        try:
            async with asyncio.timeout(PATIENCE):
                await self._act(record)
        except TimeoutError:
            record.overdue = True
        del self.running[planned.label]
        record.ended = time.monotonic()
        self.finished.put_nowait(record)

    async def _act(self, record: Record) -> None:
        rng = random.Random(record.planned.seed)
        async with asyncio.TaskGroup() as group:
            first = self._follower(record, rng)
            canceller = group.create_task(self._cancel(record, first, rng))
            match record.planned.mode:
                case "twice":
                    await self._twice(record, first, rng)
                case "retried":
                    second = self._follower(record, rng)
                    await _both(first.to_end(), second.to_end())
                case "returning":
                    await first.for_a_while(rng.uniform(0, 6))
                    await asyncio.sleep(rng.uniform(0, self._options.resume_window / 3))
                    await first.to_end()
                case "leaving":
                    await first.for_a_while(rng.uniform(0, 6))
                case _:
                    await first.to_end()
            canceller.cancel()
        if first.ended and rng.random() < 0.3:
            await self._replay(record, first, rng)

    async def _twice(self, record: Record, first: Follower, rng: random.Random) -> None:
        async def later() -> None:
            await first.started.wait()
            await asyncio.sleep(rng.uniform(0, 2))
            second = self._follower(record, rng, first.run_id)
            await second.to_end()

        await _both(first.to_end(), later())

    async def _replay(self, record: Record, first: Follower, rng: random.Random) -> None:
        """The run once more from its beginning, from wherever it may be, while it can still be had."""
        again = Follower(self.http, self._doors(rng), {}, "", rng)
        again.run_id = first.run_id
        async with asyncio.timeout(60):
            await again.once()
        record.replayed = again if again.numbered else None

    def _follower(self, record: Record, rng: random.Random, run_id: str = "") -> Follower:
        own = random.Random(rng.random())
        key = "" if record.planned.mode == "keyless" else record.planned.label
        one = Follower(self.http, self._doors(own), self._request(record.planned), key, own)
        one.run_id = run_id
        record.followers.append(one)
        return one

    def _doors(self, rng: random.Random) -> Sequence[str]:
        """Where a client goes: first to one replica, then to wherever the load balancer sends it, and to each."""
        only = list(self._balancer.only)
        rng.shuffle(only)
        return [only[0], self._balancer.any, *only[1:]]

    def _request(self, planned: Planned) -> dict[str, Any]:
        command = planned.command
        request: dict[str, Any] = {
            "command": self._witness.attested(planned.label, command.script),
            "timeout": command.timeout,
        }
        request |= {"cluster": CLUSTER} if planned.stored else {"kubeconfig": self.kubeconfig}
        return request if command.stdin is None else {**request, "stdin": command.stdin}

    async def _cancel(self, record: Record, first: Follower, rng: random.Random) -> None:
        """When it is to be: by whatever replica, until one has taken it."""
        after = record.planned.command.cancel_after
        if after is None:
            return
        await first.started.wait()
        await asyncio.sleep(after)
        end = time.monotonic() + _CANCEL_SECONDS
        while time.monotonic() < end and record.cancelled is None:
            door = rng.choice([self._balancer.any, *self._balancer.only])
            try:
                answer = await self.http.delete(f"{door}/runs/{first.run_id}", timeout=15)
            except httpx.HTTPError as error:
                first.note(f"cancel: {type(error).__name__}")
            else:
                first.note(f"cancel: {answer.status_code}")
                if answer.status_code == 202:
                    record.cancelled = time.monotonic()
                    return
            await asyncio.sleep(0.3)


async def _both(*work: Any) -> None:
    async with asyncio.TaskGroup() as group:
        for one in work:
            group.create_task(one)
