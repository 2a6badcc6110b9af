"""Claims of warm pods: no pod has two runs, no command is executed twice, and none is lost, come what may.

docs/kubernetes-executor.md, "Warm pods", has the states and the writes between which things go wrong here.
"""

import asyncio
import re
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from anyio.to_thread import run_sync

from tests.e2e.api_proxy import ApiProxy, refusal
from tests.e2e.place import Place
from tests.e2e.warm import DONE, asked, until, until_waiting
from tests.support.client import Client
from tests.support.events import Transcript
from tests.support.service import Service, StartService, wait_for

pytestmark = pytest.mark.cluster

Json = dict[str, Any]
ClientOf = Callable[[Service], Client]
LOOK = re.compile(r"GET pods/warm-\S+/log\?container=runner&limitBytes=")
BY_ITSELF = "only a kubelet that is not told may look all the same: it does so once in a minute or so"


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
    serve_warm: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy, call: str, how: Json
) -> None:
    proxy.heal()
    service = serve_warm(kubeconfig=place.proxied_kubeconfig(proxy.url))
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
    found = (asked(service, "hit"), asked(service, "late"))
    assert found == ((1, 0) if is_lost_answer else (0, 1)) or (call == "PATCH pods" and found == (1, 0)), BY_ITSELF
    proxy.heal()


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"held": True}, id="slow"),
        pytest.param({"status": 503}, id="away"),
        pytest.param({"status": 200}, id="odd"),
    ],
)
async def test_a_pod_whose_log_is_out_of_reach_is_not_taken_for_silent(
    serve_warm: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy, how: Json
) -> None:
    """Its command is long over when the log is read at last: all of it is there, and how it ended."""
    proxy.heal()
    service = serve_warm(kubeconfig=place.proxied_kubeconfig(proxy.url))
    await until_waiting(service)
    fault = proxy.spoil(r"GET pods/warm-\S+/log", times=999, **how)
    deletion = proxy.spoil("DELETE (pods|jobs)/warm", held=True)
    label = f"unread-{secrets.token_hex(3)}"
    async with client_of(service) as client, client.stream(f"{place.counted(label)}; seq 500; exit 7") as stream:
        await stream.first("control")
        run_id = Transcript(stream.seen).run_id
        # The log without "follow" is what a pod is given up by.
        await run_sync(wait_for, lambda: deletion.seen or any(LOOK.search(call) for call in proxy.calls))
        await until(lambda: place.has_ended(run_id))
        assert not deletion.seen
        deletion.held = False
        fault.times, fault.held = 0, False
        seen = await stream.to_end()
        assert seen.stdout == [str(number) for number in range(1, 501)]
        assert seen.final == {"status": "done", "exit_code": 7}
        await place.nothing_left(run_id)
    assert await place.times_run(label) == 1
    assert (asked(service, "hit"), asked(service, "late")) == (1, 0)
    proxy.heal()


async def test_a_pod_that_has_ended_and_whose_log_stays_away_is_judged_by_what_else_there_is(
    serve_warm: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy
) -> None:
    """The exit code is the command's, what is lost of its output is named, and it is not started again."""
    proxy.heal()
    service = serve_warm(kubeconfig=place.proxied_kubeconfig(proxy.url))
    await until_waiting(service)
    proxy.spoil(r"GET pods/warm-\S+/log", times=999, status=404, body=refusal(404, "NotFound"))
    label = f"gone-{secrets.token_hex(3)}"
    async with client_of(service) as client:
        seen = await client.run(f"{place.counted(label)}; seq 500; exit 7")
        assert seen.controls[1:] == [
            {"status": "gap", "stream": "stdout", "missing": 500},
            {"status": "done", "exit_code": 7},
        ]
        await place.nothing_left(seen.run_id)
    assert await place.times_run(label) == 1
    proxy.heal()


