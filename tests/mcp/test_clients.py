"""What every MCP client can rely on, over both transports and every age of the protocol."""

import re
import time
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from tests.mcp.clients import until
from tests.mcp.conftest import Connect
from tests.support.service import Service, processes_with

TOOLS = {"run_command", "read_output", "list_clusters", "cancel_run"}
INVALID_PARAMS = -32602


async def test_client_connects_and_lists_the_tools(
    connect: Connect, server: Service, request: pytest.FixtureRequest
) -> None:
    async with connect(server) as client:
        assert client.server["name"] == "k8s-mcp-server"
        assert client.version == ("2026-07-28" if "2026" in request.node.name else "2025-11-25")
        tools = await client.tools()
    assert {tool["name"] for tool in tools} == TOOLS
    for tool in tools:
        Draft202012Validator.check_schema(tool["inputSchema"])
        Draft202012Validator.check_schema(tool["outputSchema"])


async def test_call_gives_exit_code_and_output(connect: Connect, server: Service, fake_kubeconfig: str) -> None:
    command = "cat; echo Grüße >&2; exit 3"
    async with connect(server) as client:
        result = await client.call("run_command", command=command, kubeconfig=fake_kubeconfig, stdin="one\ntwo\n")
        again = await client.call("read_output", run_id=(result.data or {})["run_id"])
    assert result.is_error
    assert without_time(result.text) == f"$ {command}\nexit code 3\none\ntwo\n\n[stderr]\nGrüße"
    assert result.data
    assert result.data.pop("run_id")
    assert result.data.pop("readable_until")
    assert result.data.pop("seconds") >= 0
    assert result.data == {
        "status": "done",
        "exit_code": 3,
        "stdout": "one\ntwo\n",
        "stderr": "Grüße\n",
        "truncated": False,
        "total_lines": 3,
    }
    assert not again.is_error
    assert sorted(without_time(again.text).split("\n")) == ["Grüße", "[exit code 3]", "one", "two"]


async def test_success_is_no_error(connect: Connect, server: Service, fake_kubeconfig: str) -> None:
    async with connect(server) as client:
        result = await client.call("run_command", command="echo fine", kubeconfig=fake_kubeconfig)
    assert not result.is_error
    assert without_time(result.text) == "$ echo fine\nexit code 0\nfine"


async def test_unknown_tool_is_a_protocol_error(connect: Connect, server: Service) -> None:
    async with connect(server) as client:
        failure = await client.start("drop_cluster", {}).failure()
    assert failure.code == INVALID_PARAMS
    assert "unknown tool 'drop_cluster'" in failure.message
    assert "run_command" in failure.message


async def test_wrong_arguments_are_a_result_that_a_model_can_read(connect: Connect, server: Service) -> None:
    async with connect(server) as client:
        result = await client.call("run_command", command="", wait=True)
    assert result.is_error
    assert "command: must not be empty" in result.text
    assert "wait: " in result.text
    assert result.data is None


async def test_a_line_is_reported_while_the_command_runs(
    connect: Connect, server: Service, fake_kubeconfig: str, tmp_path: Path
) -> None:
    """The command prints its next line only when the test has seen the one before."""
    command = (
        f"for i in 1 2 3 4; do echo line $i at $EPOCHREALTIME; until [ -e {tmp_path}/$i ]; do sleep 0.02; done; done"
    )
    arguments = {"command": command, "kubeconfig": fake_kubeconfig}
    async with connect(server) as client:
        call = client.start("run_command", arguments, progress=True)
        for number in range(1, 5):
            await call.until_reported(f"line {number} at ")
            (tmp_path / str(number)).touch()
        result = await call.result()
    lines = [report for report in call.reports if report.message.startswith("line ")]
    assert [report.value for report in lines] == [1, 2, 3, 4]
    late = [report.at - float(report.message.rpartition(" ")[2]) for report in lines]
    assert max(late) < 3, late
    assert "\n".join(report.message for report in lines) in result.text


@pytest.mark.parametrize("connect", ["python-sse", "typescript-http", "python-2026"], indirect=True)
async def test_dense_output_is_reported_ten_times_a_second_at_most(
    connect: Connect, server: Service, fake_kubeconfig: str
) -> None:
    command = "end=$((SECONDS + 2)); while (( SECONDS < end )); do seq 100; done; echo the end"
    async with connect(server) as client:
        call = client.start("run_command", {"command": command, "kubeconfig": fake_kubeconfig}, progress=True)
        result = await call.result()
    assert result.data
    values = [report.value for report in call.reports]
    assert values == sorted(set(values))
    assert values[-1] == result.data["total_lines"]
    assert call.reports[-1].message.endswith("the end")
    seconds = call.reports[-1].at - call.reports[0].at
    assert 3 <= len(values) <= 10 * seconds + 3
    assert max(len(report.message) for report in call.reports) <= 4000


async def test_no_progress_unless_asked_for(connect: Connect, server: Service, fake_kubeconfig: str) -> None:
    async with connect(server) as client:
        call = client.start("run_command", {"command": "seq 3", "kubeconfig": fake_kubeconfig})
        await call.result()
    assert call.reports == []


async def test_cancelled_request_ends_the_command(connect: Connect, server: Service, fake_kubeconfig: str) -> None:
    mark = f"{time.monotonic_ns()}"
    command = f"echo ready; sleep 300.{mark}"
    async with connect(server) as client:
        call = client.start("run_command", {"command": command, "kubeconfig": fake_kubeconfig}, progress=True)
        await call.until_reported("ready")
        await until(lambda: processes_with(f"sleep\x00300.{mark}"), "the command")
        call.cancel()
        await call.failure()
        await until(lambda: not processes_with(f"sleep\x00300.{mark}"), "the command's end")
        await until(lambda: newest_run(server)["status"] == "cancelled", "the run's end")
        # The connection is as good as before.
        assert (await client.call("run_command", command="echo on", kubeconfig=fake_kubeconfig)).text.endswith("on")


def without_time(text: str) -> str:
    """A result's text without how long the command took."""
    return re.sub(r" after [\d.]+ s", "", text)


def newest_run(server: Service) -> dict[str, object]:
    return server.get("/runs").json()["runs"][-1]
