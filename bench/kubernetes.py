"""The Kubernetes executor beside what the same cluster does without it."""

import asyncio
import math
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench import pods
from bench.client import Answer, bulk, kubeconfig, request, short
from bench.figures import Row, Sample, at_least_times, at_most, at_most_times, figure, median_at_most, times
from bench.on_cluster import OnCluster, on_cluster
from bench.text import Text, check_stream, incompressible
from k8s_mcp import __version__
from k8s_mcp.cluster.client import Api
from k8s_mcp.cluster.objects import PodTemplate
from tests.support.service import Service

_BURST = 24
_MIB = 1 << 20
_BYTES_PER_LINE = 25
_LONGEST_TEXT = 700 * 1024  # it has to fit into a Secret, and into a request as stdin
_KINDS = (
    "namespaces,nodes,services,endpointslices,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,"
    "apiservices,flowschemas,prioritylevelconfigurations,customresourcedefinitions,storageclasses"
)


@dataclass(frozen=True)
class _Bench:
    service: Service
    api: Api
    place: OnCluster
    template: PodTemplate


def measure(directory: Path, rounds: int, lines: int) -> Iterator[Row]:
    """The rows of this part. Raises testcluster.NotPossibleError where there can be no cluster."""
    with on_cluster(directory) as place:
        yield from asyncio.run(_rows(place, place.serve(warm_pods=0), rounds, lines))


async def _rows(place: OnCluster, service: Service, rounds: int, lines: int) -> list[Row]:
    # Each run is read in a thread; asyncio by itself has four more of them than there are processors.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_BURST))
    async with place.api() as api:
        bench = _Bench(service, api, place, PodTemplate(f"k8s-mcp-server/runner:{__version__}"))
        await pods.remove_all(api)
        await _short(bench, "true; echo ready")  # the first one finds cold caches everywhere
        return [
            *await _cold_start(bench, 5 * rounds),
            *await _burst(bench, rounds),
            *await _log(bench, rounds, _text(place.kubectl, lines), "of YAML", 5),
            *await _log(bench, rounds, _incompressible(lines), "in base64, incompressible", 0.9),
            at_most("peak memory of the service", "MiB", Sample.of([service.peak_memory() / _MIB]), 200),
        ]


async def _cold_start(bench: _Bench, rounds: int) -> list[Row]:
    """One run at a time on an idle node. The command says itself when it ends."""
    files = pods.secret("cold", kubeconfig())
    shell = pods.pod("cold", bench.template, ["bash", "-c", "echo ready"])
    runner = pods.pod("cold", bench.template)
    answers: list[Answer] = []
    with_shell: list[float] = []
    with_runner: list[float] = []
    for _ in range(rounds):
        with_shell.append(await pods.time_to_first_log(bench.api, files, shell))
        answers.append(await _short(bench, "date +%s.%N"))
        with_runner.append(await pods.time_to_first_log(bench.api, files, runner))
    first = _ms(answer.first_line for answer in answers)
    late = _ms(answer.ended_at - float(answer.lines[-1]) for answer in answers)
    return [
        at_most_times("cold start: first line of output", "ms", first, ("bare pod, bash", _ms(with_shell)), 1.15),
        times("  the same", "ms", first, ("bare pod, runner's hello", _ms(with_runner))),
        median_at_most("final event after the command's end", "ms", late, 100),
    ]


async def _burst(bench: _Bench, rounds: int) -> list[Row]:
    """Many short runs at once: what the node can start."""
    ours: list[float] = []
    jobs: list[float] = []
    minimal: list[float] = []
    for _ in range(rounds):
        await bench.api.create(pods.SECRETS, pods.secret(pods.LABEL, kubeconfig()))
        jobs.append(await pods.time_to_complete(bench.api, _jobs(bench, isolated=True)))
        start = time.perf_counter()
        await asyncio.gather(*(_run(bench, "echo ready") for _ in range(_BURST)))
        ours.append(time.perf_counter() - start)
        await pods.until_gone(bench.api)
        minimal.append(await pods.time_to_complete(bench.api, _jobs(bench, isolated=False)))
    rate, same, least = (Sample.of(_BURST / value for value in values) for values in (ours, jobs, minimal))
    return [
        at_least_times(f"{_BURST} short runs at once", "runs/s", rate, ("bare Jobs, same pods", same), 0.9),
        times("  the same", "runs/s", rate, ("bare Jobs, bash alone", least)),
    ]


