"""Clients from npm that are programs of their own: the MCP Inspector's command line, and a client that is killed."""

import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from tests.mcp.clients import Failure, typescript, until
from tests.mcp.node_packages import NodePackages
from tests.support import prefix_proxy
from tests.support.service import Service, StartService, processes_with

INVALID_PARAMS = -32602
FAILED = 5  # the Inspector's exit code for a result with isError, and for a tool that is not there


@pytest.fixture(scope="module")
def stored(server: Service, fake_kubeconfig: str) -> str:
    """A stored cluster's name: the Inspector takes arguments for JSON, and a kubeconfig is text."""
    httpx.put(
        f"{server.url}/clusters/stored", json={"kubeconfig": fake_kubeconfig}, trust_env=False
    ).raise_for_status()
    return "stored"


class Inspector:
    """`mcp-inspector --cli`."""

    def __init__(self, packages: NodePackages, url: str, transport: str, home: Path) -> None:
        self._command = packages.program("@modelcontextprotocol/inspector", "--cli", url, "--transport", transport)
        self._environment = {"HOME": str(home), "PATH": ""}

    def __call__(self, method: str, *options: str) -> tuple[int, dict[str, Any], str]:
        """Exit code, what it printed, and its messages."""
        command = [*self._command, "--method", method, *options]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout or "{}"), done.stderr

    def call(self, tool: str, **arguments: str) -> tuple[int, dict[str, Any], str]:
        pairs = [f"{name}={value}" for name, value in arguments.items()]
        return self("tools/call", "--tool-name", tool, *(["--tool-arg", *pairs] if pairs else []))


@pytest.fixture(params=["http /mcp", "http /sse", "sse /sse"])
def inspector(request: pytest.FixtureRequest, node: NodePackages, server: Service, tmp_path: Path) -> Inspector:
    transport, path = request.param.split()
    return Inspector(node, f"{server.url}{path}", transport, tmp_path)


def test_inspector_lists_the_tools_and_finds_no_fault_in_them(inspector: Inspector) -> None:
    exit_code, printed, messages = inspector("tools/list", "--strict")
    assert exit_code == 0, messages  # 6, if a schema is not portable
    assert [tool["name"] for tool in printed["tools"]] == [
        "run_command",
        "read_output",
        "list_clusters",
        "cancel_run",
    ]


def test_inspector_calls_tools(inspector: Inspector, stored: str) -> None:
    exit_code, printed, messages = inspector.call("list_clusters")
    assert exit_code == 0, messages
    assert [cluster["name"] for cluster in printed["structuredContent"]["clusters"]] == [stored]
    exit_code, printed, messages = inspector.call("run_command", command="echo Grüße; echo two", cluster=stored)
    assert exit_code == 0, messages
    [content] = printed["content"]
    assert re.fullmatch(r"\$ echo Grüße; echo two\nexit code 0 after [\d.]+ s\nGrüße\ntwo", content["text"])
    run_id = printed["structuredContent"]["run_id"]
    exit_code, printed, messages = inspector.call("read_output", run_id=run_id, start_line="2")
    assert exit_code == 0, messages
    assert printed["structuredContent"]["text"] == "two"


def test_inspector_sees_a_failed_command_as_a_tool_error(inspector: Inspector, stored: str) -> None:
    exit_code, printed, messages = inspector.call("run_command", command="exit 3", cluster=stored)
    assert exit_code == FAILED
    assert "tool_is_error" in messages
    assert printed["structuredContent"]["exit_code"] == 3


@pytest.mark.parametrize(("kind", "path"), [("sse", "/sse"), ("http", "/mcp"), ("2026", "/mcp")])
async def test_killed_client_ends_its_command(
    node: NodePackages, server: Service, stored: str, kind: str, path: str
) -> None:
    mark = f"{time.monotonic_ns()}"
    async with typescript(node, kind, f"{server.url}{path}") as client:
        client.start("run_command", {"command": f"sleep 300.{mark}", "cluster": stored})
        await until(lambda: processes_with(f"sleep\x00300.{mark}"), "the command")
        client.process.kill()
        await until(lambda: not processes_with(f"sleep\x00300.{mark}"), "the command's end")
    await until(lambda: server.get("/runs").json()["runs"][-1]["status"] == "cancelled", "the run's end")


