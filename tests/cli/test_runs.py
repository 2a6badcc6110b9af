"""`k8s-mcp runs` and `exec --detach`: a run is left, found again, followed to its end, cancelled."""

import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.execute import K8S_MCP, Exec, Result, line, runs
from tests.support.faults import Script, answer
from tests.support.prepared import Prepared
from tests.support.service import Service

RUN = "0123456789abcdef0123456789abcdef"
STARTED = f'event: control\ndata: {{"status": "started", "run_id": "{RUN}"}}\n\n'


@pytest.fixture
def execute(server: Service, tmp_path: Path, fake_kubeconfig: str, prepared: Prepared) -> Exec:
    """Runs commands on `server`, with the made-up kubeconfig."""
    return Exec(server.url, tmp_path, fake_kubeconfig, prepared)


def ask(execute: Exec, *words: str) -> Result:
    return subprocess.run(
        [*K8S_MCP, "runs", *words], env=execute.environment, capture_output=True, text=True, check=False
    )


def test_a_run_is_left_and_followed_to_its_end(execute: Exec, tmp_path: Path) -> None:
    go = tmp_path / "go"
    left = execute("--detach", "--", f"echo one; until [ -e {go} ]; do sleep 0.02; done; echo two >&2; exit 7")
    run_id = left.stdout.strip()
    assert left.returncode == 0
    assert left.stderr == (
        f"k8s-mcp: unless somebody follows it, the service cancels it after 10 s: k8s-mcp runs follow {run_id}\n"
    )
    shown = json.loads(ask(execute, "show", run_id, "--json").stdout)
    assert (shown["run_id"], shown["exit_code"]) == (run_id, None)
    assert run_id in ask(execute).stdout
    go.touch()
    followed = ask(execute, "follow", run_id)
    assert (followed.returncode, followed.stdout, followed.stderr) == (7, "one\n", "two\n")
    assert ask(execute, "follow", run_id).returncode == 7
    found = [one for one in json.loads(ask(execute, "list", "--json").stdout) if one["run_id"] == run_id]
    assert [(one["status"], one["exit_code"]) for one in found] == [("done", 7)]
    rows = ask(execute, "list").stdout.splitlines()
    assert rows[0].split() == ["RUN", "STATUS", "EXIT", "CREATED", "CLUSTER"]
    assert [row.split()[:3] for row in rows if run_id in row] == [[run_id, "done", "7"]]
    assert f"run_id:      {run_id}\n" in ask(execute, "show", run_id).stdout


def test_a_run_is_cancelled_by_its_id(execute: Exec, server: Service) -> None:
    with execute.started("--", "echo ready; sleep 60") as process:
        assert line(process) == b"ready\n"
        [run_id] = [one for one, status in runs(server).items() if status == "running"]
        assert ask(execute, "cancel", run_id).returncode == 0
        assert process.wait() == 130


def test_leaving_a_run_that_is_followed_does_not_cancel_it(execute: Exec, server: Service) -> None:
    with execute.started("--", "echo ready; sleep 60") as process:
        assert line(process) == b"ready\n"
        [run_id] = [one for one, status in runs(server).items() if status == "running"]
        words = [*K8S_MCP, "runs", "follow", run_id]
        with subprocess.Popen(
            words, env=execute.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as follower:
            assert follower.stdout
            assert follower.stderr
            assert follower.stdout.readline() == "ready\n"
            follower.send_signal(signal.SIGINT)
            assert "nobody follows the run here any more" in follower.stderr.read()
            assert follower.wait() == 130
        assert runs(server)[run_id] == "running"
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130


@pytest.mark.parametrize("action", ["show", "follow", "cancel"])
def test_a_run_that_is_not_there_is_said(execute: Exec, action: str) -> None:
    done = ask(execute, action, RUN)
    assert done.returncode in {1, 125}
    assert "404" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "connection was lost" not in done.stderr


@pytest.mark.parametrize("name", ["../clusters/a", "a?b", "a#b", "", "ä"])
def test_an_id_that_is_none_reaches_no_service(name: str) -> None:
    with Script(answer()) as service:
        words = [*K8S_MCP, "runs", "cancel", "--url", service.url, "--", name]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, service.requests) == (2, [])
    assert "is no run's id" in done.stderr


def test_a_terminal_shows_that_a_pod_is_being_started_and_forgets_it(
    tmp_path: Path, fake_kubeconfig: str, prepared: Prepared
) -> None:
    pulling = 'event: control\ndata: {"status": "pending", "reason": "ErrImagePull", "message": "m\\u001b[2J"}\n\n'
    state = answer(body='{"status": "pending"}', media_type="application/json", Content_Length="21")
    with Script(answer(body=STARTED + pulling), state, hold=True) as service:
        _, execute = service, Exec(service.url, tmp_path, fake_kubeconfig, prepared)
        ours, theirs = pty.openpty()
        with execute.started("--", "true", stderr=theirs) as process:
            os.close(theirs)
            seen = os.read(ours, 4096)
            assert seen == b"k8s-mcp: a pod is being started (ErrImagePull: m [2J)"
            process.send_signal(signal.SIGINT)
            after = b""
            while b"\n" not in after:  # it erases, says that it cannot cancel, and ends
                after += os.read(ours, 4096)
            assert b"\r\x1b[Kk8s-mcp: could not cancel the run" in after
            assert process.wait() == 130
        os.close(ours)


def test_a_terminal_shows_nothing_of_a_command_that_is_silent(execute: Exec) -> None:
    ours, theirs = pty.openpty()
    with execute.started("--", "sleep 2.5; echo end", stderr=theirs) as process:
        os.close(theirs)
        assert line(process) == b"end\n"
        assert process.wait() == 0
    with pytest.raises(OSError, match="Input/output error"):
        os.read(ours, 4096)
    os.close(ours)
