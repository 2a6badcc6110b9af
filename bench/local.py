"""The local executor against the bare command: what the way through the service costs."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from bench.client import Request, bulk, kubeconfig, request, short
from bench.figures import Row, Sample, at_least_times, at_most, figure, later, times
from bench.memory import PeakOfRunner
from bench.text import Text, check_stream, log_text
from tests import testcluster
from tests.support.service import Service

_SHORT_ROUNDS = 10  # a short command takes milliseconds: ten in each round
_KIB, _MIB = 1 << 10, 1 << 20


def measure(directory: Path, rounds: int, lines: int) -> Iterator[Row]:
    """The rows of this part, as they are ready. `directory` is empty, for files that are needed meanwhile."""
    service = Service(_made(directory / "service"), os.environ["PATH"], {})
    try:
        yield from _start(service, rounds * _SHORT_ROUNDS)
        yield from _whole_commands(service, rounds * _SHORT_ROUNDS)
        yield _end(service, rounds * _SHORT_ROUNDS)
        yield from _bulk(service, directory, rounds, log_text(lines))
    finally:
        service.stop()


def _start(service: Service, rounds: int) -> Iterator[Row]:
    command = "echo ready; sleep 0.05"
    plain, ours = _interleaved(service, request(command), rounds)
    yield later("first line of output", "ms", _ms(ours, 0), ("bash -c", _ms(plain, 0)), 30)


def _whole_commands(service: Service, rounds: int) -> Iterator[Row]:
    plain, ours = _interleaved(service, request("echo ready"), rounds)
    yield later("`echo`, to its end", "ms", _ms(ours, 1), ("bash -c", _ms(plain, 1)))
    cluster = testcluster.current()
    if cluster is None:
        return
    command = f"{cluster.kubectl} get namespaces -o wide"
    plain, ours = _interleaved(service, {"command": command, "kubeconfig": cluster.kubeconfig.read_text()}, rounds)
    yield later("`kubectl get namespaces`, to its end", "ms", _ms(ours, 1), ("bash -c", _ms(plain, 1)))


def _end(service: Service, rounds: int) -> Row:
    """The command says itself when it ends."""
    answers = [short(service.url, request("date +%s.%N")) for _ in range(rounds)]
    late = Sample.of((answer.ended_at - float(answer.lines[-1])) * 1000 for answer in answers)
    return figure("final event after the command's end", "ms", late)


def _bulk(service: Service, directory: Path, rounds: int, text: Text) -> Iterator[Row]:
    """Millions of lines. Each round has all the rivals one after the other."""
    file = directory / "text"
    file.write_bytes(text.content)
    run = request(f"cat {quote(str(file))}")
    stream = directory / "stream"
    bulk(service.url, run, stream)
    check_stream(stream, text)

    credentials = directory / "kubeconfig"
    credentials.write_text(kubeconfig())
    sed = f"sed 's/^/data: /' {quote(str(file))} > /dev/null"
    piped = f"cat {quote(str(file))} | sed 's/^/data: /' | cat > /dev/null"
    exec_ = (
        f"{sys.executable} -m k8s_mcp exec --url {service.url} --kubeconfig {credentials} -- cat {quote(str(file))}"
        " > /dev/null"
    )
    seconds: dict[str, list[float]] = {name: [] for name in ("sed", "piped", "curl", "exec")}
    with PeakOfRunner(service.pid) as runner:
        for _ in range(rounds):
            seconds["sed"].append(_shell(sed))
            seconds["curl"].append(bulk(service.url, run, Path("/dev/null")))
            seconds["piped"].append(_shell(piped))
            seconds["exec"].append(_shell(exec_))
    rate = {name: Sample.of(text.lines / value / 1e6 for value in values) for name, values in seconds.items()}
    speed = {name: Sample.of(text.size / value / 1e6 for value in values) for name, values in seconds.items()}
    what = f"{text.lines:,} lines, {text.size / 1e6:.0f} MB"
    yield at_least_times(f"{what}: curl -N", "M lines/s", rate["curl"], ("sed", rate["sed"]), 0.25)
    yield times("  the same", "MB/s", speed["curl"], ("sed", speed["sed"]))
    yield times("  the same", "M lines/s", rate["curl"], ("cat | sed | cat", rate["piped"]))
    yield times("  k8s-mcp exec", "M lines/s", rate["exec"], ("cat | sed | cat", rate["piped"]))
    yield at_most("peak memory of the service", "MiB", Sample.of([service.peak_memory() / _MIB]), 200)
    yield figure("peak memory of a runner", "MiB", Sample.of([runner.peak / _MIB]))


def _interleaved(
    service: Service, run: Request, rounds: int
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """(first line, end) of the bare command and of the same through the service, by turns."""
    plain: list[tuple[float, float]] = []
    ours: list[tuple[float, float]] = []
    environment = {**os.environ, "KUBECONFIG": str(_kubeconfig_of(run, service))}
    for _ in range(rounds):
        plain.append(_plain(str(run["command"]), environment))
        answer = short(service.url, run)
        ours.append((answer.first_line, answer.end))
    return plain, ours


def _kubeconfig_of(run: Request, service: Service) -> Path:
    file = service.log.with_name("kubeconfig")
    file.write_text(str(run["kubeconfig"]))
    return file


def _plain(command: str, environment: dict[str, str]) -> tuple[float, float]:
    start = time.perf_counter()
    with subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout
        process.stdout.readline()
        first_line = time.perf_counter() - start
        process.stdout.read()
    if process.returncode:
        raise ValueError(f"{command}: exit code {process.returncode}")
    return first_line, time.perf_counter() - start


def _shell(line: str) -> float:
    start = time.perf_counter()
    subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], check=True)
    return time.perf_counter() - start


def _ms(pairs: list[tuple[float, float]], part: int) -> Sample:
    return Sample.of(pair[part] * 1000 for pair in pairs)


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory
