"""Replicas share nothing but the cluster: any of them can go on with a run, and none leaves anything behind."""

import asyncio
import base64
import json
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.to_thread import run_sync

from tests.e2e.api_proxy import ApiProxy, refusal
from tests.e2e.place import ANY_RUN, Place
from tests.e2e.warm import until
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


async def job_of(place: Place, run_id: str) -> Json:
    [job] = await place.items("jobs", f"k8s-mcp-server/run={run_id}", place.namespace)
    return job


async def replica_of(place: Place, run_id: str) -> str:
    """The replica that the run's Job names."""
    return str((await job_of(place, run_id))["metadata"]["annotations"]["k8s-mcp-server/replica"])


def audited(log: Path) -> list[Json]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def ends(log: Path, run_id: str) -> list[Json]:
    """What an audit log says of the run's end."""
    return [entry for entry in audited(log) if (entry["event"], entry["run_id"]) == ("run.ended", run_id)]


def assert_whole(first: list[str], rest: Transcript) -> None:
    """Both parts together are every line once, in order, and the end."""
    assert first + rest.stdout == LINES
    assert rest.final == {"status": "done", "exit_code": 4}
    assert [event.id for event in rest.numbered] == list(range(len(first) + 1, TICKS + 2))


@pytest.mark.parametrize("end", ["lives", "is killed"])
async def test_another_replica_delivers_exactly_the_rest(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place, end: str
) -> None:
    first, second = serve_kubernetes(resume_window=15), serve_kubernetes(resume_window=15)
    async with client_of(first) as one, client_of(second) as other:
        async with one.stream(TICKING) as stream:
            last = await read_lines(stream, 3)
            run_id = Transcript(stream.seen).run_id
            seen = Transcript(stream.seen).stdout
        if end == "is killed":
            first.kill()
        rest = await other.replay(run_id, last)
        assert_whole(seen, rest)
        await place.nothing_left(run_id, seconds=30 if end == "lives" else 90)


@pytest.mark.timeout(300)
async def test_ten_follow_one_run_of_a_minute_at_three_replicas(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy, tmp_path: Path
) -> None:
    """Its owner stays the owner, and nothing but that it is followed is written; audit logs tell of it once."""
    seconds, window = 60, 20
    file = place.proxied_kubeconfig(proxy.url)
    services = [
        serve_kubernetes(kubeconfig=file, resume_window=window, audit_log=tmp_path / name) for name in ("1", "2", "3")
    ]
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client_of(service)) for service in services]
        minute = f"for i in $(seq {seconds}); do echo line $i; sleep 1; done; exit 4"
        stream = await stack.enter_async_context(clients[0].stream(minute, timeout=200))
        await read_lines(stream, 1)
        run_id = Transcript(stream.seen).run_id
        owner = await replica_of(place, run_id)
        proxy.heal()
        followers = [asyncio.create_task(clients[number % 3].replay(run_id, 0)) for number in range(9)]
        own = await stream.to_end()
        for seen in (own, *[await follower for follower in followers]):
            assert seen.stdout == [f"line {number}" for number in range(1, seconds + 1)]
            assert seen.final == {"status": "done", "exit_code": 4}
        # Of two who say so at the same moment the second is refused: he wrote nothing.
        written = [
            call
            for call, status in proxy.answered
            if run_id in call and call.startswith(("PATCH", "PUT", "POST")) and status != HTTPStatus.CONFLICT
        ]
        assert {call.partition(" ")[0] for call in written} == {"PATCH"}, written
        last = 1  # the owner says that it has ended, and is kept for readers
        assert len(written) <= seconds / (window / 2) + 1 + last, written
        assert await replica_of(place, run_id) == owner
        assert "k8s-mcp-server/followed" in (await job_of(place, run_id))["metadata"]["annotations"]
        await place.nothing_left(run_id, seconds=40)
    started, ended = await run_sync(wait_for, lambda: audited(tmp_path / "1")[1:] and audited(tmp_path / "1"))
    assert [entry["event"] for entry in (started, ended)] == ["run.started", "run.ended"]
    assert audited(tmp_path / "2") == audited(tmp_path / "3") == []


