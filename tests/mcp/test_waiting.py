"""A command that takes longer than its client waits: what is heard of it meanwhile, and how it is gone on with."""

import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest

from tests.mcp import raw
from tests.mcp.clients import McpClient, NodeClient, data_of, python_http, typescript, until
from tests.mcp.conftest import Connect
from tests.mcp.node_packages import NodePackages
from tests.support.service import Service, StartService, processes_with, services

RUN_ID = re.compile(r"\[run_id ([0-9a-f]{32})\]")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tools: Path) -> Iterator[Service]:
    """One whose commands do not outlive their calls for long."""
    with services(tmp_path_factory.mktemp("server"), tools) as start:
        yield start(mcp_run_idle=3, resume_window=0)


@pytest.fixture
async def client(server: Service) -> AsyncIterator[McpClient]:
    async with python_http(f"{server.url}/mcp") as client:
        yield client


@pytest.mark.parametrize(("kind", "path"), [("sse", "/sse"), ("http", "/mcp")])
async def test_silent_command_outlives_the_patience_of_its_client(
    node: NodePackages, server: Service, fake_kubeconfig: str, kind: str, path: str
) -> None:
    """The SDK for TypeScript gave up after its 5 s, and the command was cancelled half way."""
    async with typescript(node, kind, f"{server.url}{path}") as client:
        assert isinstance(client, NodeClient)
        arguments = {"command": "sleep 8; echo done", "kubeconfig": fake_kubeconfig}
        call = client.start("run_command", arguments, progress=True, timeout=5000)
        result = await call.result()
    assert data_of(result)["stdout"] == "done\n"
    values = [report.value for report in call.reports]
    assert values == sorted(set(values))
    assert any(re.search(r"running after \d s", report.message) for report in call.reports)


async def test_first_progress_has_the_id(
    connect: Connect, server: Service, fake_kubeconfig: str, tmp_path: Path
) -> None:
    """So that whoever sees it can cancel the run, or read what it has printed."""
    command = f"echo one; until [ -e {tmp_path}/go ]; do sleep 0.02; done"
    async with connect(server) as client:
        call = client.start("run_command", {"command": command, "kubeconfig": fake_kubeconfig}, progress=True)
        await call.until_reported("run_id")
        match = RUN_ID.fullmatch(call.reports[0].message)
        assert match, call.reports
        await call.until_reported("one")
        assert (await client.call("read_output", run_id=match[1])).text.startswith("one\n[running for ")
        await client.call("cancel_run", run_id=match[1])
        result = await call.result()
    assert data_of(result)["run_id"] == match[1]
    assert data_of(result)["status"] == "cancelled"


async def test_first_line_is_reported_at_once(server: Service, client: McpClient, fake_kubeconfig: str) -> None:
    """The id before it delays nothing; what the machine is busy with does."""
    late: list[float] = []
    for _ in range(5):
        arguments = {"command": "echo at $EPOCHREALTIME", "kubeconfig": fake_kubeconfig}
        call = client.start("run_command", arguments, progress=True)
        await call.result()
        [report] = [report for report in call.reports if "at " in report.message]
        late.append(report.at - float(report.message.rpartition(" ")[2]))
    assert min(late) < 0.1, late


async def test_what_is_still_running_is_read_to_its_end(
    connect: Connect, server: Service, fake_kubeconfig: str, tmp_path: Path
) -> None:
    """Without a progress token a client that gave up had neither output nor id."""
    command = f"echo one; until [ -e {tmp_path}/go ]; do sleep 0.02; done; echo two; exit 3"
    async with connect(server) as client:
        result = await client.call("run_command", command=command, kubeconfig=fake_kubeconfig, wait=1)
        data = data_of(result)
        assert not result.is_error
        assert (data["status"], data["exit_code"], data["stdout"]) == ("running", None, "one\n")
        assert f'read_output(run_id="{data["run_id"]}", start_line=2, wait=45)' in result.text
        reading = client.start("read_output", {"run_id": data["run_id"], "start_line": 2, "wait": 60})
        (tmp_path / "go").touch()
        rest = await reading.result()
    assert re.fullmatch(r"two\n\[exit code 3 after [\d.]+ s\]", rest.text)
    assert {name: data_of(rest)[name] for name in ("status", "exit_code", "next_line")} == {
        "status": "done",
        "exit_code": 3,
        "next_line": None,
    }


