"""Nothing is left of a run, however it ended, and a run costs few calls."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable, Mapping

import anyio
import pytest

from tests.e2e.api_proxy import ApiProxy, Fault, refusal
from tests.e2e.place import Place
from tests.support.client import Client
from tests.support.events import Stream, Transcript
from tests.support.service import Service, StartService

pytestmark = pytest.mark.cluster

ClientOf = Callable[[Service], Client]
CANCELLED = {"status": "cancelled", "exit_code": None}
RUNS = int(os.environ.get("K8S_MCP_TEST_RUNS", "60"))
"""How many runs in a row with random faults; 200 before a release."""


def done(exit_code: int) -> dict[str, object]:
    return {"status": "done", "exit_code": exit_code}


@pytest.fixture(scope="module")
def kubernetes_server(serve_shared: StartService, place: Place, proxy: ApiProxy) -> Service:
    """A service that reaches the API server through `proxy`, and does not wait long for clients that left."""
    return serve_shared(kubeconfig=place.proxied_kubeconfig(proxy.url), resume_window=1)


@pytest.mark.parametrize(
    ("command", "final"),
    [
        pytest.param("seq 1000", done(0), id="done"),
        pytest.param("seq 1000; exit 9", done(9), id="failed"),
        pytest.param("kill -9 $$", done(137), id="killed"),
        pytest.param(
            "trap '' TERM; seq 1000; sleep 99", {"status": "timeout", "exit_code": 124, "timeout": 1}, id="timeout"
        ),
    ],
)
async def test_nothing_is_left_after_the_end(
    client: Client, place: Place, command: str, final: dict[str, object]
) -> None:
    seen = await client.run(command, timeout=1 if final["status"] == "timeout" else 60)
    assert seen.final == final
    await place.nothing_left(seen.run_id)


async def test_nothing_is_left_of_a_cancelled_run(client: Client, place: Place) -> None:
    async with client.stream("trap '' TERM; echo go; sleep 99") as stream:
        await stream.first("stdout")
        await client.cancel(Transcript(stream.seen).run_id)
        seen = await stream.to_end()
    assert seen.final == CANCELLED
    await place.nothing_left(seen.run_id)


async def test_nothing_is_left_of_a_run_cancelled_at_once(client: Client, place: Place) -> None:
    async with client.stream("sleep 99") as stream:
        await client.cancel((await stream.first("control")).control["run_id"])
        seen = await stream.to_end()
    assert seen.final == CANCELLED
    await place.nothing_left(seen.run_id)


async def test_nothing_is_left_when_the_client_leaves(client: Client, place: Place) -> None:
    async with client.stream("trap 'sleep 1; exit' TERM; echo go; sleep 99 & wait") as stream:
        await stream.first("stdout")
        run_id = Transcript(stream.seen).run_id
    await ended(client, run_id)
    assert (await client.state(run_id))["status"] == "cancelled"
    await place.nothing_left(run_id)


async def test_a_run_that_is_slow_to_go_holds_nobody_up(client: Client, place: Place) -> None:
    async with client.stream("echo go; sleep 99") as stream:
        await stream.first("stdout")
        run_id = Transcript(stream.seen).run_id
        held = (f"pod/{(await place.one('pods', run_id))['metadata']['name']}", f"--namespace={place.namespace}")
        await place.akubectl("patch", *held, '--patch={"metadata":{"finalizers":["example.com/held"]}}')
        try:
            await client.cancel(run_id)
            assert (await stream.to_end()).final == CANCELLED
            await place.akubectl("wait", "--for=delete", f"job/run-{run_id}", held[1], "--timeout=30s")
            assert (await client.run("echo next")).stdout == ["next"]
        finally:
            await place.akubectl(
                "patch", *held, "--type=json", '--patch=[{"op":"remove","path":"/metadata/finalizers"}]'
            )
    await place.nothing_left(run_id)


async def ended(client: Client, run_id: str) -> None:
    with anyio.fail_after(30):
        while (await client.state(run_id))["status"] in {"pending", "running"}:  # noqa: ASYNC110 - another process
            await anyio.sleep(0.1)


async def test_the_secret_goes_first(client: Client, place: Place) -> None:
    """While a client is still reading the end, the credential is gone already."""
    async with client.stream("echo go; sleep 5; seq 100000") as stream:
        await stream.first("stdout")
        run_id = Transcript(stream.seen).run_id
        assert await place.items("secrets", f"k8s-mcp-server/run={run_id}")
        await stream.to_end()
    await place.nothing_left(run_id)


async def test_40_runs_at_once(client: Client, place: Place) -> None:
    async def one(number: int) -> None:
        seen = await client.run(f"seq {number} {number + 999}; cat; exit {number}", stdin=f"{number}")
        assert seen.stdout == [*map(str, range(number, number + 1000)), str(number)]
        assert seen.final == done(number)

    await asyncio.gather(*map(one, range(40)))
    await place.nothing_left()


async def test_calls_of_a_run(client: Client, place: Place, proxy: ApiProxy) -> None:
    """As many for a long run as for a short one: nothing polls."""
    counted: list[Counter[str]] = []
    for seconds in (0, 7):
        proxy.heal()
        seen = await client.run(f"sleep {seconds}; seq 1000")
        assert seen.final == done(0)
        await place.nothing_left(seen.run_id)
        counted.append(proxy.counted())
    assert counted[0] == counted[1]
    assert counted[0].total() <= 8
    assert counted[0] == {
        "POST jobs": 1,
        "POST secrets": 1,
        "PATCH jobs": 1,
        "GET pods/log": 2,  # the runner's, and the gate's record
        "DELETE secrets": 1,
        "DELETE jobs": 1,
    }


async def test_calls_of_a_cancelled_run(client: Client, place: Place, proxy: ApiProxy) -> None:
    proxy.heal()
    async with client.stream("echo go; sleep 99") as stream:
        await stream.first("stdout")
        await client.cancel(Transcript(stream.seen).run_id)
        seen = await stream.to_end()
    await place.nothing_left(seen.run_id)
    assert proxy.counted().total() <= 9


class Noise:
    """Spoils one call in ten, in every way there is; so seldom all attempts of one call that no run fails of it."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def __call__(self, call: str) -> Fault | None:
        if self._random.random() > 0.1:
            return None
        status = self._random.choice([429, 500, 503, 504, None])
        if status:
            return Fault(call, status=status, body=refusal(status, "Noise"))
        return Fault(call, cut=self._random.choice([0, 1, 100, 5000]))


