"""Things that go wrong in the middle of a run: the right events all the same, or an explicit error; no line twice,
none silently missing, and the command runs once.
"""

import asyncio
import json
import re
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from urllib.parse import urlsplit

import anyio
import pytest
from anyio.to_thread import run_sync

from k8s_mcp.runner.frames import HELLO, Encoder
from tests.e2e.api_proxy import ApiProxy, Fault, refusal
from tests.e2e.cutter import Cutter, cutter
from tests.e2e.place import ANY_RUN, Place
from tests.e2e.warm import until
from tests.support.client import Client
from tests.support.events import Stream, Transcript
from tests.support.service import Service, StartService, wait_for

pytestmark = pytest.mark.cluster

DONE = {"status": "done", "exit_code": 0}
ClientOf = Callable[[Service], Client]
_labels = count()


@pytest.fixture
def label(request: pytest.FixtureRequest) -> str:
    """Names the runs of this test."""
    return f"test-{next(_labels)}"


@pytest.fixture(scope="module")
def proxied_server(serve_shared: StartService, place: Place, proxy: ApiProxy) -> Service:
    """A service that reaches the API server through `proxy`."""
    return serve_shared(kubeconfig=place.proxied_kubeconfig(proxy.url))


@pytest.fixture
async def proxied(proxied_server: Service, client_of: ClientOf, proxy: ApiProxy) -> AsyncGenerator[Client]:
    """A client of that service; faults end with the test."""
    await until_ready(proxied_server)
    proxy.heal()
    async with client_of(proxied_server) as client:
        yield client
    proxy.heal()


async def until_ready(service: Service) -> None:
    await run_sync(wait_for, lambda: service.get("/readyz").status_code == 200)


def lines(number: int) -> list[str]:
    return list(map(str, range(1, number + 1)))


async def ran_once(place: Place, label: str, run_id: str) -> None:
    assert await place.times_run(label) == 1
    await place.nothing_left(run_id)


# The API server and what is on the way to it


async def test_log_that_ends_early_behind_the_pod_s_end_is_read_again(
    proxied: Client, proxy: ApiProxy, place: Place, label: str
) -> None:
    """Its answer is whole, as far as HTTP goes: what passes it on has ended it well."""
    early = [Fault("", status=200, body=Encoder().control(HELLO), headers={"Content-Type": "text/plain"})] * 2
    pod_has_ended = threading.Event()

    def until_it_has_ended(call: str) -> Fault | None:
        if not re.search("GET pods/.*/log.*container=runner", call):
            return None
        if not pod_has_ended.is_set():
            return Fault("", status=503)
        return early.pop() if early else None

    proxy.noise = until_it_has_ended
    async with proxied.stream(f"{place.counted(label)}; seq 3; exit 3") as stream:
        run_id = Transcript([await stream.first("control")]).run_id

        async def has_ended() -> bool:
            pods = await place.items("pods", f"{ANY_RUN}={run_id}")
            return [pod["status"]["phase"] for pod in pods] == ["Failed"]

        await until(has_ended)
        pod_has_ended.set()
        seen = await stream.to_end()
    assert early == []
    assert (seen.stdout, seen.final) == (lines(3), {"status": "done", "exit_code": 3})
    await ran_once(place, label, seen.run_id)


async def test_log_cut(proxied: Client, proxy: ApiProxy, place: Place, label: str) -> None:
    """After so many bytes, again and again; then it may be read to its end."""
    faults = [proxy.spoil("GET pods/.*/log", cut=size) for size in (1, 150, 5000, 5001, 20_000, 77_777)]
    seen = await proxied.run(f"{place.counted(label)}; for i in {{1..8}}; do seq 20000; sleep 0.2; done; exit 3")
    assert not any(fault.times for fault in faults)
    assert seen.stdout == lines(20_000) * 8
    assert [event.id for event in seen.numbered] == list(range(1, 160_002))
    assert seen.final == {"status": "done", "exit_code": 3}
    await ran_once(place, label, seen.run_id)


async def test_log_cut_in_silence(proxied: Client, proxy: ApiProxy, place: Place, label: str) -> None:
    async with proxied.stream(f"{place.counted(label)}; echo one; sleep 3; echo two") as stream:
        await stream.first("stdout")
        proxy.cut("GET pods/.*/log")
        seen = await stream.to_end()
    assert seen.stdout == ["one", "two"]
    assert seen.final == DONE
    await ran_once(place, label, seen.run_id)


CALLS = {
    "Job": "POST jobs",
    "Secret": "POST secrets",
    "resume": "PATCH jobs",
    "log": "GET pods/.*/log",
    "delete Secret": "DELETE secrets",
    "delete Job": "DELETE jobs",
}