@pytest.mark.parametrize("number", range(5))
async def test_one_key_at_two_replicas_at_the_same_moment_is_one_run(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place, number: int
) -> None:
    first, second = (serve_kubernetes(resume_window=3) for _ in range(2))
    command = f"{place.counted(f'same-{number}')}; {TICKING}"
    async with client_of(first) as one, client_of(second) as other:
        seen = await asyncio.gather(
            *(client.run(command, key=f"same-{number}") for client in (one, other, one, other))
        )
        assert len({each.run_id for each in seen}) == 1
        for each in seen:
            assert_whole([], each)
        assert await place.times_run(f"same-{number}") == 1
        again = await other.run(command, key=f"same-{number}")
        assert again.run_id == seen[0].run_id
        await place.nothing_left(again.run_id, seconds=40)


async def test_a_replica_that_is_shutting_down_takes_nothing_up_and_says_so_on_a_kept_connection(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place
) -> None:
    first, second = serve_kubernetes(shutdown_grace=20), serve_kubernetes()
    async with client_of(first) as one, client_of(second) as other:
        async with one.stream("echo up; sleep 6") as holding, other.stream(TICKING) as theirs:
            await read_lines(holding, 1)
            last = await read_lines(theirs, 1)
            run_id = Transcript(theirs.seen).run_id
            owner = await replica_of(place, run_id)
            first.terminate()
            await run_sync(wait_for, lambda: first.get("/readyz").status_code == 503)
            refused = await one.http.get(f"/runs/{run_id}/events", headers={"Last-Event-ID": str(last)})
            assert (refused.status_code, refused.headers["Connection"]) == (503, "close")
            assert await replica_of(place, run_id) == owner
            assert (await holding.to_end()).final == {"status": "done", "exit_code": 0}
            assert (await theirs.to_end()).final == {"status": "done", "exit_code": 4}
        await place.nothing_left(run_id)
    assert first.end() == 0


async def test_a_start_that_hangs_when_the_service_ends_is_answered_all_the_same(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy
) -> None:
    proxy.heal()
    first = serve_kubernetes(kubeconfig=place.proxied_kubeconfig(proxy.url), resume_window=4)
    second = serve_kubernetes(resume_window=4)
    fault = proxy.spoil("POST jobs", late=30)
    async with client_of(first) as one, client_of(second) as other:
        key = {"Idempotency-Key": "hangs"}
        start = asyncio.create_task(one.http.post("/sse", json=one.body("echo there"), headers=key))
        await run_sync(wait_for, lambda: fault.seen)
        first.terminate()
        refused = await start
        assert (refused.status_code, refused.headers["Connection"]) == (503, "close")
        assert refused.headers["Retry-After"] == "1"
        assert first.end(20) == 0
        again = await other.run("echo there", key="hangs")
        assert (again.stdout, again.final) == (["there"], {"status": "done", "exit_code": 0})
        await place.nothing_left(again.run_id, seconds=60)


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
    first, second = (serve_kubernetes(resume_window=3) for _ in range(2))
    command = f"{place.counted('joined')}; {TICKING}"
    async with client_of(first) as one, client_of(second) as other, one.stream(command, key="k") as stream:
        await read_lines(stream, 1)
        joined = await other.run(command, key="k")
        assert joined.run_id == Transcript(stream.seen).run_id
        assert joined.stdout == LINES
        refused = await other.http.post("/sse", json=other.body("true"), headers={"Idempotency-Key": "k"})
        assert refused.status_code == 422
    assert await place.times_run("joined") == 1
    await place.nothing_left(joined.run_id, seconds=40)


