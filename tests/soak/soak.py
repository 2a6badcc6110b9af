"""All of it put together: replicas and what stands around them, the workload, the faults, the checker."""

import asyncio
import os
import random
import secrets
import subprocess
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from tests.e2e.place import Place, created
from tests.soak import growth, plan, replicas
from tests.soak.api_link import api_link
from tests.soak.balancer import Balancer, balancer
from tests.soak.checker import Weather, judge
from tests.soak.faults import Faults
from tests.soak.follower import http_client
from tests.soak.leftovers import until_nothing_left
from tests.soak.plan import Options
from tests.soak.replicas import Replica
from tests.soak.report import Report
from tests.soak.witness import Witness, witness
from tests.soak.workload import CLUSTER, Workload
from tests.testcluster import Cluster
from tests.testcluster.layout import Addresses

NOTHING_LEFT_SECONDS = 60
_ROOT = Path(__file__).parents[2]
_STORED_SECONDS = 86_400


class NotPossible(Exception):
    """There is no runner image here; the message says why."""


@contextmanager
def prepared(cluster: Cluster, directory: Path) -> Generator[Place]:
    """A namespace with the runner image, for as long as the context lasts. Raises NotPossible."""
    namespace = f"k8s-mcp-soak-{secrets.token_hex(3)}"
    environment = {**os.environ, "K8S_MCP_NAMESPACE": namespace}
    build = [_ROOT / "images" / "build", "runner"]
    built = subprocess.run(build, env=environment, capture_output=True, text=True, check=False)
    if built.returncode:
        raise NotPossible(built.stderr[-500:])
    with created(cluster, namespace, directory) as place:
        yield place


class Soak:
    """One soak, from its parts."""

    def __init__(
        self, options: Options, report: Report, workload: Workload, faults: Faults, witness: Witness
    ) -> None:
        self._options = options
        self._report = report
        self._workload = workload
        self._faults = faults
        self._witness = witness

    async def run(self) -> None:
        """Until the time is over, all runs have ended and nothing more is to be waited for."""
        await self._store()
        self._report.fault_log = self._faults.log
        self._report.faults = self._faults.counted
        async with asyncio.TaskGroup() as group:
            endless = [group.create_task(replica.watch()) for replica in self._faults.replicas]
            endless.append(group.create_task(self._check()))
            await self._work()
            left, self._report.gone_after = await until_nothing_left(
                self._faults.place, len(self._faults.replicas), NOTHING_LEFT_SECONDS
            )
            for thing in left:
                self._report.tell("left", thing)
            await self._is_stored()
            for task in endless:
                task.cancel()

    async def _work(self) -> None:
        """Runs under faults, until the last is judged."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._faults.happen(plan.faults(self._options)))
            await self._workload.carry_out(
                plan.runs(self._options.seed), self._options.seconds, self._faults.over.set
            )
        await self._workload.finished.join()

    async def _check(self) -> None:
        """Every run that is over, for ever."""
        while True:
            record = await self._workload.finished.get()
            outages = [outage for replica in self._faults.replicas for outage in replica.link.outages]
            nonsense = [spell for replica in self._faults.replicas for spell in replica.link.odd.spells]
            slow = [spell for replica in self._faults.replicas for spell in replica.link.slow.spells]
            starts = self._witness.seen.pop(record.planned.label, [])
            kills, goings = (self._faults.of(*kinds) for kinds in (("kill",), ("kill", "sigterm")))
            weather = Weather(self._options.resume_window, outages, kills, nonsense, slow, goings)
            verdict = judge(record, starts, weather)
            self._report.add(record, verdict)
            self._workload.finished.task_done()

    async def _store(self) -> None:
        body = {"kubeconfig": self._workload.kubeconfig, "ttl": _STORED_SECONDS}
        stored = await self._workload.http.put(f"{self._faults.balancer.any}/clusters/{CLUSTER}", json=body)
        stored.raise_for_status()

    async def _is_stored(self) -> None:
        answer = await self._workload.http.get(f"{self._faults.balancer.any}/clusters/{CLUSTER}")
        if answer.status_code != 200:
            self._report.tell("stored cluster lost", f"{answer.status_code} {answer.text}")


async def soak(options: Options, place: Place, directory: Path) -> Report:
    """Carry one out in this place; the replicas' logs stay in `directory`."""
    report = Report(options)
    async with _stage(options, place, directory, report) as parts:
        await Soak(options, report, *parts).run()
    started: list[Replica] = parts[1].replicas
    report.add_logs(lambda run_id: [line for one in started for line in one.log_lines(run_id)])
    for replica in started:
        report.growth += growth.of(replica.number, replica.samples)
        for what, problem in dict(replica.log_problems()).items():
            report.tell(f"logged: {what[:200]}", problem)
    return report


@asynccontextmanager
async def _stage(
    options: Options, place: Place, directory: Path, report: Report
) -> AsyncGenerator[tuple[Workload, Faults, Witness]]:
    async with AsyncExitStack() as stack:
        started: list[Replica] = []
        for number in range(options.replicas):
            link = await stack.enter_async_context(api_link(place.server, random.Random(f"{options.seed} {number}")))
            given = replicas.settings(place, link, number, options.resume_window)
            started.append(Replica(number, link, directory / f"replica-{number}", given, report.tell))
        front: Balancer = await stack.enter_async_context(
            balancer(
                lambda: [one.address for one in started], len(started), random.Random(f"{options.seed} balancer")
            )
        )
        heard = await stack.enter_async_context(witness(Addresses.from_environment().host))
        await stack.enter_async_context(replicas.running(started))
        http = await stack.enter_async_context(http_client())
        workload = Workload(options, front, heard, place.cluster.kubeconfig.read_text(), http)
        yield workload, Faults(options, place, started, front, workload.running), heard
