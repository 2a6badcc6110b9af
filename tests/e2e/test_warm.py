"""Warm pods: a run in a pod that waited for it is as any other, and no command is executed twice, come what may."""

import asyncio
import json
import re
import secrets
from collections.abc import Awaitable, Callable, Generator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.to_thread import run_sync

from tests.e2e.api_proxy import ApiProxy, refusal
from tests.e2e.place import Place
from tests.support.client import Client
from tests.support.events import Transcript
from tests.support.service import Service, StartService, wait_for

pytestmark = pytest.mark.cluster

Json = dict[str, Any]
ClientOf = Callable[[Service], Client]

WAITING = "k8s-mcp-server/warm=true"
DONE = {"status": "done", "exit_code": 0}
LISTENING = "0A"  # of a socket in /proc/net/tcp


@pytest.fixture
def serve(serve_kubernetes: StartService, place: Place) -> Generator[StartService]:
    """Services that keep pods warm, for one test: none of another test keeps them beside it, or leaves any."""
    started: list[Service] = []

    def start(**settings: object) -> Service:
        started.append(serve_kubernetes(**{"warm_pods": 1, **settings}))
        return started[-1]

    yield start
    for service in started:
        service.stop()
    place.kubectl("delete", "jobs", f"--namespace={place.namespace}", f"--selector={WAITING}")


def figure(service: Service, name: str) -> float:
    """A metric's value; `name` with its labels, if it has some."""
    match = re.search(rf"^{re.escape(name)} (\S+)$", service.get("/metrics").text, re.MULTILINE)
    assert match, name
    return float(match[1])


def asked(service: Service, result: str) -> float:
    return figure(service, f'k8s_mcp_warm_pods_asked_total{{result="{result}"}}')


async def until_waiting(service: Service, count: int = 1) -> None:
    def waits() -> bool:
        return figure(service, "k8s_mcp_warm_pods_waiting") >= count

    await run_sync(lambda: wait_for(waits, 60, what=f"{count} warm pods"))


async def until(true: Callable[[], Awaitable[object]], seconds: float = 60) -> None:
    with anyio.fail_after(seconds):
        while not await true():  # noqa: ASYNC110 - it is in the cluster that it becomes so
            await anyio.sleep(0.1)


def counted_cheaply(place: Place, label: str) -> str:
    """As `Place.counted`, without kubectl's start: thirty of them at once are a minute of two processors."""
    config_map = {"metadata": {"generateName": "ran-", "labels": {"counted": label}}}
    url = f"http://127.0.0.1:9001/api/v1/namespaces/{place.target}/configmaps"
    return f"curl -sf {url} -H 'Content-Type: application/json' --data '{json.dumps(config_map)}' >/dev/null"


async def test_one_that_waits_holds_nothing_may_nothing_and_answers_nobody(
    serve: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy
) -> None:
    """And the run that takes it is as any other, at no more calls, in a pod that no other run gets."""
    service = serve(kubeconfig=place.proxied_kubeconfig(proxy.url))
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
    log = await place.akubectl("logs", name, where, "--all-containers")
    assert log == ""

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
        assert 1 <= calls.pop("PATCH pods") <= 3, "once, and again while the kubelet has not looked"
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


@pytest.mark.timeout(180)
async def test_thirty_claims_at_three_replicas_on_few_pods_execute_every_command_once(
    serve: StartService, client_of: ClientOf, place: Place, tmp_path: Path
) -> None:
    services = [serve(warm_pods=4, audit_log=tmp_path / str(number)) for number in range(3)]
    label = f"claims-{secrets.token_hex(3)}"
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client_of(service)) for service in services]
        await asyncio.gather(*(client.run("true") for client in (*clients, clients[0])))  # now four are wanted
        await until_waiting(services[0], 4)
        seen = await asyncio.gather(
            *(
                clients[number % 3].run(f"{counted_cheaply(place, f'{label}-{number}')} && echo {number}")
                for number in range(30)
            )
        )
    assert [each.stdout for each in seen] == [[str(number)] for number in range(30)]
    assert {json.dumps(each.final) for each in seen} == {json.dumps(DONE)}
    ran = await place.items("configmaps", "counted", place.target)
    labels = [item["metadata"]["labels"]["counted"] for item in ran]
    assert sorted(each for each in labels if each.startswith(label)) == sorted(f"{label}-{n}" for n in range(30))
    assert sum(asked(service, "hit") for service in services) >= 4
    for each in seen:
        await place.nothing_left(each.run_id)
    logs = [line for number in range(3) for line in (tmp_path / str(number)).read_text().splitlines()]
    ended = [entry for entry in map(json.loads, logs) if entry["event"] == "run.ended"]
    pods = [entry["pod_uid"] for entry in ended]
    assert len(pods) == 34
    assert len(set(pods)) == 34, "a pod had two runs"


