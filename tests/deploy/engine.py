"""A Docker engine with Compose: the machine's own, or a private one beside the test cluster.

A private one has its data, sockets and network to itself. It runs in the namespaces of the built test cluster, so
that containers reach its API servers, and nothing of it is left on the machine when it has ended.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from images.builder import packages
from images.builder.commands import succeeds
from images.builder.daemon import running
from images.builder.errors import NotPossibleError
from tests import testcluster
from tests.support.go_tools import compiled
from tests.testcluster.layout import Addresses
from tests.testcluster.namespaces import inside

_PLUGIN = Path(__file__).parents[1] / "tools" / "compose"
_VERSION = "v5.6.0"


@dataclass(frozen=True)
class Engine:
    """`enter` is put before commands that talk to published ports; `data` is the directory of a private engine."""

    environment: Mapping[str, str]
    client: str = "docker"
    enter: tuple[str, ...] = ()
    data: Path | None = None

    def __call__(self, *arguments: str, directory: Path | None = None) -> str:
        """What docker prints, both streams; an AssertionError with it when it fails."""
        done = subprocess.run(
            [self.client, *arguments],
            cwd=directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stdout}"
        return done.stdout


@contextmanager
def available(cluster: testcluster.Cluster, directory: Path) -> Generator[Engine]:
    """The engine that docker's own settings name, if it answers, else a private one. Raises NotPossibleError."""
    if shutil.which("docker") and succeeds("docker", "version"):
        if not succeeds("docker", "compose", "version"):
            raise NotPossibleError("docker has no Compose plugin (docker compose version)")
        yield Engine(dict(os.environ))
        return
    if os.geteuid() != 0:
        raise NotPossibleError("no Docker engine answers, and only root can start one")
    if cluster.netns is None:
        raise NotPossibleError("no Docker engine answers, and a private one needs the test cluster that is built")
    daemon = packages.ensure("dockerd", "runs compose.yaml", "docker.io")
    with _private(daemon, cluster.netns, directory) as engine:
        yield engine


@contextmanager
def _private(program: Path, network: Path, directory: Path) -> Generator[Engine]:
    own = directory / "engine"
    own.mkdir()
    socket = Path("/run") / f"k8s-mcp-compose-{os.getpid()}.sock"  # the path of a socket has to be short
    pool = {"base": f"{Addresses.from_environment().prefix}.64.0/20", "size": 24}
    configuration = {"bridge": "none", "iptables": False, "ip6tables": False, "default-address-pools": [pool]}
    (own / "daemon.json").write_text(json.dumps(configuration))
    options = {
        "config-file": own / "daemon.json",
        "data-root": own / "data",
        "exec-root": own / "exec",
        "pidfile": own / "pid",
        "host": f"unix://{socket}",
        "cgroup-parent": f"/k8s-mcp-compose-{os.getpid()}",
    }
    plugins = own / "client" / "cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-compose").symlink_to(_plugin())
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "K8S_MCP_"))}
    environment = {**kept, "DOCKER_HOST": f"unix://{socket}", "DOCKER_CONFIG": str(plugins.parent)}
    client = str(program.resolve().parent.parent / "bin" / "docker")
    command = inside(str(program), *(f"--{key}={value}" for key, value in options.items()))
    try:
        with running(command, own):
            yield Engine(environment, client, ("nsenter", f"--net={network}"), own / "data")
    finally:
        socket.unlink(missing_ok=True)
        _remove_cgroups(str(options["cgroup-parent"]))


def _plugin() -> Path:
    """Raises NotPossibleError where there is no Go."""
    return compiled(_PLUGIN, stamp=f"github.com/docker/compose/v5/internal.Version={_VERSION}") / "cmd"


def _remove_cgroups(parent: str) -> None:
    """The engine leaves the empty parent of its containers' groups in every hierarchy."""
    for group in Path("/sys/fs/cgroup").glob(f"*{parent}"):
        group.rmdir()
    unified = Path(f"/sys/fs/cgroup{parent}")
    if unified.exists():
        unified.rmdir()
