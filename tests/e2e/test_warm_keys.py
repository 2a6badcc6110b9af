"""Requests with an `Idempotency-Key`, where warm pods wait: a key starts one run, in whichever pod, come what may.

docs/kubernetes-executor.md, "Warm pods and idempotency keys", has the states and the writes between which things go
wrong here.
"""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import httpx
import pytest
from anyio.to_thread import run_sync

from tests.e2e.api_proxy import ApiProxy, refusal
from tests.e2e.place import ANY_RUN, OF_KEYS, Place
from tests.e2e.warm import DONE, asked, until, until_waiting
from tests.support.client import Client
from tests.support.events import Stream, Transcript
from tests.support.service import Service, StartService, wait_for

pytestmark = pytest.mark.cluster

Json = dict[str, Any]
ClientOf = Callable[[Service], Client]
WINDOW = 4
REFUSED = {"status": 403, "body": refusal(403, "Forbidden")}


def a_key() -> str:
    return f"key-{secrets.token_hex(3)}"


async def test_one_run_for_a_key_in_one_warm_pod(serve_warm: StartService, client_of: ClientOf, place: Place) -> None:
    """However many ask for it, at the same moment and on whatever replica; and again when it has ended."""
    services = [serve_warm(warm_pods=2, resume_window=WINDOW) for _ in range(2)]
    key = a_key()
    command = f"{place.counted(key)}; sleep 1; echo there"
    async with client_of(services[0]) as one, client_of(services[1]) as other:
        await until_waiting(services[0])
        seen = await asyncio.gather(*(client.run(command, key=key) for client in (one, other, one, other)))
        assert {each.run_id for each in seen} == {seen[0].run_id}
        assert [each.stdout for each in seen] == [["there"]] * 4
        assert [each.final for each in seen] == [DONE] * 4
        assert sum(asked(service, "hit") for service in services) == 1
        assert (await place.one("jobs", seen[0].run_id))["metadata"]["name"].startswith("warm-")
        again = await other.run(command, key=key)
        assert (again.run_id, again.stdout) == (seen[0].run_id, ["there"])
        await place.nothing_left(seen[0].run_id, seconds=60)
    assert await place.times_run(key) == 1


@pytest.mark.parametrize(
    ("call", "how", "asked_for"),
    [
        pytest.param("POST jobs", {"cut": 0}, "hit", id="reserved, and the answer is lost"),
        pytest.param("PATCH jobs/warm", {"cut": 0}, "hit", id="claimed, and the answer is lost"),
        pytest.param("POST secrets", {"cut": 0}, "hit", id="handed over, and the answer is lost"),
        pytest.param("PATCH jobs/run", {"status": 503, "times": 9}, "hit", id="the key's Job is not bound at once"),
        pytest.param("PATCH jobs/warm", REFUSED, "late", id="not claimed"),
        pytest.param("POST secrets", REFUSED, "late", id="not handed over"),
    ],
)
async def test_a_start_that_goes_wrong_executes_the_command_once_all_the_same(
    serve_warm: StartService,
    client_of: ClientOf,
    place: Place,
    proxy: ApiProxy,
    call: str,
    how: Json,
    asked_for: str,
) -> None:
    proxy.heal()
    service = serve_warm(kubeconfig=place.proxied_kubeconfig(proxy.url), resume_window=WINDOW)
    await until_waiting(service)
    fault = proxy.spoil(call, **how)
    key = a_key()
    async with client_of(service) as client:
        run = await client.run(f"{place.counted(key)}; echo there", key=key)
        assert (run.stdout, run.final) == (["there"], DONE)
        job = await place.one("jobs", run.run_id)
        assert job["metadata"]["name"].startswith("warm-" if asked_for == "hit" else "run-")
        again = await client.run(f"{place.counted(key)}; echo there", key=key)
        assert again.run_id == run.run_id
        proxy.heal()
        await place.nothing_left(run.run_id, seconds=90)
    assert fault.seen > 0
    assert asked(service, asked_for) == 1
    assert await place.times_run(key) == 1


async def repeated(client: Client, command: str, key: str) -> Transcript:
    """The run of that key, asked for again for as long as nobody can tell what has become of it."""
    with anyio.fail_after(120):
        while True:
            headers = {"Idempotency-Key": key}
            async with client.http.stream("POST", "/sse", json=client.body(command), headers=headers) as response:
                if response.status_code == 200:
                    return await Stream(response).to_end()
                assert response.status_code == 503, await response.aread()
            await anyio.sleep(0.5)


@pytest.mark.timeout(400)
async def test_a_replica_that_dies_within_a_start_leaves_its_run_to_the_request_that_comes_again(
    serve_warm: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy
) -> None:
    proxy.heal()
    other = serve_warm(resume_window=WINDOW)
    await until_waiting(other)

    async def names(kinds: str, selector: str) -> set[str]:
        return {item["metadata"]["name"] for item in await place.items(kinds, selector)}

    async def killed_behind(call: str, kinds: str, selector: str) -> str:
        service = serve_warm(kubeconfig=place.proxied_kubeconfig(proxy.url), resume_window=WINDOW)
        await until_waiting(service)
        proxy.heal()
        fault, key = proxy.spoil(call, late=120), a_key()
        there = await names(kinds, selector)

        async def is_made() -> bool:
            return bool(await names(kinds, selector) - there)  # others may go meanwhile

        async with client_of(service) as client:
            body, headers = client.body(command_of(key)), {"Idempotency-Key": key}
            task = asyncio.create_task(client.http.post("/sse", json=body, headers=headers))
            await run_sync(wait_for, lambda: fault.seen)
            await until(is_made)
            service.kill()
            with suppress(httpx.TransportError):
                await task
        return key

    def command_of(key: str) -> str:
        return f"{place.counted(key)}; echo there"

    forgotten = await killed_behind("POST jobs", "jobs", OF_KEYS)
    keys = [
        await killed_behind("POST jobs", "jobs", OF_KEYS),
        await killed_behind("PATCH jobs/warm", "jobs", ANY_RUN),
        await killed_behind("POST secrets", "secrets", ANY_RUN),
    ]
    proxy.heal()
    async with client_of(other) as client:
        seen = await asyncio.gather(*(repeated(client, command_of(key), key) for key in keys))
    assert [(each.stdout, each.final) for each in seen] == [(["there"], DONE)] * 3
    assert [await place.times_run(key) for key in keys] == [1, 1, 1]
    await place.nothing_left(selector=ANY_RUN, seconds=90)
    await place.nothing_left(selector=OF_KEYS, seconds=90)  # also of the request that never came again
    assert await place.times_run(forgotten) == 0
