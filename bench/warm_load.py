"""Warm pods when many ask at once, what waiting costs, and what a run asks of the API server."""

import asyncio
import re
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.client import Answer, request, short
from bench.figures import Row, Sample, figure
from bench.on_cluster import OnCluster, metric, on_cluster
from tests.support.service import Service, wait_for

_MOST = 10
_AT_ONCE = {1: 4, 10: 1, 40: 1}
"""How many requests, and how often in each round."""
_BURST = 100
_IDLE_SECONDS = 30
_COMMAND = "echo ready"
_WAITING = "k8s_mcp_warm_pods_waiting"
_HITS = 'k8s_mcp_warm_pods_asked_total{result="hit"}'
_CALL = re.compile(r"^k8s_mcp_api_requests_total\{(.*)\} (\S+)$", re.MULTILINE)
_MIB = 1 << 20
_LOOK = f"""
cd /sys/fs/cgroup
if [ -e cgroup.controllers ]; then
    echo memory $(cat memory.current) $(sed -n 's/^inactive_file //p' memory.stat)
    used() {{ echo used $(sed -n 's/^usage_usec //p' cpu.stat)000; }}
else
    echo memory $(cat memory/memory.usage_in_bytes) $(sed -n 's/^total_inactive_file //p' memory/memory.stat)
    used() {{ echo used $(cat cpuacct/cpuacct.usage); }}
fi
used; sleep {_IDLE_SECONDS}; used
"""
"""Bytes, and those of them that are pages of files which could go; nanoseconds. For both versions of cgroups."""


class _Bench:
    """Two services in one namespace, of which one keeps pods warm."""

    def __init__(self, place: OnCluster) -> None:
        self.place = place
        # A hundred pods take a node a while.
        self.warm, self.cold = (place.serve(f"warm-{most}", warm_pods=most, start_timeout=300) for most in (_MOST, 0))
        self.run = {**request(_COMMAND), "kubeconfig": place.kubeconfig}

    def at_once(self, count: int) -> tuple[list[Answer], float]:
        """So many runs, and how many of them found a warm pod."""
        before = metric(self.warm, _HITS)
        with ThreadPoolExecutor(count) as threads:
            answers = list(threads.map(short, [self.warm.url] * count, [self.run] * count))
        return answers, metric(self.warm, _HITS) - before

    def until_ready(self) -> None:
        """As many wait as may, and what the runs left is gone."""
        asyncio.run(self.place.until_gone())
        wait_for(lambda: metric(self.warm, _WAITING) >= _MOST, 120, what=f"{_MOST} warm pods")
        time.sleep(2)  # not for a state: so that what the node does behind a pod's start is over


def measure(directory: Path, rounds: int) -> Iterator[Row]:
    """The rows of this part. Raises testcluster.NotPossibleError where there can be no cluster."""
    with on_cluster(directory) as place:
        bench = _Bench(place)
        yield from _idle(bench)
        yield from _calls(bench)
        for count, turns in _AT_ONCE.items():
            yield from _first_lines(bench, count, turns * rounds)
        yield from _first_lines(bench, _BURST, 1)


def _idle(bench: _Bench) -> Iterator[Row]:
    """What a pod takes that waits: by its containers' own cgroups."""
    wait_for(lambda: metric(bench.warm, _WAITING) >= 1, 60, what="a warm pod")
    time.sleep(5)  # not for a state: what starting it took is over
    listed = [*bench.place.here, "get", "pods", "--selector=k8s-mcp-server/warm", "--output=name"]
    name = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split()[0]
    for container in ("runner", "credential-proxy"):
        look = [*bench.place.here, "exec", name, f"--container={container}", "--", "sh", "-c", _LOOK]
        said = subprocess.run(look, check=True, capture_output=True, text=True).stdout
        [[memory, inactive]] = re.findall(r"^memory (\d+) (\d+)$", said, re.MULTILINE)
        before, after = (int(used) for used in re.findall(r"^used (\d+)$", said, re.MULTILINE))
        size = (int(memory) - int(inactive)) / _MIB
        yield figure(f"a pod that waits, {container}: memory", "MiB", Sample.of([size]))
        yield figure("  the same: processor", "ms/s", Sample.of([(after - before) / 1e6 / _IDLE_SECONDS]))


def _calls(bench: _Bench) -> Iterator[Row]:
    where = {"in a warm pod, with the next one's start": bench.warm, "in a pod of its own": bench.cold}
    for name, service in where.items():
        before = _calls_so_far(service)
        hits = metric(bench.warm, _HITS)
        short(service.url, bench.run)
        asyncio.run(bench.place.until_gone())
        wait_for(lambda: metric(bench.warm, _WAITING) >= 1, 60, what="a warm pod")
        if service is bench.warm and metric(bench.warm, _HITS) != hits + 1:
            raise ValueError("the run was in no warm pod")
        made = _calls_so_far(service) - before
        yield figure(f"calls to the API server for a run {name}", "", Sample.of([made.total()]))
        for call, count in sorted(made.items()):
            yield figure(f"  {call}", "", Sample.of([count]))


def _calls_so_far(service: Service) -> Counter[str]:
    """Without those that a replica makes whether or not there are runs."""
    found: Counter[str] = Counter()
    for text, value in _CALL.findall(service.get("/metrics").text):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', text))
        if labels["verb"] not in {"list", "watch"} and labels["resource"] in {"jobs", "secrets", "pods", "pods/log"}:
            found[f"{labels['verb']} {labels['resource']}"] += int(float(value))
    return found


def _first_lines(bench: _Bench, count: int, turns: int) -> Iterator[Row]:
    bench.at_once(_MOST)  # so many are wanted
    seconds: list[float] = []
    hits: list[float] = []
    whole: list[float] = []
    for _ in range(turns):
        bench.until_ready()
        start = time.perf_counter()
        answers, found = bench.at_once(count)
        whole.append(time.perf_counter() - start)
        seconds += [answer.first_line for answer in answers]
        hits.append(found)
    sample = Sample.of(value * 1000 for value in seconds)
    cuts = statistics.quantiles(sample.values, n=100, method="inclusive")
    yield figure(f"{count} at once: first line, p50", "ms", sample)
    yield figure("  the same, p95", "ms", Sample.of([cuts[94]]))
    yield figure("  the same, p99", "ms", Sample.of([cuts[98]]))
    yield figure(f"  of {count}, in a warm pod", "", Sample.of(hits))
    yield figure("  until the last one's end", "s", Sample.of(whole))
