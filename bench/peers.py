"""Other MCP servers for Kubernetes, as they are published: fetched once into the cache, started on a free port.

Nothing but the bench uses them, and nothing of them is in this project.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from images.builder.cache import Cache, key_of
from tests import testcluster
from tests.mcp.node_packages import NODE, NPM

_START_SECONDS = 60.0


class NotFetchedError(Exception):
    """A peer cannot be had here; the message says why."""


@dataclass(frozen=True, eq=False)
class Peer:
    """`tool` with `arguments` lists all namespaces. `command` starts it, given its files and a port."""

    name: str
    version: str
    tool: str
    arguments: Mapping[str, str]
    fetch: Callable[[Path], None]
    command: Callable[[Path, int], list[str]]
    environment: Callable[[int], dict[str, str]]

    def files(self) -> Path:
        """Where its files are, fetched now if need be. Raises NotFetchedError."""
        cache = Cache(Cache.from_environment().root.parent / "peers")
        return cache.entry(self.name.replace("/", "-"), key_of(self.version), self.fetch)


def _npm_install(directory: Path) -> None:
    package = f"{_NPM_NAME}@{_NPM_VERSION}"
    install = [NODE, NPM, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", directory, package]
    directory.mkdir()
    _run(install, "npm")


def _go_build(directory: Path) -> None:
    """As the module's own go.mod and go.sum say; the first time this takes minutes."""
    go = shutil.which("go")
    if go is None:
        raise NotFetchedError("Go is not installed")
    module = f"{_GO_MODULE}@{_GO_VERSION}"
    _run([go, "mod", "download", module], "go")
    source = Path(_run([go, "env", "GOMODCACHE"], "go").strip()) / module
    build = [go, "build", "-C", source, "-trimpath", "-ldflags=-s -w", "-o", directory / "server"]
    _run([*build, "./cmd/kubernetes-mcp-server"], "go", {"CGO_ENABLED": "0"})


def _run(command: list[str | Path], what: str, environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        command, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotFetchedError(f"{what}: {done.stderr.strip()[-500:]}")
    return done.stdout


_NPM_NAME, _NPM_VERSION = "mcp-server-kubernetes", "4.1.7"
_GO_MODULE, _GO_VERSION = "github.com/containers/kubernetes-mcp-server", "v0.0.65"

PEERS = (
    Peer(
        name=_NPM_NAME,
        version=_NPM_VERSION,
        tool="kubectl_get",
        arguments={"resourceType": "namespaces", "output": "wide"},
        fetch=_npm_install,
        command=lambda files, _: [str(NODE), str(files / "node_modules" / _NPM_NAME / "dist" / "index.js")],
        environment=lambda port: {"ENABLE_UNSAFE_STREAMABLE_HTTP_TRANSPORT": "1", "PORT": str(port)},
    ),
    Peer(
        name=_GO_MODULE.partition("/")[2],
        version=_GO_VERSION,
        tool="namespaces_list",
        arguments={},
        fetch=_go_build,
        command=lambda files, port: [str(files / "server"), f"--port={port}", "--bind-address=127.0.0.1"],
        environment=lambda _: {},
    ),
)


@contextmanager
def running(peer: Peer, cluster: testcluster.Cluster, directory: Path) -> Generator[str]:
    """Its address for Streamable HTTP, on the cluster, while the context lasts. Raises NotFetchedError."""
    files = peer.files()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PATH": f"{cluster.kubectl.parent}{os.pathsep}{os.environ['PATH']}",
        "KUBECONFIG": str(cluster.kubeconfig),
        **peer.environment(port),
    }
    with (directory / f"{peer.version}.log").open("wb") as log:
        process = subprocess.Popen(
            peer.command(files, port), env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        url = f"http://127.0.0.1:{port}/mcp"
        _until_answering(url, process)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_answering(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            httpx.post(url, json={}, trust_env=False, timeout=5)
        except httpx.TransportError:
            if process.poll() is not None:
                raise NotFetchedError(f"it ended with exit code {process.returncode}") from None
            time.sleep(0.05)
        else:
            return
    raise NotFetchedError(f"no answer at {url} within {_START_SECONDS:g} s")
