"""The credential proxy of a runner pod beside kubectl proxy, and beside no proxy at all."""

import base64
import json
import os
import ssl
import subprocess
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import yaml

from bench.figures import Row, Sample, at_least_times, at_most, at_most_times, later, median_at_most
from images.builder import gate
from images.builder.cache import Cache
from tests import testcluster
from tests.gate.gates import Gate, started, write_files

_CONTEXTS = 8
_MIB = 1 << 20
_NAMESPACE = "k8s-mcp-bench-gate"
_PATH = f"/api/v1/namespaces/{_NAMESPACE}/configmaps"
_MAPS, _MAP_BYTES = 30, 700 * 1024  # an object has at most 1 MiB
_LISTINGS = 30  # in each round: one takes milliseconds
_SMALL = "/api/v1/nodes"
_CURL = ("curl", "--silent", "--show-error", "--fail")
_PROXY_IS_UP = b"Starting to serve"

_Ask = Callable[[str], bytes]


def measure(directory: Path, rounds: int, total: int = 1 << 30) -> Iterator[Row]:
    """The rows of this part. `total` bytes are read each way; raises testcluster.NotPossibleError."""
    cluster = testcluster.ensure()
    program = gate.ensure(Cache.from_environment(), Path(__file__).parents[1]) / "gate"
    content = _with_contexts(yaml.safe_load(cluster.kubeconfig.read_text()))
    yield from _start(program, cluster, directory, content, rounds)
    files = _Files(cluster, directory)
    with started(program, _made(directory / "asked"), content) as running, _connected(files) as straight:
        yield from _listings(running, straight, cluster, rounds)
        yield _memory(running)
        with _filled(cluster):
            get = [str(cluster.kubectl), "get", "--raw", _PATH]
            gated, plain = ([*get, f"--kubeconfig={file}"] for file in (running.kubeconfig, cluster.kubeconfig))
            yield _bulk("kubectl get --raw", gated, plain, rounds, total)
            # Over plain HTTP kubectl has no way to ask for what is not packed: client-go passes over the option.
            gated, plain = [*_CURL, f"{running.server}{_PATH}"], [*_CURL, *files.options, f"{files.server}{_PATH}"]
            yield _bulk("curl, not packed", gated, plain, rounds, total)


def _start(program: Path, cluster: testcluster.Cluster, directory: Path, content: str, rounds: int) -> Iterator[Row]:
    """From a program to its word that it listens, which both print."""
    ours: list[float] = []
    kubectl: list[float] = []
    proxy = [cluster.kubectl, f"--kubeconfig={cluster.kubeconfig}", "proxy", "--port=0"]
    for number in range(5 * rounds):
        files = _made(directory / f"start-{number}")
        write_files(files, content)
        argv = [program, files / "gate.json", files / "kubeconfig"]
        ours.append(_until(argv, b'"event":"start"'))
        kubectl.append(_until(proxy, _PROXY_IS_UP))
    floor = ("kubectl proxy, one context", _ms(kubectl))
    yield median_at_most(f"listening after its start, {_CONTEXTS} contexts", "ms", _ms(ours), 20)
    yield at_most_times("  the same", "ms", _ms(ours), floor, 1)


def _until(argv: list[Any], word: bytes) -> float:
    start = time.perf_counter()
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - start
        process.terminate()
    assert word in line, line
    return seconds


def _listings(running: Gate, straight: _Ask, cluster: testcluster.Cluster, rounds: int) -> Iterator[Row]:
    """By turns: over a connection that is kept, and as kubectl, which begins with a new one."""
    with running.asking() as through:
        pairs = [_pair(lambda: straight(_SMALL), lambda: through("GET", _SMALL)) for _ in range(_LISTINGS * rounds)]
    yield later("a listing, over a kept connection", "ms", *_beside(pairs, "straight"), 3)
    get = [str(cluster.kubectl), "get", "nodes"]
    gated, plain = ([*get, f"--kubeconfig={file}"] for file in (running.kubeconfig, cluster.kubeconfig))
    pairs = [_pair(lambda: _run(plain), lambda: _run(gated)) for _ in range(_LISTINGS * rounds)]
    yield later("kubectl get nodes", "ms", *_beside(pairs, "straight"), 3)


