"""Fixtures for the tests on a real cluster: a namespace of their own, the runner image, and services that run there
with exactly the rights of the Role in images/runner/namespace.yaml. Where tests run side by side, each worker has a
namespace and services of its own.
"""

import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests import testcluster
from tests.e2e.api_proxy import ApiProxy, api_proxy
from tests.e2e.place import Place, created
from tests.e2e.warm import WAITING
from tests.support.client import Client
from tests.support.left_out import leave_out
from tests.support.prepared import Prepared
from tests.support.service import Service, StartService, ended_together, services

if os.environ.get("K8S_MCP_TEST_CLUSTER") != "kind":
    collect_ignore = ["test_network.py"]  # needs a network that enforces policies

_ROOT = Path(__file__).parents[2]
_NOT_POSSIBLE = 3


@pytest.fixture(scope="session")
def place(namespaces: Place) -> Place:
    """Where this test run happens."""
    return namespaces


@pytest.fixture(scope="session")
def namespaces(cluster: testcluster.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The same by the name that other fixtures use: tests have parameters that are called `place`."""
    namespace = f"k8s-mcp-e2e-{secrets.token_hex(3)}"
    environment = {**os.environ, "K8S_MCP_NAMESPACE": namespace}
    built = subprocess.run(
        [_ROOT / "images" / "build", "runner"], env=environment, capture_output=True, text=True, check=False
    )
    if built.returncode == _NOT_POSSIBLE:
        leave_out(f"no runner image here: {built.stderr[-500:]}")
    assert built.returncode == 0, built.stderr
    with created(cluster, namespace, tmp_path_factory.mktemp("place")) as place:
        yield place


@pytest.fixture(scope="session")
def settings(namespaces: Place) -> dict[str, object]:
    """What every service here is started with."""
    return {
        "executor": "kubernetes",
        "namespace": namespaces.namespace,
        "kubeconfig": namespaces.kubeconfig(),
        "grace_period": 2,
        "runner_cpu_request": "10m",
        "start_timeout": 180,  # two workers start 70 pods at once, which takes two processors over a minute
        "log_level": "debug",
        "warm_pods": 0,  # most tests look at a run's own pod from its beginning; test_warm.py is for the others
    }


@pytest.fixture(scope="module")
def proxy(place: Place) -> Iterator[ApiProxy]:
    """Between a service and the API server, where a test wants to count calls or spoil them."""
    with api_proxy(place) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def serve_shared(
    settings: dict[str, object],
    tmp_path_factory: pytest.TempPathFactory,
    tools: Path,
    prepared: Prepared,
    namespaces: Place,
) -> Iterator[StartService]:
    """Starts services with the Kubernetes executor for all tests of a module; each must end well. What those that
    were killed have left is for other replicas to find, and not for the tests of another module.
    """
    started: list[Service] = []
    with services(tmp_path_factory.mktemp("kubernetes"), tools, how=prepared) as start:

        def start_with(**changed: object) -> Service:
            started.append(start(**{**settings, **changed}))
            return started[-1]

        yield start_with
    if any(service.was_killed for service in started):
        namespaces.clear()


@pytest.fixture
def serve_kubernetes(serve_shared: StartService) -> Iterator[StartService]:
    """Starts services as `serve_shared`, for one test: each would go on hearing of every pod of the tests behind it,
    and take up what those have left.
    """
    with ended_together(serve_shared) as start:
        yield start


@pytest.fixture
def serve_warm(serve_shared: StartService, place: Place) -> Iterator[StartService]:
    """Services that keep pods warm, for one test: none of another test keeps them beside it, or leaves any."""
    with ended_together(serve_shared) as start:

        def start_warm(**settings: object) -> Service:
            return start(**{"warm_pods": 1, **settings})

        yield start_warm
    place.kubectl("delete", "jobs", f"--namespace={place.namespace}", f"--selector={WAITING}")


@pytest.fixture(scope="module")
def kubernetes_server(serve_shared: StartService) -> Service:
    """A service with the Kubernetes executor, shared by the tests of a module."""
    return serve_shared()


@pytest.fixture
async def client(kubernetes_server: Service, kubeconfig: str) -> AsyncIterator[Client]:
    """A client of `kubernetes_server`; its commands administer the cluster."""
    async with Client(kubernetes_server.url, kubeconfig) as client:
        yield client


@pytest.fixture
def client_of(kubeconfig: str) -> Callable[[Service], Client]:
    """A client of another service."""
    return lambda service: Client(service.url, kubeconfig)
