"""Replicas that went, or were cut off, between a run's Job and its start: the request that comes again is obeyed."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from anyio.to_thread import run_sync

from tests.e2e.api_proxy import ApiProxy
from tests.e2e.place import Place
from tests.support.client import Client
from tests.support.service import Service, StartService, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

ClientOf = Callable[[Service], Client]
RUN = "k8s-mcp-server/run"
WINDOW = 8


@asynccontextmanager
async def sent(client: Client, command: str, key: str) -> AsyncGenerator[None]:
    """The request is on its way, and its answer is of no interest."""

    async def send() -> None:
        try:
            await client.http.post("/sse", json=client.body(command), headers={"Idempotency-Key": key}, timeout=60)
        except httpx.TransportError:
            return  # the replica is killed

    task = asyncio.create_task(send())
    try:
        yield
    finally:
        task.cancel()


async def suspended(place: Place, count: int) -> list[str]:
    """The ids of the runs that were made, and not started."""

    def found() -> list[str]:
        jobs = json.loads(place.kubectl("get", "jobs", f"--namespace={place.namespace}", "--output=json"))["items"]
        ids = [job["metadata"]["labels"][RUN] for job in jobs if job["spec"].get("suspend")]
        return ids if len(ids) == count else []

    return await run_sync(wait_for, found)


async def make_unknown(client: Client, proxy: ApiProxy, command: str, key: str) -> None:
    """Have its replica make the run's Job, and never hear of it."""
    proxy.spoil("(POST|GET) jobs", cut=0, times=1000)
    refused = await client.http.post("/sse", json=client.body(command), headers={"Idempotency-Key": key}, timeout=60)
    assert refused.status_code == 503, refused.text
    proxy.heal()


async def test_replica_is_killed_before_it_starts_its_runs(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy
) -> None:
    """One request comes again, and its command runs; of the other run only the id is known, and it ends as lost."""
    first = serve_kubernetes(kubeconfig=place.proxied_kubeconfig(proxy.url), resume_window=WINDOW)
    second = serve_kubernetes(resume_window=WINDOW)
    proxy.spoil("POST secrets", status=503, times=1000)
    again, never = f"{place.counted('again')}; echo fine; exit 3", place.counted("never")
    async with client_of(first) as one, client_of(second) as other:
        async with sent(one, again, "again"):
            [known] = await suspended(place, 1)
            async with sent(one, never, "never"):
                lost = (set(await suspended(place, 2)) - {known}).pop()
                first.kill()
        proxy.heal()
        joined, ended = await asyncio.gather(other.run(again, key="again"), other.replay(lost, 0))
        assert joined.run_id == known
        assert (joined.stdout, joined.final) == (["fine"], {"status": "done", "exit_code": 3})
        assert (ended.final["status"], ended.final["reason"]) == ("error", "ReplicaLost")
        for run_id in (known, lost):
            await place.nothing_left(run_id, seconds=60)
    assert [await place.times_run(label) for label in ("again", "never")] == [1, 0]


async def test_replica_lives_and_never_knew_that_its_run_was_made(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy
) -> None:
    """The answer to the create was lost: it lets go of the run, which another replica was asked for again."""
    first = serve_kubernetes(kubeconfig=place.proxied_kubeconfig(proxy.url), resume_window=WINDOW)
    second = serve_kubernetes(resume_window=WINDOW)
    command = f"{place.counted('unknown')}; echo fine"
    async with client_of(first) as one, client_of(second) as other:
        await make_unknown(one, proxy, command, "unknown")
        seen = await other.run(command, key="unknown")
        assert (seen.stdout, seen.final) == (["fine"], {"status": "done", "exit_code": 0})
        await place.nothing_left(seen.run_id, seconds=60)
    assert await place.times_run("unknown") == 1


async def test_replica_that_never_knew_of_its_run_is_asked_for_it(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy
) -> None:
    """The Job names it, but it has no request: it leaves the run to who has, instead of calling it lost."""
    first = serve_kubernetes(kubeconfig=place.proxied_kubeconfig(proxy.url), resume_window=WINDOW)
    second = serve_kubernetes(resume_window=WINDOW)
    command = f"{place.counted('asked')}; echo fine"
    async with client_of(first) as one, client_of(second) as other:
        await make_unknown(one, proxy, command, "asked")
        [run_id] = await suspended(place, 1)
        await run_sync(wait_for, lambda: first.get(f"/runs/{run_id}").status_code == 200)
        async with other.stream(command, "asked") as stream, one.follow(run_id) as elsewhere:
            seen, also = await asyncio.gather(stream.to_end(), elsewhere.to_end())
        assert (seen.stdout, seen.final) == (["fine"], {"status": "done", "exit_code": 0})
        assert also.numbered == seen.numbered
        await place.nothing_left(run_id, seconds=60)
    assert await place.times_run("asked") == 1
