"""One command on several clusters: a section for each, and none that holds up the others."""

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.mcp import raw
from tests.mcp.clients import McpClient, data_of, python_http, until
from tests.mcp.conftest import Connect
from tests.support.kubeconfigs import fake
from tests.support.service import Service, StartService, processes_with, services

NAMES = tuple(f"cluster-{number}" for number in range(10))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tools: Path) -> Iterator[Service]:
    """One with ten clusters stored."""
    with services(tmp_path_factory.mktemp("server"), tools) as start:
        yield with_clusters(start())


@pytest.fixture
async def client(server: Service) -> AsyncIterator[McpClient]:
    async with python_http(f"{server.url}/mcp") as client:
        yield client


def with_clusters(service: Service) -> Service:
    for name in NAMES:
        kubeconfig = fake().replace("192.0.2.1:6443", f"192.0.2.1:{7000 + int(name[-1])}", 1)
        answer = httpx.put(f"{service.url}/clusters/{name}", json={"kubeconfig": kubeconfig}, trust_env=False)
        answer.raise_for_status()
    return service


WHICH = 'grep -o "192.0.2.1:[0-9]*" "$KUBECONFIG" | head -n 1'


async def test_each_cluster_has_its_section(connect: Connect, server: Service) -> None:
    async with connect(server) as client:
        command = (
            f"{WHICH}; sleep 1"  # progress that comes in one piece with the result, the TypeScript client forgets
        )
        call = client.start("run_command", {"command": command, "clusters": [*NAMES[:3], NAMES[0]]}, progress=True)
        result = await call.result()
    assert not result.is_error
    data = data_of(result)
    assert [section["cluster"] for section in data["results"]] == list(NAMES[:3])
    assert [section["stdout"] for section in data["results"]] == [f"192.0.2.1:{7000 + n}\n" for n in range(3)]
    assert (data["status"], data["failed"]) == ("done", [])
    sections = result.text.split("\n## ")[1:]
    assert [section.split("\n")[0] for section in sections] == list(NAMES[:3])
    assert "192.0.2.1:7001" in sections[1]
    assert "cluster-1: 192.0.2.1:7001" in call.reported


async def test_result_says_where_it_failed(client: McpClient) -> None:
    command = f"{WHICH} | grep -q 7001 && exit 4; echo fine"
    result = await client.call("run_command", command=command, clusters=["cluster-0", "cluster-1", "nowhere"])
    assert result.is_error
    assert "\nfailed on cluster-1, nowhere\n" in result.text
    data = data_of(result)
    assert data["failed"] == ["cluster-1", "nowhere"]
    assert [section["exit_code"] for section in data["results"]] == [0, 4, None]
    assert "no such cluster. There are: cluster-0, cluster-1" in result.text


async def test_cluster_that_does_not_answer_holds_up_none(client: McpClient) -> None:
    command = f"{WHICH} | grep -q 7001 && sleep 300; echo fine"
    result = await client.call("run_command", command=command, clusters=list(NAMES[:3]), wait=3)
    data = data_of(result)
    assert [section["status"] for section in data["results"]] == ["done", "running", "done"]
    assert data["status"] == "running"
    assert [section["stdout"] for section in data["results"]] == ["fine\n", "", "fine\n"]
    assert data["results"][0]["seconds"] < 3
    await client.call("cancel_run", run_id=data["results"][1]["run_id"])


async def test_they_take_turns_where_the_quota_is_smaller(serve: StartService) -> None:
    service = with_clusters(serve(max_runs=2))
    async with python_http(f"{service.url}/mcp") as client:
        result = await client.call("run_command", command=f"{WHICH}; sleep 0.2", clusters=list(NAMES[:5]))
    assert not result.is_error, result.text
    assert [s["stdout"] for s in data_of(result)["results"]] == [f"192.0.2.1:{7000 + n}\n" for n in range(5)]


async def test_cancelled_request_ends_all_of_them(connect: Connect, server: Service) -> None:
    mark = f"300.{time.monotonic_ns()}"
    arguments = {"command": f"echo ready; sleep {mark}", "clusters": list(NAMES[:3])}
    async with connect(server) as client:
        call = client.start("run_command", arguments, progress=True)
        await until(lambda: len(processes_with(f"sleep\0{mark}")) >= 3, "the commands")
        call.cancel()
        await call.failure()
        await until(lambda: not processes_with(f"sleep\0{mark}"), "their end")


async def test_output_of_all_is_within_the_bound_of_one(client: McpClient) -> None:
    result = await client.call("run_command", command="seq 20000", clusters=list(NAMES))
    assert len(result.text) < 55_000
    for section in data_of(result)["results"]:
        assert section["truncated"]
        assert f'run_id="{section["run_id"]}"' in section["stdout"]


@pytest.mark.parametrize("wrong", [{"clusters": []}, {"clusters": list(NAMES) * 3}, {"clusters": "cluster-0"}])
async def test_wrong_lists_are_refused(client: McpClient, wrong: dict[str, Any]) -> None:
    result = await client.call("run_command", command="true", **wrong)
    assert result.is_error
    assert result.text.startswith("clusters: ")


@pytest.mark.timeout(600)  # a thousand processes
async def test_200_calls_at_once_are_each_right(serve: StartService) -> None:
    """A third of them on five clusters, by two paths, and never more commands at once than the service allows."""
    service = with_clusters(serve(max_runs=20))
    wrong: list[object] = []
    most = 0

    async with raw.http(service) as http:

        async def call(number: int) -> None:
            names = [NAMES[(number + step) % len(NAMES)] for step in range(5 if number % 3 == 0 else 1)]
            where: dict[str, object] = {"clusters": names} if len(names) > 1 else {"cluster": names[0]}
            message = raw.tool("run_command", command=f"{WHICH}; echo {number}", wait=300, **where)
            path = ("/mcp", "/sse")[number // 3 % 2]
            while True:
                answer = raw.answer(await http.post(path, json=message, timeout=300))["result"]
                if "the most this service allows" not in str(answer["content"]):
                    break
                await anyio.sleep(0.5)  # as the answer says
            data = answer["structuredContent"]
            expected = [f"192.0.2.1:{7000 + int(name[-1])}\n{number}\n" for name in names]
            if [section["stdout"] for section in data.get("results", [data])] != expected:
                wrong.append((number, data))

        async def count() -> None:
            nonlocal most
            while True:
                runs = (await http.get("/runs")).json()["runs"]
                most = max(most, sum(run["ended"] is None for run in runs))
                await anyio.sleep(0.2)

        async with anyio.create_task_group() as group:
            group.start_soon(count)
            async with anyio.create_task_group() as calls:
                for number in range(200):
                    calls.start_soon(call, number)
            group.cancel_scope.cancel()
    assert wrong == []
    assert 0 < most <= 20