async def test_a_request_that_was_held_up_for_longer_than_its_key_is_remembered_starts_nothing(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy
) -> None:
    """It may have been repeated to another replica, and that run be over: here one whose kubeconfig is slow."""
    proxy.heal()
    service = serve_kubernetes(kubeconfig=place.proxied_kubeconfig(proxy.url), resume_window=1)
    label = f"held-{secrets.token_hex(3)}"
    async with client_of(service) as client:
        stored = await client.http.put("/clusters/held", json={"kubeconfig": client.kubeconfig, "ttl": 60})
        assert stored.status_code == 200
        reading = proxy.spoil("GET secrets", held=True)
        body = client.body(place.counted(label), kubeconfig=None, cluster="held")
        asked = asyncio.create_task(client.http.post("/sse", json=body, headers={"Idempotency-Key": label}))
        await run_sync(wait_for, lambda: reading.seen)
        await asyncio.sleep(10.1)  # that is how long
        reading.held = False
        answer = await asked
        assert (answer.status_code, "held up for too long" in answer.text) == (503, True)
        again = await client.run(place.counted(label), key=label, kubeconfig=None, cluster="held")
        assert again.final == {"status": "done", "exit_code": 0}
        await place.nothing_left(again.run_id)
    assert await place.times_run(label) == 1


async def test_run_is_listed_and_cancelled_from_another_replica(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place
) -> None:
    first, second = serve_kubernetes(), serve_kubernetes()
    async with client_of(first) as one, client_of(second) as other, one.stream("echo up; sleep 99") as stream:
        await read_lines(stream, 1)
        run_id = Transcript(stream.seen).run_id
        listed = {run["run_id"]: run["status"] for run in (await other.http.get("/runs")).json()["runs"]}
        assert listed[run_id] == "running"
        assert (await other.state(run_id))["status"] == "running"
        await other.cancel(run_id)
        assert (await stream.to_end()).final == {"status": "cancelled", "exit_code": None}
        await place.nothing_left(run_id)


async def test_a_cancelled_run_whose_log_has_gone_is_told_by_those_who_have_read_it(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy
) -> None:
    """Nobody says that it was cancelled without the lines that came before."""
    proxy.heal()
    first, second = serve_kubernetes(), serve_kubernetes(kubeconfig=place.proxied_kubeconfig(proxy.url))

    async def pod_is_gone() -> bool:
        return not await place.has_pod(run_id)

    async def is_over() -> bool:
        answer = await other.http.get(f"/runs/{run_id}/events")
        assert "cancelled" not in answer.text
        return answer.status_code == 404

    log = proxy.spoil("GET pods/.*/log", times=1000, status=404, body=refusal(404, "NotFound"))
    async with client_of(first) as one, client_of(second) as other:
        async with one.stream("echo up; sleep 300", key="told") as stream:
            await read_lines(stream, 1)
            run_id = Transcript(stream.seen).run_id
            behind = asyncio.create_task(other.replay(run_id, 0))
            await run_sync(wait_for, lambda: log.seen)
            await one.cancel(run_id)
            seen = await stream.to_end()
        assert [(event.id, event.data) for event in seen.numbered][:1] == [(1, "up")]
        assert seen.final == {"status": "cancelled", "exit_code": None}
        assert (await behind).numbered == []
        proxy.heal()
        await until(pod_is_gone)
        assert (await one.replay(run_id, 0)).numbered == seen.numbered
        await until(is_over)
        key = {"Idempotency-Key": "told"}
        again = await other.http.post("/sse", json=other.body("echo up; sleep 300"), headers=key)
        assert (again.status_code, again.json()["detail"]) == (404, "the run is over, and its output is gone")
        await place.nothing_left(run_id, seconds=60)


