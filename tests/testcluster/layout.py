"""Where everything of the test cluster is: names, directories, addresses."""

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .errors import ClusterError

NAME = "k8s-mcp-testcluster"
NODE = "k8s-mcp-test"
HOST_LINK = "k8smcp0"  # the kernel allows 15 characters
DATA_DIR = Path("/var/lib") / NAME  # on a disk: images do not fit in every machine's /run


def run_dir() -> Path:
    """The fixed place of state, configuration and logs; the user's own when not root, where only kind works."""
    if os.geteuid() == 0:
        return Path("/run") / NAME
    parent = os.environ.get("XDG_RUNTIME_DIR")
    return Path(parent) / NAME if parent else Path(tempfile.gettempdir()) / f"{NAME}-{os.geteuid()}"


def cache_dir() -> Path:
    """Where built binaries outlive the cluster."""
    if explicit := os.environ.get("K8S_MCP_CACHE"):
        return Path(explicit) / "testcluster"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "k8s-mcp-server" / "testcluster"


@dataclass(frozen=True)
class Addresses:
    """The cluster's addresses, in a /16 that is its own. `prefix` is that network's first two numbers."""

    prefix: str = "10.251"

    @classmethod
    def from_environment(cls) -> "Addresses":
        prefix = os.environ.get("K8S_MCP_TEST_NETWORK", cls.prefix)
        if not re.fullmatch(r"\d{1,3}\.\d{1,3}", prefix):
            raise ClusterError(f"K8S_MCP_TEST_NETWORK is {prefix!r}; it must be two numbers such as {cls.prefix}")
        return cls(prefix)

    @property
    def host(self) -> str:
        """This machine, as pods see it."""
        return f"{self.prefix}.0.1"

    @property
    def node(self) -> str:
        """The node and the first API server."""
        return f"{self.prefix}.0.2"

    @property
    def second(self) -> str:
        """The second API server, in the same network namespace."""
        return f"{self.prefix}.0.3"

    @property
    def pods(self) -> str:
        return f"{self.prefix}.128.0/20"

    # Service addresses are seen only inside the namespace, so they may be the ones everybody knows.
    services: str = "10.96.0.0/16"
    kubernetes: str = "10.96.0.1"
    dns: str = "10.96.0.10"
    second_services: str = "10.97.0.0/16"
    second_kubernetes: str = "10.97.0.1"


@dataclass(frozen=True)
class Layout:
    """What the parts of the built cluster must agree on; the two `…_binaries` are the builds in use."""

    run: Path
    data: Path
    node_binaries: Path
    dns_binaries: Path
    addresses: Addresses

    @property
    def logs(self) -> Path:
        return self.run / "logs"

    @property
    def config(self) -> Path:
        return self.run / "config"

    @property
    def pids(self) -> Path:
        return self.run / "pids"

    @property
    def pki(self) -> Path:
        return self.run / "pki"

    @property
    def second_pki(self) -> Path:
        return self.run / "pki-second"

    @property
    def kubeconfig(self) -> Path:
        return self.run / "kubeconfig"

    @property
    def second_kubeconfig(self) -> Path:
        return self.run / "kubeconfig-second"

    @property
    def containerd_socket(self) -> Path:
        return self.run / "containerd.sock"

    @property
    def kubectl(self) -> Path:
        return self.node_binaries / "kubectl"

    @property
    def kubectl_cache(self) -> Path:
        """Not the user's own, in which it would leave what it learnt of this cluster."""
        return self.run / "kubectl-cache"

    @property
    def server(self) -> str:
        return f"https://{self.addresses.node}:6443"

    @property
    def second_server(self) -> str:
        return f"https://{self.addresses.second}:6443"