@pytest.mark.parametrize("pattern", CALLS.values(), ids=CALLS.keys())
async def test_call_that_fails_for_a_while(
    proxied: Client, proxy: ApiProxy, place: Place, label: str, pattern: str
) -> None:
    """First the API server does what it is told, and its answer is lost; then it is overloaded, and unwell.

    The other way round for what is deleted: the watch shows that it is gone, so nobody asks again.
    """
    refusals = {429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}
    later = {"Retry-After": "1"}
    deleting = pattern.startswith("DELETE")
    faults = [] if deleting else [proxy.spoil(pattern, cut=0)]
    for status, reason in refusals.items():
        faults.append(proxy.spoil(pattern, status=status, body=refusal(status, reason), headers=later))
    if deleting:
        faults.append(proxy.spoil(pattern, cut=0))
    seen = await proxied.run(f"{place.counted(label)}; seq 100")
    await ran_once(place, label, seen.run_id)
    assert not any(fault.times for fault in faults)
    assert seen.stdout == lines(100)
    assert seen.final == DONE


async def test_call_refused_for_good(proxied: Client, proxy: ApiProxy, place: Place, label: str) -> None:
    proxy.spoil("POST secrets", status=500, body=refusal(500, "InternalError", "etcd is unwell"), times=99)
    seen = await proxied.run(place.counted(label))
    assert seen.final == {
        "status": "error",
        "exit_code": None,
        "reason": "InternalError",
        "message": "etcd is unwell",
    }
    assert await place.times_run(label) == 0
    await place.nothing_left(seen.run_id)


async def test_answer_that_is_no_json(proxied: Client, proxy: ApiProxy, place: Place, label: str) -> None:
    """Such as the error page of a load balancer."""
    for pattern in CALLS.values():
        proxy.spoil(pattern, status=502, body=b"<html>Bad Gateway</html>", headers={"Content-Type": "text/html"})
    seen = await proxied.run(f"{place.counted(label)}; seq 100")
    assert seen.stdout == lines(100)
    assert seen.final == DONE
    await ran_once(place, label, seen.run_id)


EXPIRED = json.dumps({"type": "ERROR", "object": json.loads(refusal(410, "Expired"))}).encode() + b"\n"


@pytest.mark.parametrize(
    "fault", [{"status": 410, "body": refusal(410, "Expired")}, {"status": 200, "body": EXPIRED}]
)
async def test_watch_expired(
    proxied: Client, proxy: ApiProxy, place: Place, label: str, fault: dict[str, object]
) -> None:
    """What happened in between is in the new list: here the start of the pod, and that it is gone."""
    async with proxied.stream(f"{place.counted(label)}; seq 100; sleep 1; echo end") as stream:
        await stream.first("control")
        spoilt = proxy.spoil("GET (jobs|pods)\\?.*watch=true", times=6, **fault)
        proxy.cut("GET (jobs|pods)\\?.*watch=true")
        seen = await stream.to_end()
    assert spoilt.seen > 1
    assert seen.stdout == [*lines(100), "end"]
    assert seen.final == DONE
    await ran_once(place, label, seen.run_id)


async def test_watches_that_end_at_once(proxied: Client, proxy: ApiProxy, place: Place, label: str) -> None:
    """They are opened again with growing pauses, not as fast as can be."""
    async with proxied.stream(f"{place.counted(label)}; seq 100; sleep 4; echo end") as stream:
        await stream.first("stdout")
        proxy.spoil("watch=true", times=10_000, status=200)
        proxy.cut("watch=true")
        tries = len(proxy.calls)
        await anyio.sleep(3)
        assert len(proxy.calls) - tries < 60
        proxy.heal()
        seen = await stream.to_end()
    assert seen.stdout == [*lines(100), "end"]
    assert seen.final == DONE
    await ran_once(place, label, seen.run_id)


async def test_its_start_is_never_confirmed(proxied: Client, proxy: ApiProxy, place: Place, label: str) -> None:
    """The Job is resumed, but no answer says so: the command may have run, so that is no end."""
    command = f"{place.counted(label)}; echo fine; exit 3"
    proxy.spoil("PATCH jobs", cut=0, times=1000)
    seen = await proxied.run(command)
    proxy.heal()
    assert (seen.stdout, seen.final) == (["fine"], {"status": "done", "exit_code": 3})
    await ran_once(place, label, seen.run_id)