async def test_call_need_not_wait_at_all(client: McpClient, fake_kubeconfig: str) -> None:
    began = time.monotonic()
    result = await client.call("run_command", command="sleep 20", kubeconfig=fake_kubeconfig, wait=0)
    assert data_of(result)["status"] == "running"
    page = await client.call("read_output", run_id=data_of(result)["run_id"], wait=0)
    assert data_of(page)["status"] in ("pending", "running")
    assert data_of(page)["next_line"] == 1
    assert time.monotonic() - began < 9
    await client.call("cancel_run", run_id=data_of(result)["run_id"])


async def test_command_ends_when_nobody_asks_for_it_any_more(
    server: Service, client: McpClient, fake_kubeconfig: str
) -> None:
    """And not before: each question gives it another while."""
    mark = f"300.{time.monotonic_ns()}"
    result = await client.call("run_command", command=f"sleep {mark}", kubeconfig=fake_kubeconfig, wait=1)
    for _ in range(3):
        await anyio.sleep(1.5)
        page = await client.call("read_output", run_id=data_of(result)["run_id"], wait=0)
        assert data_of(page)["status"] == "running"
    await until(lambda: not processes_with(f"sleep\0{mark}"), "the command's end")
    page = await client.call("read_output", run_id=data_of(result)["run_id"])
    assert data_of(page)["status"] == "cancelled"


async def test_output_that_nobody_reads_in_time_does_not_stop_the_command(
    serve: StartService, fake_kubeconfig: str
) -> None:
    """What is forgotten of it is said."""
    service = serve(replay_bytes=1 << 20)
    async with python_http(f"{service.url}/mcp") as client:
        result = await client.call(
            "run_command", command="sleep 2; seq 400000; echo end", kubeconfig=fake_kubeconfig, wait=1
        )
        run_id = data_of(result)["run_id"]
        page = await client.call("read_output", run_id=run_id, tail=1, wait=60)
        assert data_of(page)["status"] == "done"
        assert data_of(page)["text"] == "end"
        page = await client.call("read_output", run_id=run_id, max_lines=1)
        assert "[lines lost before line " in page.text


async def test_late_cancellation_leaves_what_was_answered_alone(server: Service, fake_kubeconfig: str) -> None:
    """Only while the call waits does cancelling it cancel the command."""
    async with raw.http(server) as http:
        session = {"Mcp-Session-Id": (await http.post("/mcp", json=raw.initialize())).headers["mcp-session-id"]}
        message = raw.tool("run_command", command="sleep 300", kubeconfig=fake_kubeconfig, wait=1)
        answered = raw.answer(await http.post("/mcp", json=message, headers=session))["result"]["structuredContent"]
        assert answered["status"] == "running"
        await http.post("/mcp", json=raw.cancelled(message["id"]), headers=session)
        read = raw.tool("read_output", run_id=answered["run_id"], wait=1)
        assert raw.answer(await http.post("/mcp", json=read))["result"]["structuredContent"]["status"] == "running"
        await http.post("/mcp", json=raw.tool("cancel_run", run_id=answered["run_id"]))


async def test_cancelled_reading_leaves_the_command_alone(
    connect: Connect, server: Service, fake_kubeconfig: str
) -> None:
    async with connect(server) as client:
        result = await client.call("run_command", command="sleep 300", kubeconfig=fake_kubeconfig, wait=0)
        run_id = data_of(result)["run_id"]
        reading = client.start("read_output", {"run_id": run_id, "wait": 60}, progress=True)
        await reading.until_reported("running")
        reading.cancel()
        await reading.failure()
        assert data_of(await client.call("read_output", run_id=run_id, wait=0))["status"] == "running"
        await client.call("cancel_run", run_id=run_id)
