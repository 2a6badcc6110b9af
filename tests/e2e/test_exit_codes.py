"""How a run ends when its pod does: by the command, by the kernel for memory, or by somebody who kills the runner."""

import asyncio
import subprocess

import pytest

from tests.e2e.place import Place
from tests.support.client import Client
from tests.support.events import Transcript
from tests.support.left_out import leave_out
from tests.support.service import Service, StartService

pytestmark = pytest.mark.cluster


def done(exit_code: int) -> dict[str, object]:
    return {"status": "done", "exit_code": exit_code}


@pytest.fixture(scope="module")
def kubernetes_server(serve_shared: StartService) -> Service:
    """With little memory for commands, and room for more than that in /tmp."""
    return serve_shared(runner_memory_request="48Mi", runner_memory_limit="48Mi", runner_tmp_size="256Mi")


async def test_exit_codes(client: Client) -> None:
    codes = [0, 1, 2, 42, 63, 64, 124, 125, 126, 127, 128, 137, 143, 200, 254, 255]
    runs = await asyncio.gather(*(client.run(f"echo {code}; exit {code}") for code in codes))
    assert [seen.final for seen in runs] == [done(code) for code in codes]
    assert [seen.stdout for seen in runs] == [[str(code)] for code in codes]


async def test_timeout_comes_after_all_output(client: Client) -> None:
    seen = await client.run("trap '' TERM; seq 100000; echo last >&2; sleep 99", timeout=3)
    assert seen.stdout == list(map(str, range(1, 100_001)))
    assert seen.stderr == ["last"]
    assert seen.final == {"status": "timeout", "exit_code": 124, "timeout": 3}


async def kills_whole_containers(client: Client) -> bool:
    """Whether this node's kernel, out of memory, takes the container with all its processes (memory.oom.group)."""
    return (await client.run("stat --format=%T --file-system /sys/fs/cgroup")).stdout == ["cgroup2fs"]


async def test_command_killed_for_memory(client: Client) -> None:
    """The kernel takes the command rather than the runner; where it takes all, Kubernetes says so."""
    seen = await client.run("echo before; tail /dev/zero")
    assert seen.stdout == ["before"]
    if await kills_whole_containers(client):
        assert_killed_for_memory(seen)
    else:
        assert seen.final == done(137)


async def test_runner_killed_for_memory(client: Client) -> None:
    """The command makes itself no likelier a victim, and fills /tmp: then the runner is the largest process."""
    seen = await client.run(
        """
        echo before
        cat /proc/1/oom_score_adj >/proc/$$/oom_score_adj
        exec head -c 200M /dev/zero >/tmp/full
        """
    )
    assert seen.stdout == ["before"]
    assert_killed_for_memory(seen)


def assert_killed_for_memory(seen: Transcript) -> None:
    assert seen.final["status"] == "error"
    assert seen.final["exit_code"] == 137
    assert seen.final["reason"] == "OOMKilled"


async def test_killed_runner_is_an_error(client: Client, place: Place) -> None:
    """Nobody saw how the command ended: what Kubernetes reports is the runner's end, and never a success."""
    socket = place.cluster.run_dir / "containerd.sock"
    if not socket.exists():
        leave_out("containers can be killed only on a node that runs on this machine")
    async with client.stream("echo before; trap '' TERM; sleep 99") as stream:
        await stream.first("stdout")
        pod = await place.one("pods", Transcript(stream.seen).run_id)
        container = pod["status"]["containerStatuses"][0]["containerID"].partition("://")[2]
        ctr = ["ctr", f"--address={socket}", "--namespace=k8s.io"]
        subprocess.run([*ctr, "tasks", "kill", "--signal=SIGKILL", container], check=True, capture_output=True)
        seen = await stream.to_end()
    assert seen.stdout == ["before"]
    assert seen.final["status"] == "error"
    assert seen.final["exit_code"] == 137
    assert seen.final["reason"] == "Error"
    await place.nothing_left(seen.run_id)
