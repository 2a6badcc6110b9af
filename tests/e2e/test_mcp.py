"""MCP with several replicas behind one address: any of them answers, whichever began what is meant."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest

from tests.e2e.place import Place
from tests.e2e.warm import until
from tests.mcp import raw
from tests.mcp.clients import python_http
from tests.support.service import Service, StartService

pytestmark = pytest.mark.cluster


def data_of(answer: raw.Json) -> dict[str, Any]:
    assert "structuredContent" in answer["result"], answer
    return answer["result"]["structuredContent"]


@pytest.fixture(scope="module")
def replicas(serve_shared: StartService) -> tuple[Service, Service]:
    return serve_shared(), serve_shared()


@pytest.fixture
async def one(replicas: tuple[Service, Service]) -> AsyncIterator[httpx.AsyncClient]:
    async with raw.http(replicas[0]) as client:
        yield client


@pytest.fixture
async def other(replicas: tuple[Service, Service]) -> AsyncIterator[httpx.AsyncClient]:
    async with raw.http(replicas[1]) as client:
        yield client


async def test_request_is_cancelled_through_another_replica(
    one: httpx.AsyncClient, other: httpx.AsyncClient, kubeconfig: str, place: Place
) -> None:
    """The balancer sends each request where it likes; a session is not bound to a replica."""
    session = {"Mcp-Session-Id": (await other.post("/mcp", json=raw.initialize())).headers["mcp-session-id"]}
    message = raw.tool("run_command", command="echo ready; sleep 300", kubeconfig=kubeconfig)
    ended: list[dict[str, Any]] = []

    async def call() -> None:
        ended.append(data_of(raw.answer(await one.post("/mcp", json=message, headers=session))))

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        await running(other)
        await printed(one)
        await other.post("/mcp", json=raw.cancelled(message["id"]), headers=session)
    assert ended[0]["status"] == "cancelled"
    assert ended[0]["stdout"] == "ready\n"
    await place.nothing_left(ended[0]["run_id"])


async def test_cluster_is_stored_for_every_replica(
    one: httpx.AsyncClient, other: httpx.AsyncClient, kubeconfig: str
) -> None:
    stored = await one.put("/clusters/prod", json={"kubeconfig": kubeconfig})
    assert stored.status_code in (200, 201), stored.text
    clusters = data_of(raw.answer(await other.post("/mcp", json=raw.tool("list_clusters"))))["clusters"]
    assert [cluster["name"] for cluster in clusters] == ["prod"]
    message = raw.tool("run_command", command="kubectl get namespace kube-system -o name", cluster="prod")
    assert data_of(raw.answer(await other.post("/mcp", json=message)))["stdout"] == "namespace/kube-system\n"
    await other.delete("/clusters/prod")
    message = raw.tool("run_command", command="true", cluster="prod")
    assert raw.answer(await one.post("/mcp", json=message))["result"]["isError"]


async def test_command_goes_on_when_its_replica_ends(
    serve_kubernetes: StartService, other: httpx.AsyncClient, kubeconfig: str
) -> None:
    """The model is told so, and reads on wherever its next call arrives."""
    ending = serve_kubernetes(shutdown_grace=0.1)
    arguments = {"command": "echo before; sleep 8; echo after", "kubeconfig": kubeconfig}
    async with python_http(f"{ending.url}/mcp") as client:
        await client.tools()  # which the client would ask for after its first call
        call = client.start("run_command", arguments, progress=True)
        await call.until_reported("before")
        ending.terminate()
        result = await call.result()
    assert result.is_error
    assert result.text.startswith("another replica goes on with the run; read_output reads it, run_id ")
    run_id = result.text.rpartition(" ")[2]
    lines: list[str] = []
    page: dict[str, Any] = {"status": "running"}
    while page["status"] in ("pending", "running") or page["next_line"]:
        message = raw.tool("read_output", run_id=run_id, start_line=len(lines) + 1)
        page = data_of(raw.answer(await other.post("/mcp", json=message)))
        lines += page["text"].split("\n") if page["lines"] else []
    assert lines == ["before", "after"]
    assert page["status"] == "done"


async def test_long_result_is_read_on_wherever_the_next_call_arrives(
    replicas: tuple[Service, Service],
    one: httpx.AsyncClient,
    other: httpx.AsyncClient,
    kubeconfig: str,
    place: Place,
) -> None:
    """The command has ended, and its Secret is gone; only its log is still there, until somebody has read it."""
    message = raw.tool("run_command", command="seq 20000; exit 3", kubeconfig=kubeconfig)
    result = data_of(raw.answer(await one.post("/mcp", json=message)))
    assert (result["exit_code"], result["truncated"]) == (3, True)
    run_id = result["run_id"]
    assert await status_of(run_id, other) == "done"

    async def has_no_secret() -> bool:  # it goes when the final event is there
        return await place.items("secrets", f"k8s-mcp-server/run={run_id}") == []

    await until(has_no_secret)

    async def page(replica: httpx.AsyncClient, start: int, most: int) -> dict[str, Any]:
        message = raw.tool("read_output", run_id=run_id, start_line=start, max_lines=most)
        return data_of(raw.answer(await replica.post("/mcp", json=message)))

    for replica, start in ((other, 5001), (one, 7001), (other, 9001)):
        read = await page(replica, start, 3)
        assert read["text"] == f"{start}\n{start + 1}\n{start + 2}"
        assert (read["status"], read["next_line"], read["total_lines"]) == ("done", start + 3, 20000)
    last = await page(other, 19_999, 10)
    assert (last["text"], last["next_line"]) == ("19999\n20000", None)


async def test_long_result_of_a_replica_that_was_killed_is_read_on(
    serve_kubernetes: StartService, other: httpx.AsyncClient, kubeconfig: str, place: Place
) -> None:
    """Once it is read to its end nothing is left."""
    first = serve_kubernetes()
    async with raw.http(first) as client:
        message = raw.tool("run_command", command="seq 20000", kubeconfig=kubeconfig)
        result = data_of(raw.answer(await client.post("/mcp", json=message)))
        run_id = result["run_id"]
        assert await status_of(run_id, other) == "done"
    first.kill()
    message = raw.tool("read_output", run_id=run_id, start_line=19_990, max_lines=100)
    read = data_of(raw.answer(await other.post("/mcp", json=message)))
    assert read["text"].split("\n") == [str(number) for number in range(19_990, 20_001)]
    await place.nothing_left(run_id)


async def test_long_result_nobody_reads_on_goes_with_the_time_for_replay(
    serve_kubernetes: StartService, kubeconfig: str, place: Place
) -> None:
    async with raw.http(serve_kubernetes(replay_seconds=3)) as client:
        message = raw.tool("run_command", command="seq 20000", kubeconfig=kubeconfig)
        result = data_of(raw.answer(await client.post("/mcp", json=message)))
    assert result["truncated"]
    await place.nothing_left(result["run_id"], seconds=15)


async def test_short_result_leaves_nothing(one: httpx.AsyncClient, kubeconfig: str, place: Place) -> None:
    message = raw.tool("run_command", command="seq 10", kubeconfig=kubeconfig)
    result = data_of(raw.answer(await one.post("/mcp", json=message)))
    assert not result["truncated"]
    await place.nothing_left(result["run_id"])


async def test_command_that_is_still_running_is_read_to_its_end_wherever_the_next_call_arrives(
    one: httpx.AsyncClient, other: httpx.AsyncClient, kubeconfig: str, place: Place
) -> None:
    message = raw.tool("run_command", command="echo one; sleep 12; echo two; exit 3", kubeconfig=kubeconfig, wait=6)
    result = data_of(raw.answer(await one.post("/mcp", json=message)))
    assert (result["status"], result["exit_code"]) == ("running", None)
    message = raw.tool("read_output", run_id=result["run_id"], start_line=1, wait=60)
    read = data_of(raw.answer(await other.post("/mcp", json=message, timeout=90)))
    assert (read["status"], read["exit_code"], read["text"]) == ("done", 3, "one\ntwo")
    message = raw.tool("read_output", run_id=result["run_id"], start_line=2)
    assert data_of(raw.answer(await other.post("/mcp", json=message)))["text"] == "two"


@pytest.mark.parametrize("wait", [2, 60], ids=["its call was answered", "its call was waiting"])
async def test_command_that_outlives_its_call_outlives_its_replica_as_well(
    serve_kubernetes: StartService, kubeconfig: str, place: Place, wait: int
) -> None:
    """For as long as a model may take to ask for it, and not for the resume window: nobody follows it meanwhile."""
    settings = {"resume_window": 1, "shutdown_grace": 0.1, "replay_seconds": 3}
    ending, other = serve_kubernetes(**settings), serve_kubernetes(**settings)

    async def call() -> None:
        message = raw.tool("run_command", command="echo one; sleep 15; echo two", kubeconfig=kubeconfig, wait=wait)
        async with raw.http(ending) as client:
            await client.post("/mcp", json=message)
        answered.set()

    answered = anyio.Event()
    async with anyio.create_task_group() as group, raw.http(other) as client:
        group.start_soon(call)
        async with raw.http(ending) as owner:
            run_id = await running(owner, "sleep 15")
        if wait < 15:
            await answered.wait()
        await until(lambda: place.has_started(run_id))
        ending.terminate()
        await until(lambda: place.has_ended(run_id))
        message = raw.tool("read_output", run_id=run_id, start_line=1, wait=30)
        read = data_of(raw.answer(await client.post("/mcp", json=message)))
        assert (read["status"], read["text"]) == ("done", "one\ntwo")
        await place.nothing_left(run_id, 60)


async def test_tool_that_only_reads_does(one: httpx.AsyncClient, kubeconfig: str) -> None:
    listed = raw.answer(await one.post("/mcp", json=raw.request("tools/list")))["result"]["tools"]
    [tool] = [tool for tool in listed if tool["name"] == "run_read_only"]
    assert tool["annotations"]["readOnlyHint"]
    command = "kubectl get namespace kube-system -o name; kubectl create namespace never-there"
    message = raw.tool("run_read_only", command=command, kubeconfig=kubeconfig)
    data = data_of(raw.answer(await one.post("/mcp", json=message)))
    assert data["stdout"] == "namespace/kube-system\n"
    assert data["exit_code"] != 0
    message = raw.tool("run_read_only", command="true", kubeconfig=kubeconfig, read_only=False)
    assert raw.answer(await one.post("/mcp", json=message))["result"]["isError"]
    message = raw.tool("run_command", command="kubectl get namespace never-there", kubeconfig=kubeconfig)
    assert "NotFound" in data_of(raw.answer(await one.post("/mcp", json=message)))["stderr"]


async def test_kubectl_edit_fails_at_once(one: httpx.AsyncClient, kubeconfig: str) -> None:
    message = raw.tool("run_command", command="kubectl edit namespace kube-system", kubeconfig=kubeconfig, timeout=60)
    data = data_of(raw.answer(await one.post("/mcp", json=message)))
    assert (data["status"], data["exit_code"]) == ("done", 1)
    assert "there is no editor here: use kubectl patch" in data["stderr"]


async def status_of(run_id: str, replica: httpx.AsyncClient) -> str:
    """What a replica says of a run that another one carried out, once it has heard that the run is over."""
    with anyio.fail_after(10):
        while True:
            status = (await replica.get(f"/runs/{run_id}")).json()["status"]
            if status not in ("pending", "running"):
                return status
            await anyio.sleep(0.05)


async def running(replica: httpx.AsyncClient, command: str = "") -> str:
    """Wait until a replica knows of a run that has begun, with that in its command if it is known; its id."""
    with anyio.fail_after(60):
        while True:
            runs = (await replica.get("/runs")).json()["runs"]
            begun = [
                run["run_id"] for run in runs if run["status"] == "running" and command in (run["command"] or "")
            ]
            if begun:
                return str(begun[0])
            await anyio.sleep(0.05)


async def printed(replica: httpx.AsyncClient) -> None:
    """Wait until a command that this replica carries out has printed something."""
    with anyio.fail_after(60):
        while True:
            runs = (await replica.get("/runs")).json()["runs"]
            if any(run["status"] == "running" and run["lines"] for run in runs):
                return
            await anyio.sleep(0.05)


async def test_pod_of_the_command_in_a_listing_is_named_as_the_description_says(
    one: httpx.AsyncClient, kubeconfig: str
) -> None:
    message = raw.tool("run_command", command="kubectl get pods -A -o name | grep ^pod/run-", kubeconfig=kubeconfig)
    data = data_of(raw.answer(await one.post("/mcp", json=message)))
    assert f"pod/run-{data['run_id']}" in data["stdout"]