async def test_its_start_is_confirmed_when_all_is_over(
    proxied: Client, proxy: ApiProxy, place: Place, label: str
) -> None:
    """All news of the pod come before the answer to the call that starts it, and none after."""
    late = proxy.spoil("PATCH jobs", late=8)
    with anyio.fail_after(50):
        seen = await proxied.run(f"{place.counted(label)}; echo fine")
    assert late.seen == 1
    assert (seen.stdout, seen.final) == (["fine"], DONE)
    await ran_once(place, label, seen.run_id)


@pytest.mark.parametrize("lost", [False, True], ids=["unseen", "and the answer to it was lost"])
async def test_cancelled_before_its_start_was_seen(
    proxied: Client, proxy: ApiProxy, serve_kubernetes: StartService, client_of: ClientOf, place: Place, lost: bool
) -> None:
    """Another replica has seen output already: both tell the same."""
    made = proxy.spoil("POST secrets", status=503, times=1000)
    async with proxied.stream("echo up; sleep 99") as stream, client_of(serve_kubernetes()) as other:
        await stream.first("control")
        run_id = Transcript(stream.seen).run_id
        await run_sync(wait_for, lambda: made.seen)
        blind = proxy.spoil(r"GET pods\?", status=503, times=1000)
        proxy.cut(r"GET pods\?.*watch")
        await run_sync(wait_for, lambda: blind.seen)
        if lost:
            proxy.spoil("PATCH jobs", cut=0)
            proxy.spoil("PATCH jobs", status=503, times=1000)
        made.times = 0
        async with other.follow(run_id) as elsewhere:
            await elsewhere.first("stdout")
            asked = await proxied.http.delete(f"/runs/{run_id}")
            assert asked.status_code == (503 if lost else 202), asked.text
            proxy.heal()
            seen, also = await asyncio.gather(stream.to_end(), elsewhere.to_end())
    assert seen.final == also.final == {"status": "cancelled", "exit_code": None}
    assert seen.stdout == also.stdout == ["up"]
    await place.nothing_left(run_id, seconds=40)


async def test_cancelled_before_its_log_was_reached(
    proxied: Client, proxy: ApiProxy, place: Place, label: str
) -> None:
    """The log goes with the pod: what was printed by then is read first."""
    log = proxy.spoil("GET pods/.*/log.*container=runner", held=True)
    async with proxied.stream(f"echo there; {place.counted(label)}; sleep 100") as stream:
        await stream.first("control")
        run_id = Transcript(stream.seen).run_id
        await until_run(place, label)
        await proxied.cancel(run_id)
        await nothing_happens_to_its_pod(place, run_id)
        log.held = False
        seen = await stream.to_end()
    assert log.seen > 0
    assert (seen.stdout, seen.final) == (["there"], {"status": "cancelled", "exit_code": None})
    assert "gap" not in [event.control["status"] for event in seen.events if event.name == "control"]
    await ran_once(place, label, run_id)


async def test_cancelled_while_its_pod_starts(proxied: Client, proxy: ApiProxy, place: Place, label: str) -> None:
    """It was not there yet when the note was begun that it is to go, and is when that is done."""
    log = proxy.spoil("GET pods/.*/log.*container=runner", held=True)
    async with proxied.stream(f"echo there; {place.counted(label)}; sleep 100") as stream:
        await stream.first("control")
        run_id = Transcript(stream.seen).run_id
        await until(lambda: place.has_pod(run_id), 30)
        note = proxy.spoil("PATCH jobs", held=True)
        asking = asyncio.create_task(proxied.http.delete(f"/runs/{run_id}"))  # answered when the note is there
        await until_run(place, label)
        note.held = False
        await asking
        await nothing_happens_to_its_pod(place, run_id)
        log.held = False
        seen = await stream.to_end()
    assert note.seen > 0
    assert (seen.stdout, seen.final) == (["there"], {"status": "cancelled", "exit_code": None})
    await ran_once(place, label, run_id)


async def nothing_happens_to_its_pod(place: Place, run_id: str) -> None:
    """For a few seconds, or as long as it is there."""
    with anyio.move_on_after(3):
        while await place.has_pod(run_id):  # noqa: ASYNC110 - it is in the cluster
            await anyio.sleep(0.1)


async def until_run(place: Place, label: str) -> None:
    with anyio.fail_after(30):
        while not await place.times_run(label):  # noqa: ASYNC110 - it is in the cluster that it becomes so
            await anyio.sleep(0.1)


