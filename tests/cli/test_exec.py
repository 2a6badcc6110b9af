"""`k8s-mcp exec` as people and scripts use it: its output, its exit code, its signals."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.execute import Exec, bytes_in, ended_as, line, runs
from tests.support.faults import CuttingProxy, Script, answer
from tests.support.prepared import Prepared
from tests.support.service import Service, processes_with, wait_for

STARTED = 'event: control\ndata: {"status": "started", "run_id": "0123456789abcdef0123456789abcdef"}\n\n'


def control(**data: object) -> str:
    number = "" if data["status"] == "pending" else "id: 1\n"
    return f"event: control\ndata: {json.dumps(data)}\n{number}\n"


@pytest.fixture
def execute(server: Service, tmp_path: Path, fake_kubeconfig: str, prepared: Prepared) -> Exec:
    """Runs commands on `server`, with the made-up kubeconfig."""
    return Exec(server.url, tmp_path, fake_kubeconfig, prepared)


@pytest.fixture
def scripted(
    tmp_path: Path, fake_kubeconfig: str, prepared: Prepared
) -> Generator[Callable[..., tuple[Script, Exec]]]:
    """A service that gives answers by heart, for what the real one does not do on demand."""
    with ExitStack() as stack:

        def start(*answers: bytes, hold: bool = False) -> tuple[Script, Exec]:
            script = stack.enter_context(Script(*answers, hold=hold))
            return script, Exec(script.url, tmp_path, fake_kubeconfig, prepared)

        yield start


@pytest.mark.parametrize(
    ("command", "exit_code"),
    [("true", 0), ("exit 1", 1), ("exit 3", 3), ("exit 255", 255), ("no-such-command", 127), ("kill -9 $$", 137)],
)
def test_exits_as_the_command_did(execute: Exec, command: str, exit_code: int) -> None:
    assert execute("--", command).returncode == exit_code


def test_a_timeout_is_124_and_said(execute: Exec) -> None:
    result = execute("--timeout", "1", "--", "echo before; sleep 60")
    assert (result.returncode, result.stdout) == (124, "before\n")
    assert result.stderr == "k8s-mcp: the command was ended at its timeout of 1 s\n"


def test_stdout_and_stderr_stay_apart(execute: Exec) -> None:
    result = execute("--", "echo out; echo err >&2; echo out again")
    assert (result.stdout, result.stderr) == ("out\nout again\n", "err\n")


def test_stdout_and_stderr_keep_their_order_in_one_file(execute: Exec) -> None:
    with execute.started(
        "--", "echo 1; sleep 0.3; echo 2 >&2; sleep 0.3; echo 3", stderr=subprocess.STDOUT
    ) as process:
        assert process.communicate()[0] == b"1\n2\n3\n"


def test_output_comes_while_the_command_runs(execute: Exec, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    with execute.started("--", f"echo first; until [ -e {go_on} ]; do sleep 0.05; done; echo last") as process:
        assert line(process) == b"first\n"
        assert process.poll() is None
        go_on.touch()
        assert process.communicate()[0] == b"last\n"
        assert process.returncode == 0


def test_hundred_thousand_lines_of_each_stream_arrive_in_order(execute: Exec) -> None:
    result = execute("--", "seq 100000 & seq 100001 200000 >&2; wait")
    assert result.stdout == "".join(f"{number}\n" for number in range(1, 100_001))
    assert result.stderr == "".join(f"{number}\n" for number in range(100_001, 200_001))


def test_hundred_thousand_lines_survive_a_connection_that_breaks(server: Service, execute: Exec) -> None:
    with CuttingProxy(server.url, range(1000, 400_000, 40_000)) as proxy:
        result = execute("--url", proxy.url, "--", "seq 100000 & seq 100001 200000 >&2; wait; exit 9")
    assert proxy.connections == 11
    assert result.returncode == 9
    assert result.stdout == "".join(f"{number}\n" for number in range(1, 100_001))
    assert result.stderr == "".join(f"{number}\n" for number in range(100_001, 200_001))


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (r"a\0b\n", "a\0b\n"),
        (r"\n\n\n", "\n\n\n"),
        (r"no newline", "no newline\n"),
        (r"\xff\xfe|\xc3\n", "��|�\n"),
        (r"中文 😀 \xe2\x80\xa8 \xc2\x85 \x0b \x0c\n", "中文 😀 \u2028 \x85 \x0b \x0c\n"),
        (r"event: control\ndata: {}\nid: 7\n\n: ping\n", "event: control\ndata: {}\nid: 7\n\n: ping\n"),
        (r"  spaces \t \n", "  spaces \t \n"),
        (r"10%%\r20%%\r\n", "10%\n20%\n"),
    ],
)
def test_output_of_every_kind_arrives(execute: Exec, printed: str, expected: str) -> None:
    result = execute("--", f"printf '{printed}'")
    assert (result.stdout, result.stderr) == (expected, "")


def test_a_service_that_is_not_there_is_125_and_says_what_to_do(execute: Exec) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    result = execute("--url", url, "--", "true")
    assert result.returncode == 125
    assert result.stderr == (
        f"k8s-mcp: cannot reach {url} ([Errno 111] Connection refused); start a service there with `k8s-mcp serve`, "
        "or name another with --url or K8S_MCP_URL\n"
    )


@pytest.mark.parametrize(
    ("events", "exit_code", "message"),
    [
        (
            [control(status="error", exit_code=None, reason="ImagePullBackOff", message="no\n\x1b[31m such image")],
            125,
            "k8s-mcp: ImagePullBackOff: no  [31m such image\n",
        ),
        ([control(status="error", exit_code=137, reason="OOMKilled", message="m")], 125, "k8s-mcp: OOMKilled: m\n"),
        ([control(status="cancelled", exit_code=None)], 130, "k8s-mcp: the run was cancelled\n"),
        ([control(status="done", exit_code=None)], 125, "k8s-mcp: the service did not say how the command ended\n"),
        (
            [control(status="gap", stream="stdout", missing=12), control(status="done", exit_code=4)],
            4,
            "k8s-mcp: 12 lines of stdout were lost on the way\n",
        ),
        (
            [control(status="gap", stream=None, missing=2), control(status="done", exit_code=0)],
            0,
            "k8s-mcp: 2 lines of stdout and stderr were lost on the way\n",
        ),
        ([control(status="something new", exit_code=1), control(status="done", exit_code=0)], 0, ""),
        (
            [control(status="pending", reason="ContainerCreating", message="m"), control(status="done", exit_code=0)],
            0,
            "",
        ),
    ],
)
def test_control_events_become_exit_codes_and_messages(
    scripted: Callable[..., tuple[Script, Exec]], events: list[str], exit_code: int, message: str
) -> None:
    _, execute = scripted(answer(body="".join([STARTED, *events])))
    result = execute("--", "true")
    assert (result.returncode, result.stdout, result.stderr) == (exit_code, "", message)


def state(**said: object) -> bytes:
    return answer(body=json.dumps({"run_id": "0" * 32, "status": "done", **said}), media_type="application/json")


CHANGE = {"verb": "patch", "resource": "deployments.apps", "subresource": "scale", "namespace": "shop", "name": "web"}


@pytest.mark.parametrize(
    ("answered", "lines"),
    [
        (
            state(
                requests={
                    "total": 9,
                    "refused": 1,
                    "complete": True,
                    "changes": [
                        {**CHANGE, "code": 200, "dry_run": False},
                        {**CHANGE, "code": 403, "dry_run": True, "refused": "team-a: deny[0]"},
                        {"verb": "post", "path": "/x\x1b[2J", "code": 0},
                    ],
                }
            ),
            [
                "patch deployments.apps/scale web in shop: 200",
                "patch deployments.apps/scale web in shop: 403, refused by team-a: deny[0], a dry run",
                "post /x [2J: no answer",
            ],
        ),
        (state(requests={"complete": True, "changes": []}), ["it changed nothing"]),
        (
            state(requests={"complete": False, "truncated": True, "changes": [{**CHANGE, "code": 200}, 7]}),
            [
                "patch deployments.apps/scale web in shop: 200",
                "it changed more than these",
                "the record of what it changed is not complete",
            ],
        ),
        (state(requests={"complete": "yes", "changes": 3}), ["the record of what it changed is not complete"]),
        (
            state(),
            ["what the command changed is not known here: no gate has recorded it, or another replica knows"],
        ),
        (state(requests=[1]), None),
        (answer(body="[]", media_type="application/json"), None),
        (answer(body="{", media_type="application/json"), None),
        (answer("404 Not Found", "{}", "application/problem+json"), None),
    ],
)
def test_what_a_command_changed_is_said_at_its_end(
    scripted: Callable[..., tuple[Script, Exec]], answered: bytes, lines: list[str] | None
) -> None:
    events = [STARTED, "event: stdout\ndata: out\nid: 1\n\n", control(status="done", exit_code=3)]
    _, execute = scripted(answer(body="".join(events)), answered)
    result = execute("--changes", "--", "true")
    assert (result.returncode, result.stdout) == (3, "out\n")
    said = result.stderr.splitlines()
    if lines is None:
        assert len(said) == 1
        assert "what the command changed" in said[0]
    else:
        assert said == [f"k8s-mcp: {line}" for line in lines]


def test_nobody_waits_for_the_changes_of_a_run_that_is_left(execute: Exec, server: Service) -> None:
    before = runs(server)
    result = execute("--detach", "--changes", "--", "true")
    assert result.returncode == 2
    assert "--changes" in result.stderr
    assert runs(server) == before


def test_why_a_command_does_not_start_is_told_when_it_lasts(scripted: Callable[..., tuple[Script, Exec]]) -> None:
    pulling = control(status="pending", reason="ContainerCreating", message="pulling")
    failing = control(status="pending", reason="ImagePullBackOff", message="no such image")
    script, execute = scripted(answer(body=STARTED + pulling + failing + failing), hold=True)
    with execute.started("--", "true") as process:
        assert process.stderr
        assert process.stderr.readline() == b"k8s-mcp: waiting: ImagePullBackOff: no such image\n"
        script.release()


@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str
)
def test_a_signal_ends_the_command_and_leaves_nothing(
    execute: Exec, server: Service, tmp_path: Path, number: signal.Signals, exit_code: int
) -> None:
    before = runs(server)
    command = f"trap 'echo cleaning up; exit 0' TERM; echo ready; sleep 61 & wait # {tmp_path}/marker"
    with execute.started("--", command) as process:
        assert line(process) == b"ready\n"
        os.killpg(process.pid, number)
        assert process.communicate() == (b"cleaning up\n", b"")
        assert process.returncode == exit_code
    assert ended_as(server, before, "cancelled")
    assert processes_with(f"{tmp_path}/marker") == {}


def test_a_second_ctrl_c_leaves_at_once(execute: Exec, server: Service) -> None:
    before = runs(server)
    with execute.started("--", "trap 'echo stubborn; sleep 62 & wait' TERM; echo ready; sleep 62 & wait") as process:
        assert line(process) == b"ready\n"
        os.killpg(process.pid, signal.SIGINT)
        assert line(process) == b"stubborn\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait() == 130
        assert ended_as(server, before, "running")
    wait_for(lambda: ended_as(server, before, "cancelled"))


def test_a_second_sigterm_changes_nothing(execute: Exec, server: Service) -> None:
    """`timeout` sends two of them, one to the process and one to its group."""
    before = runs(server)
    with execute.started(
        "--", "trap 'sleep 0.5; echo cleaned up; exit' TERM; echo ready; sleep 63 & wait"
    ) as process:
        assert line(process) == b"ready\n"
        os.kill(process.pid, signal.SIGTERM)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.communicate() == (b"cleaned up\n", b"")
        assert process.returncode == 143
    assert ended_as(server, before, "cancelled")


def test_ctrl_c_before_the_run_has_started_leaves_soon(scripted: Callable[..., tuple[Script, Exec]]) -> None:
    script, execute = scripted(b"", hold=True)
    with execute.started("--", "true") as process:
        wait_for(lambda: script.requests)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait() == 130


def test_ctrl_c_while_standard_input_is_read_is_quiet(execute: Exec, server: Service) -> None:
    before = runs(server)
    with execute.started("-i", "--", "cat", stdin=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(b"typed")
        process.stdin.flush()
        wait_for(lambda: bytes_in(process.stdin) == 0)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait() == 130
        assert process.communicate() == (b"", b"")
    assert runs(server).keys() <= before.keys()  # older ones may be forgotten meanwhile


def test_ctrl_c_works_though_nobody_reads_the_output(execute: Exec, server: Service) -> None:
    before = runs(server)
    with execute.started("--", "yes") as process:
        wait_for(lambda: bytes_in(process.stdout) > 0)
        os.killpg(process.pid, signal.SIGINT)
        wait_for(lambda: ended_as(server, before, "cancelled"))


def test_a_reader_that_has_seen_enough_ends_the_command(execute: Exec, server: Service) -> None:
    before = runs(server)
    with execute.started("--", "yes") as process:
        assert line(process) == b"y\n"
        assert process.stdout
        process.stdout.close()
        assert process.wait() == 141
        assert process.stderr
        assert process.stderr.read() == b""
    wait_for(lambda: ended_as(server, before, "cancelled"))


def test_output_that_cannot_be_written_is_125_and_ends_the_command(execute: Exec, server: Service) -> None:
    before = runs(server)
    with Path("/dev/full").open("wb") as full, execute.started("--", "yes", stdout=full.fileno()) as process:
        assert process.wait() == 125
        assert process.stderr
        assert process.stderr.read() == b"k8s-mcp: cannot write the output: No space left on device\n"
    wait_for(lambda: ended_as(server, before, "cancelled"))


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_a_stream_that_was_closed_before_gets_nothing(execute: Exec, closed: str) -> None:
    with execute.started(
        "--", "echo out; echo err >&2; exit 5", prefix=["bash", "-c", f'"$@" {closed}', "bash"]
    ) as it:
        out, err = it.communicate()
    assert it.returncode == 5
    assert out == (b"" if "1>" in closed else b"out\n")
    assert err == (b"" if "2>" in closed else b"err\n")


def test_a_pipe_that_does_not_block_loses_nothing(execute: Exec) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with execute.started("--", "seq 50000", stdout=writing) as process, os.fdopen(reading, "rb") as pipe:
        os.close(writing)
        wait_for(lambda: bytes_in(pipe) > 0)
        assert pipe.read() == "".join(f"{number}\n" for number in range(1, 50_001)).encode()
        assert process.wait() == 0


def test_signals_that_are_ignored_stay_ignored(execute: Exec, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    ignoring = ["bash", "-c", 'trap "" INT HUP; exec "$@"', "bash"]
    with execute.started("--", f"echo ready; until [ -e {go_on} ]; do sleep 0.05; done", prefix=ignoring) as process:
        assert line(process) == b"ready\n"
        os.killpg(process.pid, signal.SIGINT)
        os.killpg(process.pid, signal.SIGHUP)
        go_on.touch()
        assert process.communicate() == (b"", b"")
        assert process.returncode == 0


@pytest.mark.cluster
def test_kubectl_works_on_the_cluster_of_the_own_kubeconfig(
    server: Service, kubectl: Path, kubeconfig: str, tmp_path: Path, prepared: Prepared
) -> None:
    execute = Exec(server.url, tmp_path, kubeconfig, prepared)
    assert execute("--", "kubectl", "get", "--raw", "/readyz").stdout == "ok\n"
    assert execute("--", "kubectl get namespaces -o name | grep -x namespace/default").returncode == 0
    missing = execute("--", "kubectl", "get", "configmap", "there is none")
    assert missing.returncode == 1
    assert missing.stderr.startswith("Error")
