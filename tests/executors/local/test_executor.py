"""The local executor leaves nothing behind, whatever ends a run, and holds no more than it must."""

import asyncio
import os
import shutil
import signal
import time
from pathlib import Path

import anyio
import pytest

from tests.support.bulk import BulkReader
from tests.support.client import Client
from tests.support.events import Transcript
from tests.support.service import Service, StartService, processes_with, wait_for

CANCELLED = {"status": "cancelled", "exit_code": None}


@pytest.fixture
def stray() -> str:
    """A command that nobody else has: `sleep` for a number of seconds that is unique."""
    return f"sleep 9{int.from_bytes(os.urandom(6))}"


def litter(stray: str, then: str) -> str:
    """A command that starts processes of every kind and leaves files before it goes on with `then`."""
    return f"""
        {stray} &
        (trap '' TERM HUP INT; {stray}; true) &
        setsid {stray} &
        (setsid nohup {stray} >/dev/null 2>&1 </dev/null &)
        (env -i setsid {stray} >/dev/null 2>&1 &)
        cd; mkdir -p go/pkg; echo x >go/pkg/mod; chmod -R a-w go
        mktemp >/dev/null; cp "$KUBECONFIG" "$KUBECONFIG.copy"; ln -s / root; mkfifo fifo
        echo go
        {then}
    """


def nothing_left(service: Service, stray: str) -> None:
    wait_for(lambda: service.traces() == [], what=f"the end of {service.traces()}")
    wait_for(lambda: not processes_with(stray), what=f"the end of {processes_with(stray)}")


def runner_of(service: Service) -> int:
    """The process id of the only runner."""
    [pid] = processes_with(f"--run={service.runs}/")
    return pid


@pytest.mark.parametrize(
    ("then", "final"),
    [
        pytest.param("exit 0", {"status": "done", "exit_code": 0}, id="done"),
        pytest.param("exit 9", {"status": "done", "exit_code": 9}, id="failed"),
        pytest.param("kill -9 $$", {"status": "done", "exit_code": 137}, id="killed"),
        pytest.param("sleep 99", {"status": "timeout", "exit_code": 124, "timeout": 1}, id="timeout"),
        pytest.param('rm -rf "$HOME"; exit 3', {"status": "done", "exit_code": 3}, id="removed its home"),
        pytest.param('rm -rf "$HOME/.."; exit 3', {"status": "done", "exit_code": 3}, id="removed the run"),
    ],
)
async def test_nothing_is_left_after_the_end(
    serve: StartService, fake_kubeconfig: str, stray: str, then: str, final: dict[str, object]
) -> None:
    service = serve(grace_period=0.5)
    async with Client(service.url, fake_kubeconfig) as client:
        seen = await client.run(litter(stray, then), timeout=1 if final["status"] == "timeout" else 60)
    assert seen.final == final
    nothing_left(service, stray)


async def test_nothing_is_left_after_a_cancelled_run(serve: StartService, fake_kubeconfig: str, stray: str) -> None:
    service = serve(grace_period=0.5)
    async with Client(service.url, fake_kubeconfig) as client, client.stream(litter(stray, "sleep 99")) as stream:
        await stream.first("stdout")
        await client.cancel(Transcript(stream.seen).run_id)
        assert (await stream.to_end()).final == CANCELLED
    nothing_left(service, stray)


async def test_nothing_is_left_after_its_client_left(serve: StartService, fake_kubeconfig: str, stray: str) -> None:
    service = serve(grace_period=0.5, resume_window=0)
    async with (
        Client(service.url, fake_kubeconfig) as client,
        client.stream(litter(stray, "yes")) as stream,
    ):  # one that stops reading, at that
        await stream.first("stdout")
        assert service.traces()
    nothing_left(service, stray)


async def test_shutdown_lets_runs_finish_within_the_grace(serve: StartService, fake_kubeconfig: str) -> None:
    service = serve()
    async with (
        Client(service.url, fake_kubeconfig) as client,
        client.stream("echo go; sleep 1; echo end; exit 6") as stream,
    ):
        await stream.first("stdout")
        service.terminate()
        seen = await stream.to_end()
    assert seen.stdout == ["go", "end"]
    assert seen.final == {"status": "done", "exit_code": 6}
    assert service.end(seconds=10) == 0


