"""Short runs for minutes on end, beside bare Jobs with the same pods, by turns; and what the service grows by."""

import asyncio
import itertools
import secrets
import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from bench import pods
from bench.client import kubeconfig, request, short
from bench.figures import Row, Sample, at_least_times, at_most, figure
from bench.memory import processor, sampled
from bench.on_cluster import OnCluster, on_cluster
from k8s_mcp import __version__
from k8s_mcp.beside import beside
from k8s_mcp.cluster.client import Api
from k8s_mcp.cluster.objects import PodTemplate
from tests.soak import growth
from tests.support.service import Service

_AT_A_TIME = 8
_TURNS = 5
_COMMAND = "echo ready"
_GROWTH = 5.0
_KEPT_SECONDS = 60  # by default more than all of this takes, and what has ended grows until then
_MIB = 1 << 20


def measure(directory: Path, minutes: float) -> Iterator[Row]:
    """The rows of this part: so many minutes of each. Raises testcluster.NotPossibleError where there can be no
    cluster.
    """
    with on_cluster(directory) as place:
        yield from asyncio.run(_rows(place, place.serve(warm_pods=0, replay_seconds=_KEPT_SECONDS), 60 * minutes))


async def _rows(place: OnCluster, service: Service, seconds: float) -> list[Row]:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_AT_A_TIME))
    first_lines: list[float] = []

    async def run() -> None:
        answer = await asyncio.to_thread(short, service.url, request(_COMMAND))
        first_lines.append(answer.first_line * 1000)

    samples: list[growth.Sample] = []  # of its turns: in its breaks it holds no connections for runs
    async with place.api() as api:
        await pods.remove_all(api)
        await run()
        await api.create(pods.SECRETS, pods.secret(pods.LABEL, kubeconfig()))
        ours: list[float] = []
        bare: list[float] = []
        used = 0.0
        for _ in range(_TURNS):
            before = processor(service.pid)
            async with sampled(service) as those:
                ours.append(await _rate(run, seconds / _TURNS))
            samples += those
            await pods.until_gone(api)
            used += processor(service.pid) - before
            async with _bare(api) as job:
                bare.append(await _rate(job, seconds / _TURNS))
            await pods.until_gone(api)
    cuts = statistics.quantiles(first_lines, n=100, method="inclusive")
    [grown] = growth.of(0, samples)
    count = len(first_lines)
    jobs = ("bare Jobs, same pods", Sample.of(bare))
    return [
        at_least_times(f"{count:,} short runs, {_AT_A_TIME} at a time", "runs/s", Sample.of(ours), jobs, 0.95),
        figure("  first line, p50", "ms", Sample.of([cuts[49]])),
        figure("  the same, p95", "ms", Sample.of([cuts[94]])),
        figure("  the same, p99", "ms", Sample.of([cuts[98]])),
        figure("  processor of the service for a run", "ms", Sample.of([1000 * used / count])),
        figure("  memory of the service, over the second half", "MiB", Sample.of([grown.memory_mean / _MIB])),
        at_most("  what it grew by, over the second half", "%", Sample.of([100 * grown.memory]), _GROWTH),
        at_most("  the same, descriptors", "%", Sample.of([100 * grown.descriptors]), _GROWTH),
    ]


async def _rate(one: Callable[[], Awaitable[None]], seconds: float) -> float:
    """How many a second come to their end, so many at a time, for so long."""
    start = time.perf_counter()

    async def worker() -> int:
        for done in itertools.count():
            if time.perf_counter() - start >= seconds:
                return done
            await one()
        raise AssertionError

    counts = await asyncio.gather(*(worker() for _ in range(_AT_A_TIME)))
    return sum(counts) / (time.perf_counter() - start)


@asynccontextmanager
async def _bare(api: Api) -> AsyncGenerator[Callable[[], Awaitable[None]]]:
    """Carries out a Job of its own each time: made, waited for, deleted."""
    template = PodTemplate(f"k8s-mcp-server/runner:{__version__}")
    ended: dict[str, asyncio.Event] = {}

    async def watch() -> None:
        async with aclosing(pods.changes(api, pods.JOBS, pods.SELECTION)) as stream:
            async for change in stream:
                event = ended.get(change["object"]["metadata"]["name"])
                if event is not None and change["object"].get("status", {}).get("succeeded"):
                    event.set()

    async def carry_out() -> None:
        name = f"sustained-{secrets.token_hex(5)}"
        ended[name] = asyncio.Event()
        await api.create(pods.JOBS, pods.job(name, template, isolated=True))
        await ended[name].wait()
        await api.delete(pods.JOBS, name, grace=0)

    async with beside(watch):
        yield carry_out
