"""One replica in a cluster of a thousand nodes, at ten thousand runs an hour: calls, memory and delay."""

import asyncio
import re
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import pods, simulated
from bench.client import request, short
from bench.figures import Row, Sample, at_most, figure
from bench.memory import processor, sampled
from bench.on_cluster import OnCluster, on_cluster
from tests.soak import growth
from tests.support.service import Service

_NODES = 1000
_AN_HOUR = 10_000
_MOST_AT_ONCE = 64
_GROWTH = 5.0
_KEPT_SECONDS = 60  # by default more than all of this takes, and what has ended grows until then
_COUNTED = re.compile(r'^k8s_mcp_api_requests_total\{.*resource="([^"]+)",verb="(\w+)"\} (\S+)$', re.MULTILINE)
_OF_THE_REPLICA = {"leases"}
_MIB = 1 << 20


def measure(directory: Path, minutes: float) -> Iterator[Row]:
    """The rows of this part. Raises testcluster.NotPossibleError where there can be no cluster, or no kwok."""
    with on_cluster(directory) as place, simulated.nodes(place.cluster, _NODES):
        service = place.serve(warm_pods=0, max_runs=_MOST_AT_ONCE, replay_seconds=_KEPT_SECONDS)
        yield from asyncio.run(_rows(place, service, 60 * minutes))


async def _rows(place: OnCluster, service: Service, seconds: float) -> list[Row]:
    """Runs begin at even intervals, whatever becomes of those before them."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_MOST_AT_ONCE))
    count = round(seconds * _AN_HOUR / 3600)
    late: list[float] = []

    async def run(at: float) -> float:
        await asyncio.sleep(at - time.perf_counter())
        late.append(time.perf_counter() - at)
        answer = await asyncio.to_thread(short, service.url, request("echo ready"))
        return answer.first_line * 1000

    async with place.api() as api, sampled(service) as samples:
        await pods.remove_all(api)
        await run(time.perf_counter())
        before, used, start = _calls(service), processor(service.pid), time.perf_counter()
        first_lines = await asyncio.gather(*(run(start + number * seconds / count) for number in range(count)))
        taken = time.perf_counter() - start
        await pods.until_gone(api)
        used = processor(service.pid) - used
        calls = {what: number - before.get(what, 0) for what, number in _calls(service).items()}
    cuts = statistics.quantiles(first_lines, n=100, method="inclusive")
    [grown] = growth.of(0, samples)
    each = ", ".join(f"{what} {number / count:.2f}" for what, number in sorted(calls.items()) if number * 20 > count)
    return [
        figure(f"{count:,} runs on {_NODES:,} nodes, evenly", "runs/s", Sample.of([count / taken])),
        figure("  begun later than meant, at most", "ms", Sample.of([1000 * max(late)])),
        figure("  first line, p50", "ms", Sample.of([cuts[49]])),
        figure("  the same, p95", "ms", Sample.of([cuts[94]])),
        figure("  the same, p99", "ms", Sample.of([cuts[98]])),
        figure(f"  calls for a run: {each}", "", Sample.of([sum(calls.values()) / count])),
        figure("  processor of the service for a run", "ms", Sample.of([1000 * used / count])),
        figure("  memory of the service, over the second half", "MiB", Sample.of([grown.memory_mean / _MIB])),
        at_most("  what it grew by, over the second half", "%", Sample.of([100 * grown.memory]), _GROWTH),
        at_most("  the same, descriptors", "%", Sample.of([100 * grown.descriptors]), _GROWTH),
    ]


def _calls(service: Service) -> dict[str, float]:
    """Since its start, by verb and resource; not those by which a replica says that it lives."""
    found: dict[str, float] = {}
    for resource, verb, number in _COUNTED.findall(service.get("/metrics").text):
        if resource not in _OF_THE_REPLICA:
            what = f"{verb} {resource}"
            found[what] = found.get(what, 0) + float(number)
    return found