def _jobs(bench: _Bench, *, isolated: bool) -> list[pods.Manifest]:
    return [pods.job(f"burst-{number}", bench.template, isolated=isolated) for number in range(_BURST)]


async def _log(bench: _Bench, rounds: int, text: Text, kind: str, least: float) -> list[Row]:
    """Millions of lines, each round through a run and from an ordinary pod. The run's are compared with the text."""
    ours: list[float] = []
    plain: list[float] = []
    lost: list[float] = []
    for _ in range(rounds):
        ours.append(text.lines / await _bulk_run(bench, text) / 1e6)
        seconds, lines = await _bulk_pod(bench, text)
        plain.append(lines / seconds / 1e6)
        lost.append(100 * (1 - lines / text.lines))
    rate = Sample.of(ours)
    what = f"{text.lines:,} lines, {text.size / 1e6:.0f} MB {kind}"
    speed = Sample.of(value * text.size / text.lines for value in ours)
    return [
        at_least_times(what, "M lines/s", rate, ("kubectl logs -f", Sample.of(plain)), least),
        figure("  the same", "MB/s", speed),
        figure("  lines that `kubectl logs -f` lost", "%", Sample.of(lost)),
    ]


async def _bulk_run(bench: _Bench, text: Text) -> float:
    command = f"cat > /tmp/text; for i in $(seq {text.times}); do cat /tmp/text; done"
    stream = bench.place.directory / "stream"
    body = request(command, stdin=text.content.decode())
    seconds = await asyncio.to_thread(bulk, bench.service.url, body, stream)
    await asyncio.to_thread(check_stream, stream, text)
    stream.unlink()
    await pods.until_gone(bench.api)
    return seconds


async def _bulk_pod(bench: _Bench, text: Text) -> tuple[float, int]:
    """Seconds, and lines that arrived."""
    name, labels = "printing", {pods.LABEL: ""}
    data = {"text": text.content.decode()}
    await bench.api.create(pods.SECRETS, {"metadata": {"name": name, "labels": labels}, "stringData": data})
    await bench.api.create(pods.PODS, pods.printing_pod(name, text.times, bench.template))
    await pods.until_running(bench.api, name)
    file = bench.place.directory / "log"
    start = time.perf_counter()
    with file.open("wb") as log:
        logs = [*bench.place.here, "logs", "-f", name]
        await asyncio.to_thread(subprocess.run, logs, stdout=log, check=True)
    seconds = time.perf_counter() - start
    with file.open("rb") as log:
        lines = sum(1 for _ in log)
    file.unlink()
    await pods.remove_all(bench.api)
    return seconds, lines


async def _short(bench: _Bench, command: str) -> Answer:
    """A run on a node that has nothing else to do, before it or after it."""
    answer = await _run(bench, command)
    await pods.until_gone(bench.api)
    return answer


async def _run(bench: _Bench, command: str) -> Answer:
    return await asyncio.to_thread(short, bench.service.url, request(command))


def _text(kubectl: tuple[str, ...], lines: int) -> Text:
    """Real YAML, as often as it takes for that many lines of 25 bytes each."""
    get = [*kubectl, "get", _KINDS, "--all-namespaces", "--output=yaml", "--show-managed-fields"]
    content = subprocess.run(get, capture_output=True, check=True).stdout[:_LONGEST_TEXT]
    content = content[: content.rindex(b"\n") + 1]
    repeats = max(lines / content.count(b"\n"), lines * _BYTES_PER_LINE / len(content))
    return Text(content, math.ceil(repeats))


def _incompressible(lines: int) -> Text:
    return incompressible(_LONGEST_TEXT, math.ceil(lines * _BYTES_PER_LINE / _LONGEST_TEXT))


def _ms(seconds: Iterator[float] | list[float]) -> Sample:
    return Sample.of(value * 1000 for value in seconds)
