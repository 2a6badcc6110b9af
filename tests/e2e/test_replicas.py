"""Replicas share nothing but the cluster: any of them can go on with a run, and none leaves anything behind."""

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.to_thread import run_sync

from tests.e2e.place import Place
from tests.support.client import Client
from tests.support.events import Stream, Transcript
from tests.support.service import Service, StartService, wait_for

pytestmark = pytest.mark.cluster

Json = dict[str, Any]
ClientOf = Callable[[Service], Client]

TICKS = 12
TICKING = f"for i in $(seq {TICKS}); do echo line $i; sleep 0.5; done; exit 4"
LINES = [f"line {number}" for number in range(1, TICKS + 1)]


async def read_lines(stream: Stream, count: int) -> int:
    """Read on until `count` lines were seen; the id of the last."""
    while len(Transcript(stream.seen).stdout) < count:
        await stream.first("stdout")
    return next(event.id for event in reversed(stream.seen) if event.id is not None)


def audited(log: Path) -> list[Json]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def ends(log: Path, run_id: str) -> list[Json]:
    """What a log says, among other things, of the run's end."""
    lines = [line for line in log.read_text().splitlines() if line.startswith("{") and run_id in line]
    return [entry for entry in map(json.loads, lines) if entry["event"] == "run.ended"]


def assert_whole(first: list[str], rest: Transcript) -> None:
    """Both parts together are every line once, in order, and the end."""
    assert first + rest.stdout == LINES
    assert rest.final == {"status": "done", "exit_code": 4}
    assert [event.id for event in rest.numbered] == list(range(len(first) + 1, TICKS + 2))


@pytest.mark.parametrize("end", ["lives", "is killed"])
async def test_another_replica_delivers_exactly_the_rest(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place, end: str
) -> None:
    first, second = serve_kubernetes(), serve_kubernetes()
    async with client_of(first) as one, client_of(second) as other:
        async with one.stream(TICKING) as stream:
            last = await read_lines(stream, 3)
            run_id = Transcript(stream.seen).run_id
            seen = Transcript(stream.seen).stdout
        if end == "is killed":
            first.kill()
        rest = await other.replay(run_id, last)
        assert_whole(seen, rest)
        await place.nothing_left(run_id)


async def test_former_owner_closes_its_stream_without_an_end(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place, tmp_path: Path
) -> None:
    """In the audit log such a run has one start and one end, by whichever replica has it then."""
    first, second = serve_kubernetes(audit_log=tmp_path / "1"), serve_kubernetes(audit_log=tmp_path / "2")
    async with client_of(first) as one, client_of(second) as other, one.stream(TICKING) as stream:
        last = await read_lines(stream, 2)
        run_id = Transcript(stream.seen).run_id
        taken = asyncio.create_task(other.replay(run_id, last))
        left_behind = await stream.to_end()
        assert not [event for event in left_behind.events if event.is_final]
        assert_whole(LINES[:2], await taken)
        await place.nothing_left(run_id)
    started, released = audited(tmp_path / "1")
    adopted, ended = await run_sync(wait_for, lambda: audited(tmp_path / "2")[1:] and audited(tmp_path / "2"))
    assert [entry["event"] for entry in (started, released)] == ["run.started", "run.released"]
    assert [entry["event"] for entry in (adopted, ended)] == ["run.adopted", "run.ended"]
    assert {entry["run_id"] for entry in (started, released, adopted, ended)} == {run_id}
    assert started["command"] == adopted["command"] == ended["command"] == TICKING
    assert (ended["exit_code"], ended["stdout"]["lines"], ended["cleanup"]) == (4, TICKS, "removed")


async def test_sigterm_hands_a_long_run_over(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place
) -> None:
    first, second = serve_kubernetes(shutdown_grace=1), serve_kubernetes()
    async with client_of(first) as one, client_of(second) as other, one.stream(TICKING) as stream:
        await read_lines(stream, 2)
        first.terminate()
        cut = await stream.to_end()
        assert not [event for event in cut.events if event.is_final]
        assert_whole(cut.stdout, await other.replay(cut.run_id, len(cut.stdout)))
        await place.nothing_left(cut.run_id)
    assert first.end() == 0