async def test_shutdown_cancels_what_is_left_after_the_grace(
    serve: StartService, fake_kubeconfig: str, stray: str
) -> None:
    service = serve(shutdown_grace=1, grace_period=1)
    command = litter(stray, "trap 'echo bye; exit 0' TERM; sleep 99 & wait")
    async with Client(service.url, fake_kubeconfig) as client, client.stream(command) as stream:
        await stream.first("stdout")
        began = time.monotonic()
        service.terminate()
        wait_for(lambda: service.get("/readyz").status_code == 503)
        refused = await client.http.post("/sse", json=client.body("echo no"))
        assert refused.status_code == 503
        assert refused.headers["content-type"] == "application/problem+json"
        assert int(refused.headers["retry-after"]) > 0
        assert (await client.http.get("/healthz")).status_code == 200
        seen = await stream.to_end()
        assert time.monotonic() - began > 0.9
    assert seen.stdout == ["go", "bye"]
    assert seen.final == CANCELLED
    assert service.end(seconds=10) == 0
    assert not processes_with(stray)


async def start_and_wait(service: Service, kubeconfig: str, command: str) -> None:
    """Start a run and leave once it has written something."""
    async with Client(service.url, kubeconfig) as client, client.stream(command) as stream:
        await stream.first("stdout")


async def test_command_dies_with_a_killed_service(serve: StartService, fake_kubeconfig: str, stray: str) -> None:
    service = serve(grace_period=0.5)
    await start_and_wait(service, fake_kubeconfig, litter(stray, "sleep 99"))
    assert processes_with(stray)
    service.kill()
    wait_for(lambda: not processes_with(stray), what="the end of the command")
    again = serve(local_dir=service.runs)
    nothing_left(again, stray)
    assert len(list(service.runs.iterdir())) == 1  # its own


async def test_next_start_removes_what_a_killed_service_and_runner_left(
    serve: StartService, fake_kubeconfig: str, stray: str
) -> None:
    service = serve()
    await start_and_wait(service, fake_kubeconfig, f"setsid {stray} & chmod 0 $HOME; echo go; {stray}")
    runner = runner_of(service)
    os.kill(runner, signal.SIGSTOP)
    service.kill()
    os.kill(runner, signal.SIGKILL)
    assert service.traces()
    again = serve(local_dir=service.runs)
    nothing_left(again, stray)
    assert len(list(service.runs.iterdir())) == 1


async def test_services_that_share_a_directory_leave_each_other_alone(
    serve: StartService, fake_kubeconfig: str
) -> None:
    service = serve()
    async with (
        Client(service.url, fake_kubeconfig) as client,
        client.stream("echo go; sleep 1; cat $KUBECONFIG | wc -l") as stream,
    ):
        await stream.first("stdout")
        other = serve(local_dir=service.runs)
        assert other.stop() == 0
        seen = await stream.to_end()
    assert int(seen.stdout[1]) > 10
    assert seen.final == {"status": "done", "exit_code": 0}


@pytest.mark.parametrize("rest", ["", 'rm -rf "$HOME/..";'])
async def test_command_that_kills_its_runner_is_an_error(
    serve: StartService, fake_kubeconfig: str, stray: str, rest: str
) -> None:
    service = serve(grace_period=0.5)
    async with Client(service.url, fake_kubeconfig) as client:
        seen = await client.run(f"(setsid {stray} &) ; echo go; sleep 0.2; {rest} kill -9 $PPID; sleep 99")
    assert seen.stdout == ["go"]
    assert seen.final["status"] == "error"
    assert seen.final["exit_code"] is None
    assert seen.final["reason"] == "RunnerLost"
    nothing_left(service, stray)


async def test_command_that_freezes_its_runner_can_be_cancelled(
    serve: StartService, fake_kubeconfig: str, stray: str
) -> None:
    service = serve(grace_period=0)
    command = f"(setsid {stray} &) ; echo go; sleep 0.2; kill -STOP $PPID; echo stopped >$HOME/stopped; sleep 99"
    async with Client(service.url, fake_kubeconfig) as client, client.stream(command) as stream:
        await stream.first("stdout")
        wait_for(lambda: list(service.runs.rglob("stopped")))
        await client.cancel(Transcript(stream.seen).run_id)
        with anyio.fail_after(30):
            final = (await stream.to_end()).final
    assert final["exit_code"] is None
    nothing_left(service, stray)