async def test_cancel_while_the_api_server_refuses(proxied: Client, proxy: ApiProxy, place: Place) -> None:
    async with proxied.stream("echo go; sleep 99") as stream:
        await stream.first("stdout")
        fault = proxy.spoil("DELETE", status=503, body=refusal(503, "ServiceUnavailable"), times=99)
        await proxied.cancel(Transcript(stream.seen).run_id)
        await run_sync(wait_for, lambda: fault.seen > 5)
        proxy.heal()
        seen = await stream.to_end()
    assert seen.final == {"status": "cancelled", "exit_code": None}
    await place.nothing_left(seen.run_id)


async def test_a_cancel_of_which_the_cluster_cannot_be_told_is_not_accepted(
    proxied: Client, proxy: ApiProxy, place: Place
) -> None:
    """Were the replica killed now, nobody would know of it: who asked for it is to ask again. It goes on trying."""
    async with proxied.stream("echo go; sleep 99") as stream:
        await stream.first("stdout")
        run_id = Transcript(stream.seen).run_id
        note = proxy.spoil("PATCH jobs", status=503, times=1000)
        refused = await proxied.http.delete(f"/runs/{run_id}")
        assert refused.status_code == 503, refused.text
        assert "ask again" in refused.json()["detail"]
        assert note.seen > 0
        proxy.heal()
        await proxied.cancel(run_id)
        seen = await stream.to_end()
    assert seen.final == {"status": "cancelled", "exit_code": None}
    await place.nothing_left(run_id)


# Connections, as they are


@pytest.fixture(scope="module")
def cut(place: Place) -> Iterator[Cutter]:
    host, _, port = urlsplit(str(place.server["server"])).netloc.rpartition(":")
    with cutter(host, int(port)) as cut:
        yield cut


@pytest.fixture(scope="module")
def cut_server(serve_shared: StartService, place: Place, cut: Cutter) -> Service:
    """A service whose connections to the API server can be cut."""
    change = {"server": f"https://127.0.0.1:{cut.port}", "tls-server-name": "kubernetes"}
    return serve_shared(kubeconfig=place.kubeconfig("cut", change), grace_period=0)


async def test_every_connection_cut_again_and_again(
    cut_server: Service, cut: Cutter, client_of: ClientOf, place: Place, label: str
) -> None:
    script = f"{place.counted(label)}; for i in {{1..100}}; do seq 1000; sleep 0.05; done; exit 4"
    async with client_of(cut_server) as client:
        run = asyncio.create_task(client.run(script))
        while not (await asyncio.wait([run], timeout=0.3))[0]:
            cut.cut()
        seen = await run
    assert cut.cuts > 10
    assert seen.stdout == lines(1000) * 100
    assert seen.final == {"status": "done", "exit_code": 4}
    await ran_once(place, label, seen.run_id)


async def test_every_connection_cut_after_some_bytes(
    cut_server: Service, cut: Cutter, client_of: ClientOf, place: Place, label: str
) -> None:
    await until_ready(cut_server)
    script = f"{place.counted(label)}; for i in {{1..40}}; do seq 1000; sleep 0.05; done; exit 4"
    cut.limit = 30_000
    cut.cut()
    try:
        async with client_of(cut_server) as client, client.stream(script) as stream:
            await stream.first("stdout")
            await anyio.sleep(1)
            cut.limit = None
            seen = await stream.to_end()
    finally:
        cut.limit = None
    assert seen.stdout == lines(1000) * 40
    assert seen.final == {"status": "done", "exit_code": 4}
    await ran_once(place, label, seen.run_id)


async def test_unreachable_for_a_while(
    cut_server: Service, cut: Cutter, client_of: ClientOf, place: Place, label: str
) -> None:
    """A new run is refused; one that runs goes on, and ends as soon as its log can be read again: also when that is
    later than it can have lasted.
    """
    await until_ready(cut_server)
    command = f"{place.counted(label)}; seq 100; sleep 1"
    async with client_of(cut_server) as client, client.stream(command, timeout=2) as stream:
        await stream.first("stdout")
        cut.refuses = True
        try:
            cut.cut()
            await run_sync(wait_for, lambda: cut_server.get("/readyz").status_code == 503)
            refused = await client.http.post("/sse", json=client.body("true"))
            assert refused.status_code == 503
            assert refused.headers["retry-after"]
            await anyio.sleep(40)  # its timeout, the half minute in which its runner may still report, a pause
        finally:
            cut.refuses = False
        seen = await stream.to_end()
    assert seen.stdout == lines(100)
    assert seen.final == DONE
    await ran_once(place, label, seen.run_id)


# Objects that somebody takes away