async def test_client_of_the_older_transport_goes_on_after_a_restart(
    node: NodePackages, serve: StartService, fake_kubeconfig: str
) -> None:
    """It opens another session by itself, without a handshake, and every call of it was refused."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    service = serve(port=port)
    arguments = {"command": "echo fine", "kubeconfig": fake_kubeconfig}
    async with typescript(node, "sse", f"{service.url}/sse") as client:
        assert not (await client.call("run_command", **arguments)).is_error
        assert service.stop() == 0
        service = serve(port=port)
        with anyio.fail_after(60):
            while isinstance(outcome := await client.start("run_command", arguments).end_of_any_kind(), Failure):
                assert outcome.code != INVALID_PARAMS, outcome.message
        assert "fine" in outcome.text
        assert len(await client.tools()) > 0


async def test_client_of_the_older_transport_goes_on_after_its_session_was_idle(
    node: NodePackages, serve: StartService, fake_kubeconfig: str
) -> None:
    service = serve(mcp_session_idle=0.5)
    arguments = {"command": "echo fine", "kubeconfig": fake_kubeconfig}
    async with typescript(node, "sse", f"{service.url}/sse") as client:
        with anyio.fail_after(60):
            for _ in range(3):
                while isinstance(outcome := await client.start("run_command", arguments).end_of_any_kind(), Failure):
                    assert outcome.code != INVALID_PARAMS, outcome.message
                await anyio.sleep(1)  # longer than a session may be idle


async def test_client_too_many_of_the_older_transport_leaves_the_others_alone(
    node: NodePackages, serve: StartService, fake_kubeconfig: str
) -> None:
    service = serve(mcp_sessions=2)
    arguments = {"command": "echo fine", "kubeconfig": fake_kubeconfig}
    url = f"{service.url}/sse"
    async with typescript(node, "sse", url) as first, typescript(node, "sse", url) as second:
        refused = await anyio.to_thread.run_sync(service.get, "/sse")
        assert refused.status_code == 503
        with pytest.raises(ExceptionGroup, match="unhandled errors"):
            async with typescript(node, "sse", url):
                pass
        for client in (first, second, first):
            assert not (await client.call("run_command", **arguments)).is_error


@pytest.mark.parametrize(("kind", "path"), [("sse", "/sse"), ("http", "/mcp")])
async def test_client_behind_a_proxy_that_strips_a_prefix(
    node: NodePackages, server: Service, fake_kubeconfig: str, kind: str, path: str
) -> None:
    async with (
        prefix_proxy.stripping("/k8s", server.url) as url,
        typescript(node, kind, f"{url}{path}") as client,
    ):
        result = await client.call("run_command", command="echo fine", kubeconfig=fake_kubeconfig)
        assert "fine" in result.text


def test_javascript_in_the_documents_does_what_is_printed(
    node: NodePackages, server: Service, fake_kubeconfig: str
) -> None:
    """Here, because the test of the documents has no Node.js."""
    script, printed = sample("node .*?")
    command = [*node.command(Path("-")), "--input-type=module"]
    seen = carried_out(command, script, server, fake_kubeconfig)
    assert re.fullmatch(re.escape(printed).replace("…", "[0-9a-f]{32}"), seen), seen


def sample(command: str) -> tuple[str, str]:
    """The script in docs/clients.md that reads a stream by itself, given to this command, and what it prints."""
    document = (Path(__file__).parents[2] / "docs" / "clients.md").read_text()
    pattern = rf"```sh\n{command} <<'EOF'\n((?:(?!```).)*/sse(?:(?!```).)*)\nEOF\n```\n\n```text\n(.*?)```"
    blocks = re.search(pattern, document, re.DOTALL)
    assert blocks
    return blocks[1], blocks[2]


def carried_out(command: list[str], script: str, server: Service, kubeconfig: str) -> str:
    url = f"{server.url}/clusters/prod"
    httpx.put(url, json={"kubeconfig": kubeconfig}, trust_env=False).raise_for_status()
    script = script.replace("http://127.0.0.1:9096", server.url)
    environment = {"LANG": "C.UTF-8", "PATH": ""}
    done = subprocess.run(command, input=script.encode(), capture_output=True, check=True, env=environment)
    httpx.delete(url, trust_env=False).raise_for_status()
    return done.stdout.decode()


LINE_ENDS_OF_OTHERS = ("\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e")


@pytest.mark.parametrize("language", ["Python", "JavaScript"])
def test_samples_read_lines_with_what_others_take_for_line_ends(
    node: NodePackages, server: Service, fake_kubeconfig: str, tmp_path: Path, language: str
) -> None:
    lines = ["", ": x", "data: x", " ", *(f"one{end}two{end}" for end in LINE_ENDS_OF_OTHERS), "last"]
    (tmp_path / "lines").write_bytes("\n".join(lines).encode())
    javascript = language == "JavaScript"
    command = [*node.command(Path("-")), "--input-type=module"] if javascript else [sys.executable, "-"]
    script = sample("node .*?" if javascript else "python3 -")[0]
    assert "echo hello; exit 3" in script
    seen = carried_out(
        command, script.replace("echo hello; exit 3", f"cat {tmp_path}/lines"), server, fake_kubeconfig
    )
    assert seen.split("\n")[1:-2] == [f"stdout {line}" for line in lines]