async def test_runs_that_cannot_begin_leave_the_service_alone(serve: StartService, fake_kubeconfig: str) -> None:
    """As on a full disk."""
    service = serve()
    shutil.rmtree(service.runs)
    async with Client(service.url, fake_kubeconfig) as client:
        for _ in range(3):
            assert (await client.run("true")).final["status"] == "error"
        assert (await client.http.get("/readyz")).status_code == 200
    service.kill()  # its directory is gone, so there is no good end for it


@pytest.mark.parametrize("squat", ["open to others", "somebody else's", "a link", "a file"])
def test_directory_that_others_could_change_is_refused(serve: StartService, tmp_path: Path, squat: str) -> None:
    place = tmp_path / "runs"
    (tmp_path / "target").mkdir(mode=0o700)
    if squat == "a link":
        place.symlink_to(tmp_path / "target")
    elif squat == "a file":
        place.touch(0o700)
    else:
        place.mkdir(mode=0o700)
        if squat == "open to others":
            place.chmod(0o755)
        elif os.getuid() == 0:
            os.chown(place, 65534, 65534)
        else:
            place = Path("/root")
    message = f"k8s-mcp: {place} must be a directory of this user's with mode 0700"
    with pytest.raises(AssertionError, match=f"^the service ended: {message}[^\n]*\n$"):
        serve(local_dir=place)
    assert list((tmp_path / "target").iterdir()) == []


LINES = 10_000_000
GIGABYTE = f"yes {'x' * 99} | head -{LINES}"
BOUND = 200_000_000


def grown(service: Service, before: int) -> int:
    """How much more memory the service has had than `before`, in bytes."""
    return service.peak_memory() - before


@pytest.mark.timeout(300)
def test_memory_stays_bounded_with_a_fast_reader(serve: StartService, fake_kubeconfig: str) -> None:
    service = serve()
    before = service.peak_memory()
    with BulkReader(service.url, {"command": GIGABYTE, "kubeconfig": fake_kubeconfig}) as reader:
        reader.read_to_end()
    assert reader.final() == ({"status": "done", "exit_code": 0}, LINES + 1)
    assert reader.events == LINES + 2
    assert grown(service, before) < BOUND


def test_memory_stays_bounded_with_a_slow_reader(serve: StartService, fake_kubeconfig: str) -> None:
    service = serve(grace_period=0.5, resume_window=0)
    before = service.peak_memory()
    with BulkReader(service.url, {"command": GIGABYTE, "kubeconfig": fake_kubeconfig}) as reader:
        until = time.monotonic() + 6
        while time.monotonic() < until:
            reader.read(32 * 1024)
            time.sleep(0.01)
        [run] = service.get("/runs").json()["runs"]
        assert run["bytes"] < reader.bytes + 100_000_000  # the command is held back
        assert grown(service, before) < BOUND


def test_reader_that_pauses_loses_nothing(serve: StartService, fake_kubeconfig: str) -> None:
    """Not even when what is kept of a run is less than what the command wants to write meanwhile."""
    service = serve(replay_bytes=1 << 20)
    with BulkReader(service.url, {"command": "seq 5000000", "kubeconfig": fake_kubeconfig}) as reader:
        for _ in range(4):
            time.sleep(0.5)
            reader.read(100_000)
        reader.read_to_end()
    assert reader.final() == ({"status": "done", "exit_code": 0}, 5_000_001)
    assert reader.events == 5_000_002
    assert b'"gap"' not in reader.end


async def test_every_exit_code(client: Client) -> None:
    limit = asyncio.Semaphore(8)

    async def one(code: int) -> dict[str, object]:
        async with limit:
            return (await client.run(f"exit {code}")).final

    finals = await asyncio.gather(*map(one, range(256)))
    assert finals == [{"status": "done", "exit_code": code} for code in range(256)]