async def test_idempotency_key_joins_the_run_on_another_replica(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place
) -> None:
    first, second = serve_kubernetes(), serve_kubernetes()
    command = f"{place.counted('joined')}; {TICKING}"
    async with client_of(first) as one, client_of(second) as other, one.stream(command, key="k") as stream:
        await read_lines(stream, 1)
        joined = await other.run(command, key="k")
        assert joined.run_id == Transcript(stream.seen).run_id
        assert joined.stdout == LINES
        refused = await other.http.post("/sse", json=other.body("true"), headers={"Idempotency-Key": "k"})
        assert refused.status_code == 422
    assert await place.times_run("joined") == 1
    await place.nothing_left(joined.run_id)


async def test_run_is_listed_and_cancelled_from_another_replica(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place
) -> None:
    first, second = serve_kubernetes(), serve_kubernetes()
    async with client_of(first) as one, client_of(second) as other, one.stream("echo up; sleep 99") as stream:
        await read_lines(stream, 1)
        run_id = Transcript(stream.seen).run_id
        [listed] = (await other.http.get("/runs")).json()["runs"]
        assert (listed["run_id"], listed["status"]) == (run_id, "running")
        assert (await other.state(run_id))["status"] == "running"
        await other.cancel(run_id)
        assert (await stream.to_end()).final == {"status": "cancelled", "exit_code": None}
        await place.nothing_left(run_id)


async def test_run_of_a_killed_replica_is_cancelled_when_nobody_comes_for_it(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place, tmp_path: Path
) -> None:
    """However many are left to do it, one of them says so in its audit log."""
    logs = [tmp_path / name for name in ("1", "2", "3")]
    first, *_ = (serve_kubernetes(resume_window=1, audit_log=log) for log in logs)
    async with client_of(first) as one, one.stream("echo up; sleep 300", timeout=300) as stream:
        await read_lines(stream, 1)
        run_id = Transcript(stream.seen).run_id
        first.kill()
    await place.nothing_left(run_id, seconds=60)
    # Services that earlier tests have started are still there, too, and may be faster.
    # Some of them write their audit log to a file, in the directory of the test that started them.
    printed = first.printed.parent.parent.glob(f"*/{first.printed.name}")
    told = {log.resolve() for log in (*logs, *printed, *tmp_path.parent.glob("test_*/[123]"))}
    entries = await run_sync(wait_for, lambda: [entry for log in told for entry in ends(log, run_id)])
    assert [entry["reason"] for entry in entries] == ["ReplicaLost"]
    assert [entry["event"] for entry in audited(logs[0])] == ["run.started"]


async def test_handle_is_known_to_every_replica(serve_kubernetes: StartService, client_of: ClientOf) -> None:
    first, second = serve_kubernetes(), serve_kubernetes()
    async with client_of(first) as one, client_of(second) as other:
        stored = await one.http.put("/clusters/prod", json={"kubeconfig": one.kubeconfig, "ttl": 60})
        assert stored.status_code == 200, stored.text
        assert (await other.http.get("/clusters")).json() == {"clusters": [stored.json()]}
        seen = await other.run("kubectl get namespace default -o name", kubeconfig=None, cluster="prod")
        assert seen.stdout == ["namespace/default"]
        assert (await other.http.delete("/clusters/prod")).status_code == 204
        assert (await one.http.get("/clusters/prod")).status_code == 404


async def test_administrator_offers_a_cluster(kubernetes_server: Service, client: Client, place: Place) -> None:
    def offer(name: str, to: str, kubeconfig: str) -> str:
        metadata = {
            "name": name,
            "namespace": place.namespace,
            "labels": {"k8s-mcp-server/offered": "true"},
            "annotations": {"k8s-mcp-server/offered-to": to},
        }
        data = {"kubeconfig": base64.b64encode(kubeconfig.encode()).decode()}
        return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})

    try:
        await place.akubectl("apply", "-f", "-", stdin=offer("everyones", "*", client.kubeconfig))
        await place.akubectl("apply", "-f", "-", stdin=offer("somebodys", "alice", client.kubeconfig))
        await place.akubectl("apply", "-f", "-", stdin=offer("broken", "*", "nonsense"))
        async with httpx.AsyncClient(base_url=kubernetes_server.url, trust_env=False) as http:
            [offered] = (await http.get("/clusters")).json()["clusters"]
        assert (offered["name"], offered["expires"], offered["offered"]) == ("everyones", None, True)
        seen = await client.run("kubectl get namespace default -o name", kubeconfig=None, cluster="everyones")
        assert seen.stdout == ["namespace/default"]
        refused = await client.http.post("/sse", json=client.body("true", kubeconfig=None, cluster="somebodys"))
        assert refused.status_code == 404
    finally:
        await place.akubectl("delete", "secret", "-l", "k8s-mcp-server/offered", f"--namespace={place.namespace}")
