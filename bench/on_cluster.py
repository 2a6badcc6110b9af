"""The test cluster for the parts that need one, and services on it."""

import os
import subprocess
from collections.abc import Generator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench import pods
from k8s_mcp.cluster.client import Api
from k8s_mcp.cluster.connect import connect
from tests import testcluster
from tests.support.service import Service

_NAMESPACE = "k8s-mcp-bench"
_OF_RUNS = {"labelSelector": "k8s-mcp-server/run"}


class OnCluster:
    """`kubeconfig` and `kubectl` are the administrator's."""

    def __init__(self, cluster: testcluster.Cluster, directory: Path, stack: ExitStack) -> None:
        self.cluster = cluster
        self.directory = directory
        self.kubeconfig = cluster.kubeconfig.read_text()
        self.kubectl = (str(cluster.kubectl), f"--kubeconfig={cluster.kubeconfig}")
        self.here = (*self.kubectl, f"--namespace={_NAMESPACE}")
        self._stack = stack

    def serve(self, name: str = "service", **settings: Any) -> Service:
        """A service whose runs are in our namespace. It stops when all is over."""
        home = self.directory / name
        home.mkdir()
        where = {"executor": "kubernetes", "kubeconfig": self.cluster.kubeconfig, "namespace": _NAMESPACE}
        service = Service(home, os.environ["PATH"], where | settings)
        self._stack.callback(service.stop)
        return service

    def api(self) -> AbstractAsyncContextManager[Api]:
        """For what is done in our namespace without a service."""
        return connect(str(self.cluster.kubeconfig), "", _NAMESPACE)

    async def until_gone(self) -> None:
        """Until nothing of any run is left."""
        async with self.api() as api:
            await pods.until_gone(api, _OF_RUNS)


@contextmanager
def on_cluster(directory: Path) -> Generator[OnCluster]:
    """With the runner image of this tree, and a namespace of our own. Raises testcluster.NotPossibleError."""
    cluster = testcluster.ensure()
    environment = {**os.environ, "K8S_MCP_NAMESPACE": _NAMESPACE}
    subprocess.run(["images/build", "runner"], env=environment, check=True)
    with ExitStack() as stack:
        place = OnCluster(cluster, directory, stack)
        delete = [*place.kubectl, "delete", "namespace", _NAMESPACE]
        stack.callback(subprocess.run, delete, check=True, stdout=subprocess.DEVNULL)
        yield place


def metric(service: Service, name: str) -> float:
    """One of its numbers; 0 when it has none of that name and those labels."""
    return service.metric(name) or 0.0