@pytest.mark.parametrize(
    ("call", "how"),
    [
        pytest.param("PATCH jobs/warm", {"cut": 0}, id="claimed, and the answer is lost"),
        pytest.param("POST secrets", {"cut": 0}, id="handed over, and the answer is lost"),
        pytest.param("PATCH jobs/warm", {"status": 403, "body": refusal(403, "Forbidden")}, id="not claimed"),
        pytest.param("POST secrets", {"status": 403, "body": refusal(403, "Forbidden")}, id="not handed over"),
        pytest.param("PATCH pods", {"status": 503, "times": 99}, id="the kubelet is never told"),
    ],
)
async def test_a_claim_that_goes_wrong_executes_the_command_once_all_the_same(
    serve: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy, call: str, how: Json
) -> None:
    proxy.heal()
    service = serve(kubeconfig=place.proxied_kubeconfig(proxy.url))
    await until_waiting(service)
    fault = proxy.spoil(call, **how)
    label = f"fault-{secrets.token_hex(3)}"
    async with client_of(service) as client:
        run = await client.run(f"{place.counted(label)}; echo there")
        assert (run.stdout, run.final) == (["there"], DONE)
        await place.nothing_left(run.run_id)
    assert fault.seen > 0
    assert await place.times_run(label) == 1
    is_lost_answer = "cut" in how
    assert (asked(service, "hit"), asked(service, "late")) == ((1, 0) if is_lost_answer else (0, 1))
    proxy.heal()


async def test_what_waits_is_of_the_settings_that_hold_now(serve: StartService, place: Place) -> None:
    async def templates() -> set[str]:
        return {
            job["metadata"]["labels"]["k8s-mcp-server/template"]
            for job in await place.items("jobs", WAITING)
            if "deletionTimestamp" not in job["metadata"]
        }

    first = serve()
    await until_waiting(first)
    before = await templates()
    first.stop()
    assert await templates() == before, "what waits is for the next replica"
    second = serve(runner_cpu_request="11m")

    async def is_replaced() -> bool:
        now = await templates()
        return bool(now) and not now & before

    await until(is_replaced)
    await until_waiting(second)
    second.stop()
    serve(warm_pods=0)

    async def is_empty() -> bool:
        return not await place.items("jobs,pods", WAITING)

    await until(is_empty)


@pytest.mark.timeout(300)
async def test_a_replica_that_dies_within_a_claim_leaves_nothing_half_done(
    serve: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy
) -> None:
    """Behind the claim nothing is executed, and who follows the run is told; behind the Secret another goes on."""
    proxy.heal()
    other = serve(warm_pods=1)
    await until_waiting(other)

    async def killed_behind(call: str, label: str) -> str:
        service = serve(kubeconfig=place.proxied_kubeconfig(proxy.url))
        await until_waiting(service)
        fault = proxy.spoil(call, late=60)
        async with client_of(service) as client, client.stream(f"{place.counted(label)}; echo there") as stream:
            await stream.first("control")
            run_id = Transcript(stream.seen).run_id
            made = "jobs" if call.startswith("PATCH") else "secrets"
            await until(lambda: place.items(made, f"k8s-mcp-server/run={run_id}"))
            assert fault.seen == 1
            service.kill()
        return run_id

    label = f"killed-{secrets.token_hex(3)}"
    claimed = await killed_behind("PATCH jobs/warm", f"{label}-claim")
    handed_over = await killed_behind("POST secrets", f"{label}-secret")
    async with client_of(other) as client:
        first, second = await asyncio.gather(client.replay(claimed), client.replay(handed_over))
    assert (first.final["status"], first.final["reason"]) == ("error", "ReplicaLost")
    assert (second.stdout, second.final) == (["there"], DONE)
    assert await place.times_run(f"{label}-claim") == 0
    assert await place.times_run(f"{label}-secret") == 1
    for run_id in (claimed, handed_over):
        await place.nothing_left(run_id, seconds=60)
    proxy.heal()
