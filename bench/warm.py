"""A run in a warm pod beside one that starts its own, by turns, on one node."""

import asyncio
import secrets
import statistics
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.client import Answer, request, short
from bench.figures import Row, Sample, at_most, at_most_times, figure, median_at_most, times
from bench.on_cluster import OnCluster, metric, on_cluster
from tests.support.service import Service, wait_for

_TURNS = 6  # in each round
_WINDOW = 2  # seconds for which a run with a key is kept: the node is idle when it is gone
_P50, _P95, _LATE, _KUBECTL = 150, 300, 50, 2.5
_STAMPED = "date +%s.%N"
_LISTING = "kubectl get namespaces"
_WAITING = "k8s_mcp_warm_pods_waiting"
_HITS = 'k8s_mcp_warm_pods_asked_total{result="hit"}'


@dataclass(frozen=True)
class _Bench:
    place: OnCluster
    warm: Service
    cold: Service


def measure(directory: Path, rounds: int) -> Iterator[Row]:
    """The rows of this part. Raises testcluster.NotPossibleError where there can be no cluster."""
    with on_cluster(directory) as place:
        warm, cold = (place.serve(f"warm-{most}", warm_pods=most, resume_window=_WINDOW) for most in (1, 0))
        yield from _rows(_Bench(place, warm, cold), rounds)


def _rows(bench: _Bench, rounds: int) -> list[Row]:
    warm: list[Answer] = []
    keyed: list[Answer] = []
    cold: list[Answer] = []
    listing: list[float] = []
    plain: list[float] = []
    for _ in range(1 + _TURNS * rounds):
        warm.append(_hit(bench, _STAMPED))
        keyed.append(_hit(bench, _STAMPED, key=secrets.token_hex(8)))
        cold.append(_on_an_idle_node(bench, _STAMPED))
        listing.append(_hit(bench, _LISTING).end)
        plain.append(_plain(bench))
    del warm[0], keyed[0], cold[0], listing[0], plain[0]  # the first ones find cold caches everywhere
    first, with_key, own = (_ms(answer.first_line for answer in answers) for answers in (warm, keyed, cold))
    late = _ms(answer.ended_at - float(answer.lines[-1]) for answer in warm)
    return [
        median_at_most("first line of output in a warm pod, p50", "ms", first, _P50),
        at_most("  the same, p95", "ms", Sample.of([_p95(first)]), _P95),
        times("  the same", "ms", first, ("a pod of its own", own)),
        times("  the same, with an Idempotency-Key", "ms", with_key, ("without one", first)),
        figure("  a pod of its own, p95", "ms", Sample.of([_p95(own)])),
        median_at_most("final event after the command's end", "ms", late, _LATE),
        at_most_times(f"`{_LISTING}`, to its end", "ms", _ms(listing), ("plain kubectl", _ms(plain)), _KUBECTL),
    ]


def _hit(bench: _Bench, command: str, key: str = "") -> Answer:
    """A run that found a pod, which had time to settle: the node has nothing else to do."""
    wait_for(lambda: metric(bench.warm, _WAITING) >= 1, 60, what="a warm pod")
    hits = metric(bench.warm, _HITS)
    time.sleep(2)  # not for a state: so that what the node does behind a pod's start is over
    answer = short(bench.warm.url, {**request(command), "kubeconfig": bench.place.kubeconfig}, key)
    if metric(bench.warm, _HITS) != hits + 1:
        raise ValueError("the run was in no warm pod")
    return answer


def _on_an_idle_node(bench: _Bench, command: str) -> Answer:
    wait_for(lambda: metric(bench.warm, _WAITING) >= 1, 60, what="the node to be idle")
    answer = short(bench.cold.url, {**request(command), "kubeconfig": bench.place.kubeconfig})
    asyncio.run(bench.place.until_gone())
    return answer


def _plain(bench: _Bench) -> float:
    start = time.perf_counter()
    command = [*bench.place.kubectl, "get", "namespaces"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def _p95(sample: Sample) -> float:
    return statistics.quantiles(sample.values, n=20)[-1]


def _ms(seconds: Iterator[float] | list[float]) -> Sample:
    return Sample.of(value * 1000 for value in seconds)