async def test_who_takes_over_a_run_whose_log_has_gone_ends_it_behind_what_its_clients_saw(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy
) -> None:
    """Who has seen a line that the new owner never read is not taken for one that has seen the end."""
    proxy.heal()
    first, second = serve_kubernetes(), serve_kubernetes(kubeconfig=place.proxied_kubeconfig(proxy.url))

    async def pod_is_gone() -> bool:
        return not await place.has_pod(run_id)

    log = proxy.spoil("GET pods/.*/log", times=1000, status=404, body=refusal(404, "NotFound"))
    async with client_of(first) as one, client_of(second) as other:
        async with one.stream("echo up; sleep 300", timeout=300) as stream:
            await read_lines(stream, 1)
            run_id = Transcript(stream.seen).run_id
            behind = asyncio.create_task(other.replay(run_id, 1))
            await run_sync(wait_for, lambda: log.seen)
            blind = proxy.spoil(r"GET pods\?", status=503, times=1000)
            proxy.cut(r"GET pods\?.*watch")
            await run_sync(wait_for, lambda: blind.seen)
            first.kill()
            await place.akubectl("delete", "pods", f"--namespace={place.namespace}", f"--selector={ANY_RUN}={run_id}")
            await until(pod_is_gone)
            blind.times = 0
        seen = await behind
        assert (seen.final["status"], seen.final["exit_code"]) == ("error", None)
        assert [event.id for event in seen.numbered] == [2]
        assert (await other.replay(run_id, 1)).numbered == seen.numbered
    proxy.heal()
    await place.nothing_left(run_id, seconds=60)


async def test_who_takes_over_a_run_whose_pod_went_unseen_ends_it_at_once(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place
) -> None:
    """And does not say that it has not started: its Job tells that it had a pod."""
    first = serve_kubernetes()
    async with client_of(first) as one, one.stream("echo up; sleep 300", timeout=300) as stream:
        await read_lines(stream, 1)
        run_id = Transcript(stream.seen).run_id
        first.kill()
    await place.akubectl("delete", "pods", f"--namespace={place.namespace}", f"--selector={ANY_RUN}={run_id}")
    second = serve_kubernetes(start_timeout=300)
    async with client_of(second) as other:
        seen = await other.replay(run_id, 1)
    assert (seen.final["status"], seen.final["reason"]) == ("error", "PodDeleted")
    await place.nothing_left(run_id, seconds=60)


async def test_an_owner_whose_watch_is_silent_looks_before_it_says_that_a_run_never_started(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy
) -> None:
    """Nobody came for it here; others may have read all of it."""
    proxy.heal()
    first = serve_kubernetes(kubeconfig=place.proxied_kubeconfig(proxy.url), resume_window=2)
    watching = proxy.spoil(r"GET pods\?.*watch", held=True, times=1000)
    proxy.cut(r"GET pods\?.*watch")
    await run_sync(wait_for, lambda: watching.seen)

    async def has_ended() -> bool:
        return bool((await one.state(run_id))["ended"])

    async with client_of(first) as one:
        async with one.stream("echo up; exit 3") as stream:
            await stream.first("control")
            run_id = Transcript(stream.seen).run_id
        await until(has_ended)
        seen = await one.replay(run_id, 0)
        assert (seen.stdout, seen.final) == (["up"], {"status": "done", "exit_code": 3})
        watching.held = False
    proxy.heal()
    await place.nothing_left(run_id, seconds=60)


async def test_a_replica_that_is_cut_off_does_not_say_that_a_run_is_not_there(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy
) -> None:
    """It cannot know what others have begun meanwhile."""
    proxy.heal()
    first, second = serve_kubernetes(), serve_kubernetes(kubeconfig=place.proxied_kubeconfig(proxy.url))
    cut_off(proxy, second, "GET (jobs|pods)")
    async with client_of(first) as one, client_of(second) as other, one.stream(TICKING) as stream:
        await read_lines(stream, 1)
        path = f"/runs/{Transcript(stream.seen).run_id}"
        answers = [await other.http.get(path), await other.http.get(f"{path}/events"), await other.http.delete(path)]
        assert [answer.status_code for answer in answers] == [503] * 3
        proxy.heal()
        await run_sync(wait_for, lambda: second.get("/readyz").status_code == 200)
        assert_whole([], await other.replay(Transcript(stream.seen).run_id, 0))
    await place.nothing_left(Transcript(stream.seen).run_id)