@asynccontextmanager
async def running(
    client: Client, place: Place, label: str, then: str = "sleep 60"
) -> AsyncGenerator[tuple[Stream, str]]:
    """A run that has said `go`, and its id."""
    async with client.stream(f"{place.counted(label)}; seq 100; echo go; {then}") as stream:
        async for event in stream:
            if event.data == "go":
                break
        yield stream, Transcript(stream.seen).run_id


def assert_lost(seen: Transcript, *reasons: str) -> None:
    assert seen.stdout[:101] == [*lines(100), "go"]
    assert seen.final["status"] == "error"
    assert seen.final["exit_code"] is None
    assert seen.final["reason"] in reasons
    assert seen.final["message"]


@pytest.mark.parametrize("propagation", ["background", "foreground", "orphan"])
async def test_job_deleted(client: Client, place: Place, label: str, propagation: str) -> None:
    async with running(client, place, label, "sleep 3") as (stream, run_id):
        where = f"--namespace={place.namespace}"
        await place.akubectl("delete", f"job/run-{run_id}", where, f"--cascade={propagation}", "--wait=false")
        seen = await stream.to_end()
    if propagation == "orphan":  # its pod goes on
        assert seen.final == DONE
    else:
        assert_lost(seen, "JobDeleted")
    await ran_once(place, label, run_id)


async def test_pod_deleted_by_force(client: Client, place: Place, label: str) -> None:
    async with running(client, place, label) as (stream, run_id):
        pod = (await place.one("pods", run_id))["metadata"]["name"]
        await place.akubectl("delete", f"pod/{pod}", f"--namespace={place.namespace}", "--force", "--grace-period=0")
        seen = await stream.to_end()
    assert_lost(seen, "PodDeleted")
    await ran_once(place, label, run_id)


async def test_pod_deleted(client: Client, place: Place, label: str) -> None:
    """The command gets its SIGTERM and its grace period, and its last words are heard."""
    farewell = "trap 'echo bye; exit' TERM; sleep 60 & wait"
    async with running(client, place, label, farewell) as (stream, run_id):
        pod = (await place.one("pods", run_id))["metadata"]["name"]
        await place.akubectl("delete", f"pod/{pod}", f"--namespace={place.namespace}", "--wait=false")
        seen = await stream.to_end()
    assert "bye" in seen.stdout
    assert_lost(seen, "PodDeleted")
    await ran_once(place, label, run_id)


async def test_pod_evicted(client: Client, place: Place, label: str) -> None:
    async with running(client, place, label) as (stream, run_id):
        pod = (await place.one("pods", run_id))["metadata"]["name"]
        path = f"/api/v1/namespaces/{place.namespace}/pods/{pod}/eviction"
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
        await place.akubectl("create", f"--raw={path}", "--filename=-", stdin=json.dumps(eviction))
        seen = await stream.to_end()
    assert_lost(seen, "EvictionByEvictionAPI")
    await ran_once(place, label, run_id)


async def test_secret_deleted(client: Client, place: Place, label: str) -> None:
    """The pod has it already."""
    async with running(client, place, label, "sleep 1") as (stream, run_id):
        await place.akubectl("delete", f"secret/run-{run_id}", f"--namespace={place.namespace}")
        seen = await stream.to_end()
    assert seen.final == DONE
    await ran_once(place, label, run_id)


async def test_secret_deleted_before_the_pod_has_it(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place, label: str
) -> None:
    node = f"{place.namespace}/later"
    service = serve_kubernetes(runner_node_selector=json.dumps({node: "yes"}), start_timeout=6)
    async with client_of(service) as client, client.stream(place.counted(label)) as stream:
        run_id = (await stream.first("control")).control["run_id"]
        await stream.first("control")
        await place.akubectl("delete", f"secret/run-{run_id}", f"--namespace={place.namespace}")
        await place.akubectl("label", "nodes", "--all", f"{node}=yes")
        try:
            seen = await stream.to_end()
        finally:
            await place.akubectl("label", "nodes", "--all", f"{node}-")
    assert (seen.final["status"], seen.final["reason"]) == ("error", "FailedMount")
    assert await place.times_run(label) == 0
    await place.nothing_left(run_id)


async def test_job_past_its_deadline(client: Client, place: Place, label: str) -> None:
    """Such as when the runner's own clock stands still: Kubernetes ends the run, and says so."""
    async with running(client, place, label) as (stream, run_id):
        patch = json.dumps({"spec": {"activeDeadlineSeconds": 1}})
        await place.akubectl("patch", f"job/run-{run_id}", f"--namespace={place.namespace}", f"--patch={patch}")
        seen = await stream.to_end()
    assert_lost(seen, "DeadlineExceeded")
    await ran_once(place, label, run_id)
