"""Warm pods: what waits holds nothing, and a run in a pod that waited for it is as any other."""

import re
from collections.abc import Callable

import pytest
from anyio.to_thread import run_sync

from k8s_mcp.runner.frames import WAITING as WAITING_FRAME
from k8s_mcp.runner.frames import decode
from tests.e2e.api_proxy import ApiProxy
from tests.e2e.place import Place
from tests.e2e.warm import WAITING, asked, until, until_waiting
from tests.support.client import Client
from tests.support.events import Transcript
from tests.support.service import Service, StartService, wait_for

pytestmark = pytest.mark.cluster

ClientOf = Callable[[Service], Client]

LISTENING = "0A"  # of a socket in /proc/net/tcp


async def test_one_that_waits_holds_nothing_may_nothing_and_answers_nobody(
    serve_warm: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy
) -> None:
    """And the run that takes it is as any other, at no more calls, in a pod that no other run gets."""
    service = serve_warm(kubeconfig=place.proxied_kubeconfig(proxy.url))
    await until_waiting(service)
    [pod] = await place.items("pods", WAITING)
    name, where = pod["metadata"]["name"], f"--namespace={place.namespace}"
    assert await place.items("secrets", "app.kubernetes.io/managed-by=k8s-mcp-server") == []
    assert pod["spec"]["automountServiceAccountToken"] is False
    look = "cat /proc/net/tcp /proc/net/tcp6; find /run/k8s-mcp /tmp -type f; env"
    seen = await place.akubectl("exec", name, where, "--container=runner", "--", "sh", "-c", look)
    sockets = [line.split() for line in seen.splitlines() if re.match(r"\s*\d+:", line)]
    assert [line for line in sockets if line[3] == LISTENING] == []
    assert not re.search(r"^/(run|tmp)", seen, re.MULTILINE)
    assert not re.search(r"^KUBECONFIG|TOKEN", seen, re.MULTILINE)
    mounts = await place.akubectl("exec", name, where, "--container=runner", "--", "ls", "-A", "/run/k8s-mcp")
    assert mounts.split() == ["run"]
    said = (await place.akubectl("logs", name, where, "--all-containers")).encode().splitlines()
    assert [frame and frame.type for frame in map(decode, said)] == [WAITING_FRAME]

    proxy.heal()
    async with client_of(service) as client:
        run = await client.run("kubectl get namespace default --output=name; echo later >&2; exit 3")
        assert run.stdout == ["namespace/default"]
        assert run.stderr == ["later"]
        assert [event["status"] for event in run.controls] == ["started", "done"]
        assert run.final == {"status": "done", "exit_code": 3}
        state = await client.state(run.run_id)
        assert (state["requests"]["total"] > 0, state["requests"]["complete"]) == (True, True)
        again = await client.replay(run.run_id, 0)
        assert again.numbered == run.numbered
        await place.nothing_left(run.run_id)
        await until_waiting(service)
        calls = proxy.counted()
        assert 2 <= calls.pop("PATCH pods") <= 4, "twice, and again while the kubelet has not looked"
        assert calls == {
            "PATCH jobs": 1,
            "POST secrets": 1,
            "GET pods/log": 2,
            "DELETE secrets": 1,
            "DELETE jobs": 1,
            "POST jobs": 1,  # for the next run
        }
        async with client.stream("echo here; sleep 30") as stream:
            await stream.first("stdout")
            job = await place.one("jobs", Transcript(stream.seen).run_id)
            assert job["metadata"]["name"].startswith("warm-")
            assert job["metadata"]["name"] not in name
            [other] = await place.items("pods", f"k8s-mcp-server/run={Transcript(stream.seen).run_id}")
            assert other["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
            await client.cancel(Transcript(stream.seen).run_id)
            assert (await stream.to_end()).final["status"] == "cancelled"
        await place.nothing_left(Transcript(stream.seen).run_id)
    assert (asked(service, "hit"), asked(service, "late")) == (2, 0)


async def test_what_waits_is_of_the_settings_that_hold_now_and_goes_with_the_last_replica(
    serve_warm: StartService, place: Place
) -> None:
    async def templates() -> set[str]:
        return {
            job["metadata"]["labels"]["k8s-mcp-server/template"]
            for job in await place.items("jobs", WAITING)
            if "deletionTimestamp" not in job["metadata"]
        }

    async def is_replaced() -> bool:
        now = await templates()
        return bool(now) and not now & before

    async def is_empty() -> bool:
        return not await place.items("jobs,pods", WAITING)

    first, second = serve_warm(), serve_warm()
    await until_waiting(first)
    before = await templates()
    first.stop()
    assert await templates() == before, "what waits is for the other replica"
    third = serve_warm(runner_cpu_request="11m")
    second.stop()
    await until(is_replaced)
    await until_waiting(third)
    without = serve_warm(warm_pods=0)
    third.stop()
    await until(is_empty)
    without.stop()
    last = [serve_warm(), serve_warm()]
    await until_waiting(last[0])
    for service in last:
        service.terminate()
    assert [service.end() for service in last] == [0, 0]
    await until(is_empty)


async def test_what_waits_goes_with_the_last_replica_though_it_changes_at_that_moment(
    serve_warm: StartService, place: Place, proxy: ApiProxy
) -> None:
    """As it does in the second after its pod is up, when the Job's status says so."""
    proxy.heal()
    service = serve_warm(kubeconfig=place.proxied_kubeconfig(proxy.url))
    await until_waiting(service)
    deletion = proxy.spoil("DELETE jobs/warm", held=True)
    service.terminate()
    await run_sync(wait_for, lambda: deletion.seen)
    place.kubectl("annotate", "jobs", f"--namespace={place.namespace}", f"--selector={WAITING}", "changed=yes")
    deletion.held = False
    assert await run_sync(service.end) == 0
    assert not await place.items("jobs", WAITING)
    proxy.heal()