async def test_a_replica_that_has_not_seen_the_pod_of_a_run_does_not_say_that_its_output_is_gone(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy
) -> None:
    """The request comes again there, with its key, when the run has ended and nobody has read it."""
    proxy.heal()
    first, second = serve_kubernetes(), serve_kubernetes(kubeconfig=place.proxied_kubeconfig(proxy.url))
    cut_off(proxy, second, r"GET pods\?(?!.*job-name)")
    key = secrets.token_hex(8)
    async with client_of(first) as one, client_of(second) as other:
        async with one.stream("echo there", key) as stream:
            await stream.first("control")
            run_id = Transcript(stream.seen).run_id

        async def has_ended() -> bool:
            return "k8s-mcp-server/ended" in (await job_of(place, run_id))["metadata"]["annotations"]

        await until(has_ended)
        await run_sync(wait_for, lambda: run_id in [run["run_id"] for run in second.get("/runs").json()["runs"]])
        async with other.stream("echo there", key) as stream:
            await stream.first("control")
            proxy.heal()
        await run_sync(wait_for, lambda: second.get("/readyz").status_code == 200)
        seen = await other.run("echo there", key)
    assert (seen.run_id, seen.stdout, seen.final) == (run_id, ["there"], {"status": "done", "exit_code": 0})
    await place.nothing_left(run_id, seconds=60)


def cut_off(proxy: ApiProxy, service: Service, calls: str) -> None:
    """Refuse such calls, be they going on, until the service says that it knows."""
    proxy.spoil(calls, status=503, times=10_000)
    proxy.cut(f"{calls}.*watch")
    wait_for(lambda: service.get("/readyz").status_code == 503)


async def test_an_owner_that_could_not_read_the_log_ends_the_run_behind_what_others_showed(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy
) -> None:
    """Who has seen a line elsewhere is not taken for one that has seen the end."""
    proxy.heal()
    first, second = serve_kubernetes(kubeconfig=place.proxied_kubeconfig(proxy.url)), serve_kubernetes()
    proxy.spoil("GET pods/.*/log", times=1000, status=404, body=refusal(404, "NotFound"))
    async with client_of(first) as one, client_of(second) as other:
        async with one.stream("echo up; sleep 300", timeout=300) as stream:
            await stream.first("control")
            run_id = Transcript(stream.seen).run_id
            async with other.follow(run_id) as elsewhere:
                await elsewhere.first("stdout")
            await place.akubectl("delete", "pods", f"--namespace={place.namespace}", f"--selector={ANY_RUN}={run_id}")
            seen = await stream.to_end()
        assert seen.final["status"] == "error"
        assert [event.id for event in (await one.replay(run_id, 1)).numbered] == [2]
    proxy.heal()
    await place.nothing_left(run_id, seconds=60)


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
    await place.nothing_left(run_id, seconds=90)
    entries = await run_sync(wait_for, lambda: [entry for log in logs for entry in ends(log, run_id)])
    assert [entry["reason"] for entry in entries] == ["ReplicaLost"]
    assert [entry["event"] for entry in audited(logs[0])] == ["run.started"]


async def test_runs_that_are_only_followed_here_push_none_of_our_own_out_of_the_replay_memory(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place
) -> None:
    first, second = serve_kubernetes(), serve_kubernetes(replay_total_bytes=1_500_000)
    megabyte = [str(number) for number in range(150_000)]
    command = f"seq 0 {len(megabyte) - 1}; sleep 2"
    async with client_of(first) as one, client_of(second) as other:
        own = await other.run(command)
        async with one.stream(command) as stream:
            await stream.first("stdout")
            theirs = Transcript(stream.seen).run_id
            copy = await other.replay(theirs, 0)
            assert (await stream.to_end()).stdout == copy.stdout == megabyte
        await place.nothing_left(theirs)
        await run_sync(wait_for, lambda: second.get(f"/runs/{theirs}").status_code == 404)
        assert (await other.replay(own.run_id, 0)).stdout == megabyte


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
