"""The API server is away for longer than a replica's Lease is good: runs go on, and are known again afterwards."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import anyio
import pytest
from anyio.to_thread import run_sync

from tests.e2e.cutter import Cutter, cutter
from tests.e2e.place import Place
from tests.support.client import Client
from tests.support.events import Transcript
from tests.support.service import Service, StartService, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

OUTAGE_SECONDS = 40  # a Lease is good for 30
TICKS = 70


@pytest.fixture
def cut(place: Place) -> Iterator[Cutter]:
    """Between every replica and the API server: there is no other service in this file."""
    host, _, port = urlsplit(str(place.server["server"])).netloc.rpartition(":")
    with cutter(host, int(port)) as cut:
        yield cut


async def test_runs_outlive_an_outage_when_followed_and_end_when_left(
    serve_kubernetes: StartService, client_of: Callable[[Service], Client], place: Place, cut: Cutter
) -> None:
    """One run is followed at its owner and at another replica, one by a client that leaves meanwhile."""
    change = {"server": f"https://127.0.0.1:{cut.port}", "tls-server-name": "kubernetes"}
    file = place.kubeconfig("cut", change)
    first, second = (serve_kubernetes(kubeconfig=file, resume_window=8) for _ in range(2))
    command = f"for i in {{1..{TICKS}}}; do echo $i; sleep 1; done; exit 4"
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(client_of(service)) for service in (first, second)]
        followed = await stack.enter_async_context(one.stream(f"{place.counted('outage')}; {command}", timeout=250))
        await followed.first("stdout")
        run_id = Transcript(followed.seen).run_id
        elsewhere = asyncio.create_task(other.replay(run_id, 0))
        async with one.stream("echo up; sleep 250", timeout=250) as left:
            await left.first("stdout")
            left_id = Transcript(left.seen).run_id
            cut.refuses = True
            cut.cut()
            await run_sync(wait_for, lambda: first.get("/readyz").status_code == 503)
        try:
            await anyio.sleep(OUTAGE_SECONDS)  # it is how long the outage lasts that is tried here
        finally:
            cut.refuses = False
        await place.nothing_left(left_id, seconds=40)
        own, copy = await followed.to_end(), await elsewhere
    for seen in (own, copy):
        assert seen.stdout == [str(number) for number in range(1, TICKS + 1)]
        assert seen.final == {"status": "done", "exit_code": 4}
    assert await place.times_run("outage") == 1
    await place.nothing_left(run_id, seconds=40)
