"""Parts of the cluster stop and come back in the middle of a run. Nothing else may need it meanwhile."""

import asyncio
import signal
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import anyio
import pytest
from anyio.to_thread import run_sync

from tests import testcluster
from tests.e2e.place import IMAGE, Place
from tests.support.client import Client
from tests.support.events import Stream, Transcript
from tests.support.left_out import leave_out
from tests.support.service import Service, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.alone]

DONE = {"status": "done", "exit_code": 0}
_COMPONENTS = ("etcd", "apiserver", "controller-manager", "scheduler", "containerd", "kubelet")
_labels = count()


@pytest.fixture(autouse=True)
def everything_runs_again(
    request: pytest.FixtureRequest, cluster: testcluster.Cluster, place: Place
) -> Iterator[None]:
    """At the end of the test. Controllers that lost the API server come back to work only by and by."""
    if not cluster.can_restart:
        leave_out(f"no part of a {cluster.kind} cluster can be stopped")
    yield
    for name in _COMPONENTS:
        testcluster.start(name)
    if "apiserver" not in str(request.node.callspec.params if hasattr(request.node, "callspec") else ""):
        return
    probe = f"probe-{next(_labels)}"
    where = f"--namespace={place.target}"
    place.kubectl("create", "job", probe, where, f"--image={IMAGE}", "--", "true")
    wait_for(lambda: place.kubectl("get", f"job/{probe}", where, "--output=jsonpath={.status.succeeded}"), 120)


@pytest.fixture
def label() -> str:
    """Names the runs of this test."""
    return f"restart-{next(_labels)}"


@pytest.fixture
async def client(kubernetes_server: Service, kubeconfig: str) -> AsyncGenerator[Client]:
    async with Client(kubernetes_server.url, kubeconfig) as client:
        await run_sync(wait_for, lambda: kubernetes_server.get("/readyz").status_code == 200)
        yield client


@asynccontextmanager
async def talking(client: Client, place: Place, label: str) -> AsyncGenerator[Stream]:
    """A run that has begun to count, and counts until `finish`."""
    script = f"""
        {place.counted(label)}
        for ((i = 1; ; i += 500)); do
            seq $i $((i + 499))
            ((i % 2000 == 1)) && kubectl get --namespace={place.target} configmap/{label} >/dev/null 2>&1 && break
            sleep 0.1
        done
    """
    async with client.stream(script) as stream:
        await stream.first("stdout")
        yield stream


async def finish(place: Place, label: str) -> None:
    with anyio.fail_after(60):
        while True:
            try:
                await place.akubectl("create", "configmap", label, f"--namespace={place.target}")
            except AssertionError:
                await anyio.sleep(0.2)
            else:
                return


def since_its_start(seen: Transcript) -> list[dict[str, Any]]:
    """That the pod could not start at once may have been said before: for a while after an API server was killed the
    kubelet can take more than a second to read a Secret, and says so in an event (FailedMount).
    """
    return [control for control in seen.controls[1:] if control["status"] != "pending"]


async def assert_whole(seen: Transcript, place: Place, label: str) -> None:
    """All it counted, every number once, and the command ran once."""
    assert seen.stdout == list(map(str, range(1, len(seen.stdout) + 1)))
    assert len(seen.stdout) % 500 == 0
    assert seen.stderr == []
    assert since_its_start(seen) == [DONE]
    assert await place.times_run(label) == 1
    await place.nothing_left(seen.run_id, 60)


@pytest.mark.parametrize(
    ("component", "how"),
    [
        pytest.param("apiserver", signal.SIGKILL, id="API server killed"),
        pytest.param("kubelet", signal.SIGTERM, id="kubelet stopped"),
        pytest.param("kubelet", signal.SIGKILL, id="kubelet killed"),
        pytest.param("containerd", signal.SIGKILL, id="containerd killed"),
    ],
)
async def test_restarted_while_a_command_runs(
    client: Client, place: Place, label: str, component: str, how: signal.Signals
) -> None:
    async with talking(client, place, label) as stream:
        restarting = asyncio.create_task(restart(component, how, place, label))
        seen = await stream.to_end()
        await restarting
    await assert_whole(seen, place, label)


async def restart(component: str, how: signal.Signals, place: Place, label: str) -> None:
    await run_sync(testcluster.restart, component, how)
    await finish(place, label)


@pytest.mark.parametrize("component", ["apiserver", "kubelet"])
async def test_command_ends_while_it_is_down(client: Client, place: Place, label: str, component: str) -> None:
    seen = await run_and_stop(client, place, label, component)
    assert seen.stdout == ["go", *map(str, range(1, 1001))]
    assert since_its_start(seen) == [{"status": "done", "exit_code": 3}]
    await place.nothing_left(seen.run_id, 60)


async def test_command_ends_while_no_container_runtime_reads_its_output(
    client: Client, place: Place, label: str
) -> None:
    """What it wrote then is nowhere any more. How much that was, and how it ended, the runner has noted elsewhere."""
    seen = await run_and_stop(client, place, label, "containerd")
    output = len(seen.stdout) - 1
    assert seen.stdout == ["go", *map(str, range(1, output + 1))]
    missing = [event["missing"] for event in seen.controls if event["status"] == "gap"]
    assert output + sum(missing) == 1000
    assert seen.final == {"status": "done", "exit_code": 3}
    await place.nothing_left(seen.run_id, 60)


async def run_and_stop(client: Client, place: Place, label: str, component: str) -> Transcript:
    """A run that ends while the component is stopped."""
    script = f"{place.counted(label)}; echo go; sleep 1.5; seq 1000; exit 3"
    async with client.stream(script) as stream:
        await stream.first("stdout")
        await run_sync(testcluster.stop, component)
        await anyio.sleep(3)  # the command ends meanwhile
        await run_sync(testcluster.start, component)
        seen = await stream.to_end()
    assert await place.times_run(label) == 1
    return seen


@pytest.mark.parametrize("component", ["controller-manager", "kubelet"])
async def test_started_while_it_is_down(client: Client, place: Place, label: str, component: str) -> None:
    await run_sync(testcluster.stop, component)
    async with client.stream(f"{place.counted(label)}; seq 1000") as stream:
        await stream.first("control")
        await anyio.sleep(2)
        await run_sync(testcluster.start, component)
        seen = await stream.to_end()
    assert seen.stdout == list(map(str, range(1, 1001)))
    assert seen.final == DONE
    assert await place.times_run(label) == 1
    await place.nothing_left(seen.run_id, 60)