class Chance:
    """Runs of every kind, each of which checks its own end."""

    def __init__(self, client: Client, place: Place) -> None:
        self._client = client
        self._place = place
        self._where = f"--namespace={place.namespace}"
        self._start = f"{place.counted('noise')}; seq 2000; echo go"
        self._kinds = [self.ends] * 6 + [
            self.times_out,
            self.leaves,
            self.is_cancelled,
            self.loses_job,
            self.loses_pod,
        ]
        self._random = random.Random(RUNS)
        self.counted = RUNS

    async def run(self, number: int) -> None:
        await self._random.choice(self._kinds)(number)

    async def ends(self, number: int) -> None:
        seen = await self._client.run(f"{self._start}; exit {number % 256}")
        self._assert_ended(seen, done(number % 256))

    async def times_out(self, _: int) -> None:
        self.counted -= 1  # kubectl may be slower than that
        seen = await self._client.run("seq 2000; echo go; sleep 99", timeout=2)
        self._assert_ended(seen, {"status": "timeout", "exit_code": 124, "timeout": 2})

    async def leaves(self, _: int) -> None:
        async with self._client.stream(f"{self._start}; sleep 99") as stream:
            run_id = await self._gone_on(stream)
        await ended(self._client, run_id)
        assert (await self._client.state(run_id))["status"] == "cancelled"

    async def is_cancelled(self, _: int) -> None:
        async with self._client.stream(f"{self._start}; sleep 99") as stream:
            await self._client.cancel(await self._gone_on(stream))
            self._assert_ended(await stream.to_end(), CANCELLED)

    async def loses_job(self, _: int) -> None:
        await self._loses("job", "JobDeleted")

    async def loses_pod(self, _: int) -> None:
        await self._loses("pod", "PodDeleted", "--force", "--grace-period=0")

    async def _loses(self, kind: str, reason: str, *how: str) -> None:
        async with self._client.stream(f"{self._start}; sleep 99") as stream:
            selector = f"--selector=k8s-mcp-server/run={await self._gone_on(stream)}"
            await self._place.akubectl("delete", kind, self._where, selector, "--wait=false", *how)
            seen = await stream.to_end()
        self._assert_ended(seen, {**seen.final, "status": "error", "exit_code": None, "reason": reason})

    async def _gone_on(self, stream: Stream) -> str:
        """Read what the command says; the run's id."""
        while (await stream.first("stdout")).data != "go":
            pass
        return Transcript(stream.seen).run_id

    def _assert_ended(self, seen: Transcript, final: Mapping[str, object]) -> None:
        assert seen.final == final
        assert seen.stdout == [*map(str, range(1, 2001)), "go"]


@pytest.mark.timeout(120 + 5 * RUNS)
async def test_many_runs_with_random_faults(client: Client, place: Place, proxy: ApiProxy) -> None:
    """Each ends as it should, with all its output, having run once; and nothing is left in the end."""
    chance = Chance(client, place)
    slots = anyio.CapacityLimiter(8)

    async def one(number: int) -> None:
        async with slots:
            await chance.run(number)

    proxy.noise = Noise(RUNS)
    try:
        async with anyio.create_task_group() as group:
            for number in range(RUNS):
                group.start_soon(one, number)
        await place.nothing_left()
    finally:
        proxy.heal()
    assert await place.times_run("noise") == chance.counted
