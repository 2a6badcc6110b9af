"""One replica in a cluster of a thousand nodes, at ten thousand runs an hour: calls, memory and delay."""

import asyncio
import os
import re
import statistics
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import pods, simulated
from bench.client import request, short
from bench.figures import Row, Sample, at_most, figure
from bench.kubernetes import prepared
from bench.memory import processor, sampled
from k8s_mcp.cluster.connect import connect
from tests.soak import growth
from tests.support.service import Service

_NAMESPACE = "k8s-mcp-bench"
_NODES = 1000
_AN_HOUR = 10_000
_MOST_AT_ONCE = 64
_GROWTH = 5.0
_COUNTED = re.compile(r'^k8s_mcp_api_requests_total\{.*resource="([^"]+)",verb="(\w+)"\} (\S+)$', re.MULTILINE)
_OF_THE_REPLICA = {"leases"}
_MIB = 1 << 20


def measure(directory: Path, minutes: float) -> Iterator[Row]:
    """The rows of this part. Raises testcluster.NotPossibleError where there can be no cluster, or no kwok."""
    cluster = prepared()
    home = directory / "service"
    home.mkdir()
    settings = {
        "executor": "kubernetes",
        "kubeconfig": cluster.kubeconfig,
        "namespace": _NAMESPACE,
        "warm_pods": 0,
        "max_runs": _MOST_AT_ONCE,
    }
    kubectl = [str(cluster.kubectl), f"--kubeconfig={cluster.kubeconfig}"]
    with simulated.nodes(cluster, _NODES):
        service = Service(home, os.environ["PATH"], settings)
        try:
            yield from asyncio.run(_rows(service, str(cluster.kubeconfig), 60 * minutes))
        finally:
            service.stop()
            subprocess.run([*kubectl, "delete", "namespace", _NAMESPACE], check=True, stdout=subprocess.DEVNULL)


async def _rows(service: Service, own_kubeconfig: str, seconds: float) -> list[Row]:
    """Runs begin at even intervals, whatever becomes of those before them."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_MOST_AT_ONCE))
    count = round(seconds * _AN_HOUR / 3600)
    late: list[float] = []

    async def run(at: float) -> float:
        await asyncio.sleep(at - time.perf_counter())
        late.append(time.perf_counter() - at)
        answer = await asyncio.to_thread(short, service.url, request("echo ready"))
        return answer.first_line * 1000

    async with connect(own_kubeconfig, "", _NAMESPACE) as api, sampled(service) as samples:
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
