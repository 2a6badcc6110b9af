"""Parts of the cluster stop and come back in the middle of a run. These tests come last: see conftest.py."""

import signal
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from itertools import count

import anyio
import pytest
from anyio.to_thread import run_sync

from tests import testcluster
from tests.e2e.place import IMAGE, Place
from tests.support.client import Client
from tests.support.events import Stream, Transcript
from tests.support.left_out import leave_out
from tests.support.service import Service, wait_for

pytestmark = pytest.mark.cluster

DONE = {"status": "done", "exit_code": 0}
_COMPONENTS = ("etcd", "apiserver", "controller-manager", "scheduler", "containerd", "kubelet")
_labels = count()


@pytest.fixture(autouse=True)
def everything_runs_again(cluster: testcluster.Cluster, place: Place) -> Iterator[None]:
    """At the end of the test, and takes part again: controllers that lost the API server come back only by and by."""
    if not cluster.can_restart:
        leave_out(f"no part of a {cluster.kind} cluster can be stopped")
    yield
    for name in _COMPONENTS:
        testcluster.start(name)
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
        with anyio.fail_after(60):
            while (await client.http.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - another process
                await anyio.sleep(0.1)
        yield client


@asynccontextmanager
async def talking(client: Client, place: Place, label: str) -> AsyncGenerator[Stream]:
    """A run that has begun to count, and counts until `finish`."""
    script = f"""
        {place.counted(label)}
        for ((i = 1; ; i += 500)); do
            seq $i $((i + 499))
            if ((i % 2000 == 1)) && kubectl get --namespace={place.target} configmap/{label} >/dev/null 2>&1; then break; fi
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


async def assert_whole(seen: Transcript, place: Place, label: str) -> None:
    """All it counted, every number once, and the command ran once."""
    assert seen.stdout == list(map(str, range(1, len(seen.stdout) + 1)))
    assert len(seen.stdout) % 500 == 0
    assert seen.stderr == []
    assert seen.controls[1:] == [DONE]
    assert await place.times_run(label) == 1
    await place.nothing_left(seen.run_id, 60)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
@pytest.mark.parametrize("component", ["apiserver", "kubelet", "containerd"])
async def test_restarted_while_a_command_runs(
    client: Client, place: Place, label: str, component: str, how: signal.Signals
) -> None:
    async with talking(client, place, label) as stream, anyio.create_task_group() as group:

        async def restart() -> None:
            await run_sync(testcluster.restart, component, how)
            await finish(place, label)

        group.start_soon(restart)
        seen = await stream.to_end()
    await assert_whole(seen, place, label)


@pytest.mark.parametrize("component", ["apiserver", "kubelet", "containerd"])
async def test_command_ends_while_it_is_down(client: Client, place: Place, label: str, component: str) -> None:
    script = f"{place.counted(label)}; echo go; sleep 1.5; seq 1000; exit 3"
    async with client.stream(script) as stream:
        await stream.first("stdout")
        await run_sync(testcluster.stop, component)
        await anyio.sleep(3)  # the command ends meanwhile
        await run_sync(testcluster.start, component)
        seen = await stream.to_end()
    print(seen.events[-5:])
    assert seen.stdout == ["go", *map(str, range(1, 1001))]
    assert seen.controls[1:] == [{"status": "done", "exit_code": 3}]
    assert await place.times_run(label) == 1
    await place.nothing_left(seen.run_id, 60)


@pytest.mark.parametrize("component", ["controller-manager", "scheduler", "kubelet", "containerd"])
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
