"""What a runner pod reaches on a network that enforces policies. Collected only with K8S_MCP_TEST_CLUSTER=kind, as in
the workflow: the network of the built cluster enforces nothing (there, tests/cluster/test_network_policy.py).
"""

import json

import anyio
import pytest

from tests.e2e.place import IMAGE, Place
from tests.support.client import Client

pytestmark = pytest.mark.cluster

_KUBELET = 10250


@pytest.fixture
def node(place: Place) -> str:
    """The address of a node, whose kubelet listens for everybody who gets that far."""
    nodes = json.loads(place.kubectl("get", "nodes", "--output=json"))["items"]
    addresses = nodes[0]["status"]["addresses"]
    return next(address["address"] for address in addresses if address["type"] == "InternalIP")


def connecting(host: str, port: int) -> str:
    return f"timeout 5 bash -c '</dev/tcp/{host}/{port}' 2>/dev/null && echo open || echo closed"


async def test_a_command_reaches_the_api_server_and_not_the_kubelet(client: Client, node: str) -> None:
    seen = await client.run(f"kubectl get --raw=/readyz; echo; {connecting(node, _KUBELET)}")
    assert seen.stdout == ["ok", "closed"]


async def test_a_pod_elsewhere_reaches_the_kubelet(place: Place, node: str) -> None:
    """So it is the policy that keeps runner pods from it."""
    where, name = f"--namespace={place.target}", "curious"
    command = ("sh", "-c", f"nc -w 5 -z {node} {_KUBELET} && echo open || echo closed")
    place.kubectl("run", name, where, f"--image={IMAGE}", "--restart=Never", "--", *command)
    with anyio.fail_after(60):
        await place.akubectl(
            "wait", where, "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=30s"
        )
    assert place.kubectl("logs", where, name) == "open\n"