def _memory(running: Gate) -> Row:
    """All contexts have been asked for something long."""
    for context in running.contexts:
        connection = HTTPConnection("127.0.0.1", context["port"])
        connection.request("GET", "/openapi/v2")
        connection.getresponse().read()
        connection.close()
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    [resident] = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
    return at_most(f"memory, {_CONTEXTS} contexts that were used", "MiB", Sample.of([int(resident) / 1024]), 20)


def _bulk(what: str, gated: list[str], plain: list[str], rounds: int, total: int) -> Row:
    """By turns, in pieces of a listing each."""
    pieces = max(1, total // rounds // (_MAPS * _MAP_BYTES))
    speeds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        pairs = [_pair(lambda: _run(plain), lambda: _run(gated)) for _ in range(pieces)]
        for speed, seconds in zip(speeds, zip(*pairs, strict=True), strict=True):
            speed.append(pieces * _MAPS * _MAP_BYTES / _MIB / sum(seconds))
    straight, through = map(Sample.of, speeds)
    size = rounds * pieces * _MAPS * _MAP_BYTES
    return at_least_times(f"{size / 2**30:.2g} GiB of JSON: {what}", "MiB/s", through, ("straight", straight), 0.9)


@contextmanager
def _filled(cluster: testcluster.Cluster) -> Generator[None]:
    """A namespace whose ConfigMaps are a long listing."""
    kubectl = [str(cluster.kubectl), f"--kubeconfig={cluster.kubeconfig}"]
    _run([*kubectl, "create", "namespace", _NAMESPACE])
    try:
        text = base64.b64encode(os.urandom(_MAP_BYTES * 3 // 4)).decode()
        for number in range(_MAPS):
            made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"m-{number}"}, "data": {"a": text}}
            create = [*kubectl, "create", f"--namespace={_NAMESPACE}", "--filename=-"]
            subprocess.run(create, input=json.dumps(made), text=True, check=True, stdout=subprocess.DEVNULL)
        yield
    finally:
        _run([*kubectl, "delete", "namespace", _NAMESPACE])


class _Files:
    """The administrator's credential as files, for `server`; `options` are curl's for it."""

    def __init__(self, cluster: testcluster.Cluster, directory: Path) -> None:
        given = yaml.safe_load(cluster.kubeconfig.read_text())
        there, user = given["clusters"][0]["cluster"], given["users"][0]["user"]
        self.server = str(there["server"])
        self.authority, self.certificate, self.key = (
            directory / name for name in ("authority", "certificate", "key")
        )
        self.authority.write_bytes(base64.b64decode(there["certificate-authority-data"]))
        self.certificate.write_bytes(base64.b64decode(user["client-certificate-data"]))
        self.key.write_bytes(base64.b64decode(user["client-key-data"]))
        self.options = ["--cacert", str(self.authority), "--cert", str(self.certificate), "--key", str(self.key)]


@contextmanager
def _connected(files: _Files) -> Generator[_Ask]:
    """Asks the API server itself, over one connection."""
    context = ssl.create_default_context(cafile=files.authority)
    context.load_cert_chain(files.certificate, files.key)
    connection = HTTPSConnection(files.server.removeprefix("https://"), context=context)

    def ask(path: str) -> bytes:
        connection.request("GET", path)
        return connection.getresponse().read()

    try:
        yield ask
    finally:
        connection.close()


def _with_contexts(given: dict[str, Any]) -> str:
    [one] = given["contexts"]
    names = [f"{one['name']}-{number}" for number in range(_CONTEXTS)]
    contexts = [{**one, "name": name} for name in names]
    return yaml.safe_dump({**given, "contexts": contexts, "current-context": names[0]})


def _pair(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    return _seconds(first), _seconds(second)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _beside(pairs: list[tuple[float, float]], name: str) -> tuple[Sample, tuple[str, Sample]]:
    straight, through = zip(*pairs, strict=True)
    return _ms(through), (name, _ms(straight))


def _run(argv: list[str]) -> None:
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def _ms(seconds: Any) -> Sample:
    return Sample.of(value * 1000 for value in seconds)
