"""The parts of the soak do what the soak relies on."""

import asyncio
from itertools import islice, pairwise
from random import Random

import httpx
import pytest
from anyio.to_thread import run_sync

from tests.soak import growth, plan
from tests.soak.balancer import GARBAGE, balancer
from tests.soak.growth import Sample
from tests.soak.plan import Options
from tests.soak.witness import witness
from tests.support.service import wait_for


def test_a_seed_repeats_a_sequence() -> None:
    options = Options(60, seed=7)
    assert list(islice(plan.runs(7), 50)) == list(islice(plan.runs(7), 50))
    one, again = (
        [(pause, kind, rng.random()) for pause, kind, rng in islice(plan.faults(options), 50)] for _ in range(2)
    )
    assert one == again
    assert [run.kind for run in islice(plan.runs(7), 50)] != [run.kind for run in islice(plan.runs(8), 50)]


def test_every_kind_of_run_client_and_fault_comes() -> None:
    first = list(islice(plan.runs(1), 500))
    assert {run.kind for run in first} == set(plan.KINDS)
    assert {run.mode for run in first} == set(plan.MODES)
    assert {kind for _, kind, _ in islice(plan.faults(Options(60, seed=1)), 60)} == set(plan.FAULTS)


async def test_the_witness_counts_what_was_started() -> None:
    async with witness("127.0.0.1") as one:
        process = await asyncio.create_subprocess_exec("bash", "-c", one.attested("label", "exit 7"))
        assert await process.wait() == 7
        await run_sync(wait_for, lambda: one.seen["label"])
    assert len(one.seen["label"]) == 1


@pytest.mark.parametrize("how", ["nothing", "cut", "garble", "freeze"])
async def test_the_load_balancer_passes_on_and_fails_as_it_is_told(how: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await writer.drain()
        await go_on.wait()
        writer.write(b"4\r\nlast\r\n0\r\n\r\n")
        writer.close()
        answered.set()

    go_on, answered = asyncio.Event(), asyncio.Event()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    seen = b""
    async with server, balancer(lambda: [None, address], 2, Random(3)) as one, httpx.AsyncClient() as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get(one.only[0])
        async with http.stream("GET", one.any) as response:
            chunks = response.aiter_raw()
            seen += await anext(chunks)
            match how:
                case "cut":
                    assert one.cut(1) == 1
                    with pytest.raises(httpx.TransportError):
                        await anext(chunks)
                case "garble":
                    assert one.garble(1) == 1
                    with pytest.raises(httpx.TransportError):
                        await anext(chunks)
                case "freeze":
                    async with one.being_frozen():
                        go_on.set()
                        rest = asyncio.ensure_future(anext(chunks))
                        done, _ = await asyncio.wait([rest], timeout=0.2)
                        assert not done
                    seen += await rest
                case _:
                    go_on.set()
                    seen += await anext(chunks)
        go_on.set()
        await answered.wait()
    assert seen == (b"firstlast" if how in ("nothing", "freeze") else b"first")
    assert GARBAGE not in seen


def test_growth_is_seen_and_noise_is_not() -> None:
    def samples(per_second: float) -> list[Sample]:
        return [Sample(at, 0, int(1e8 + per_second * at + (at * 7919) % 1e6), 30) for at in range(0, 1800, 5)]

    [flat] = growth.of(0, samples(0))
    [growing] = growth.of(0, samples(1e4))
    assert flat.is_flat
    assert abs(flat.memory) < 0.01
    assert not growing.is_flat
    assert growing.memory == pytest.approx(9e6 / 1.14e8, rel=0.1)


def test_each_life_of_a_replica_is_measured_by_itself() -> None:
    lives = [Sample(at, at // 100, 10**8, 30) for at in range(0, 300, 5)]
    assert [one.life for one in growth.of(0, lives)] == [0, 1, 2]
    assert all(one.life < other.life for one, other in pairwise(growth.of(0, lives)))