@pytest.mark.timeout(300)
async def test_a_replica_that_dies_within_a_claim_leaves_nothing_half_done(
    serve_warm: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy
) -> None:
    """Behind the claim nothing is executed, and who follows the run is told; behind the Secret another goes on."""
    proxy.heal()
    other = serve_warm(warm_pods=1)
    await until_waiting(other)

    async def killed_behind(call: str, label: str) -> str:
        service = serve_warm(kubeconfig=place.proxied_kubeconfig(proxy.url))
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


async def test_a_cancel_on_another_replica_while_the_pod_is_given_up_ends_the_run(
    serve_warm: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy
) -> None:
    """It is noted on the Job that is about to be deleted, so that the run can go on in a pod of its own."""
    proxy.heal()
    service = serve_warm(kubeconfig=place.proxied_kubeconfig(proxy.url))
    await until_waiting(service)
    other = serve_warm(warm_pods=0)
    proxy.spoil("POST secrets", status=503, times=99)
    deletion = proxy.spoil("DELETE jobs/warm", held=True)
    label = f"given-up-{secrets.token_hex(3)}"
    async with client_of(service) as client, client_of(other) as elsewhere:
        async with client.stream(f"{place.counted(label)}; echo there") as stream:
            await stream.first("control")
            run_id = Transcript(stream.seen).run_id
            await run_sync(wait_for, lambda: deletion.seen)
            await elsewhere.cancel(run_id)
            deletion.held = False
            assert (await stream.to_end()).final == {"status": "cancelled", "exit_code": None}
        await place.nothing_left(run_id)
    assert await place.times_run(label) == 0
    proxy.heal()


async def test_a_claim_of_which_nothing_is_known_leaves_no_second_job(
    serve_warm: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy
) -> None:
    """The claim is there, and no answer ever comes: others may see the run in that Job, so it begins in no other."""
    proxy.heal()
    service = serve_warm(kubeconfig=place.proxied_kubeconfig(proxy.url))
    await until_waiting(service)
    claim = proxy.spoil("PATCH jobs/warm", cut=0, times=99)
    label = f"unknown-{secrets.token_hex(3)}"
    async with client_of(service) as client, client.stream(f"{place.counted(label)}; echo there") as stream:
        await stream.first("control")
        run_id = Transcript(stream.seen).run_id
        await until(lambda: place.items("jobs", f"k8s-mcp-server/run={run_id}"))
        seen = await stream.to_end()
        assert (seen.final["status"], seen.final["reason"]) == ("error", "ApiUnreachable")
        jobs = await place.items("jobs", f"k8s-mcp-server/run={run_id}")
        assert all(job["metadata"]["name"].startswith("warm-") for job in jobs), jobs
    assert claim.seen > 1
    await place.nothing_left(run_id)
    assert await place.times_run(label) == 0
    proxy.heal()


async def test_a_follower_between_claim_and_secret_waits_for_the_secret(
    serve_warm: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy
) -> None:
    """Without isolation it says what to mask in the log. A run that has none is over, any other time."""
    proxy.heal()
    settings = {"kubeconfig": place.proxied_kubeconfig(proxy.url), "credential_isolation": False}
    service = serve_warm(**settings)
    await until_waiting(service)
    other = serve_warm(**{**settings, "warm_pods": 0})
    creation = proxy.spoil("POST secrets", held=True)
    async with client_of(service) as client, client_of(other) as elsewhere:
        async with client.stream('cat "$KUBECONFIG"; echo there') as stream:
            await stream.first("control")
            run_id = Transcript(stream.seen).run_id
            await run_sync(wait_for, lambda: creation.seen)
            look = f"GET secrets/{(await place.one('jobs', run_id))['metadata']['name']}"
            follower = asyncio.create_task(elsewhere.replay(run_id, 0))
            await run_sync(wait_for, lambda: proxy.calls.count(look) > 2 or follower.done())
            creation.held = False
            own, seen = await stream.to_end(), await follower
        assert own.final == DONE
        assert own.stdout[-1] == "there"
        assert seen.numbered == own.numbered
        await place.nothing_left(run_id)
    proxy.heal()
