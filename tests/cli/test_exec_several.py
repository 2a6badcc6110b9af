"""`k8s-mcp exec` on several clusters: at the same time, marked by cluster, and none holds up the others."""

import os
import re
import signal
import socket
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path

import httpx2
import pytest

from tests.cli.test_exec import CHANGE, STARTED, control, state
from tests.support.execute import Exec, bytes_in, line, runs
from tests.support.faults import Script, answer
from tests.support.kubeconfigs import fake
from tests.support.prepared import Prepared
from tests.support.service import Service, processes_with, services, wait_for

NAMES = ("a", "b", "c")
ALL = tuple(word for name in NAMES for word in ("--cluster", name))
WHERE = (
    'at=$(grep -o "192.0.2.1:[0-9]*" "$KUBECONFIG" | head -n 1); case $at in *1) at=a;; *2) at=b;; *) at=c;; esac; '
)
"""A beginning for commands: $at is the cluster's name."""

StartService = Callable[..., Service]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, tools: Path, prepared: Prepared) -> Generator[StartService]:
    with services(tmp_path_factory.mktemp("server"), tools, how=prepared) as start:

        def with_settings(**settings: object) -> Service:
            return with_clusters(start(**settings))

        yield with_settings


@pytest.fixture(scope="module")
def server(start: StartService) -> Service:
    """One with three clusters stored."""
    return start()


@pytest.fixture
def execute(server: Service, tmp_path: Path, prepared: Prepared) -> Exec:
    return Exec(server.url, tmp_path, "nothing that could be sent", prepared)


def with_clusters(service: Service) -> Service:
    for number, name in enumerate(NAMES, 1):
        kubeconfig = fake().replace("192.0.2.1:6443", f"192.0.2.1:700{number}", 1)
        answer = httpx2.put(f"{service.url}/clusters/{name}", json={"kubeconfig": kubeconfig}, trust_env=False)
        answer.raise_for_status()
    return service


def of(text: str, name: str) -> list[str]:
    """The lines of one cluster, without its mark."""
    return re.findall(rf"^{name} \| (.*)$", text, re.MULTILINE)


def all_ended(server: Service, before: dict[str, str], status: str) -> bool:
    states = runs(server)
    return [states[run] for run in states.keys() - before.keys()] == [status] * len(NAMES)


def test_every_line_says_its_cluster_and_streams_stay_apart(execute: Exec) -> None:
    result = execute(*ALL, "--", f"{WHERE} echo one $at; echo; echo two; echo error $at >&2")
    assert result.returncode == 0
    assert {name: of(result.stdout, name) for name in NAMES} == {n: [f"one {n}", "", "two"] for n in NAMES}
    assert sorted(result.stderr.splitlines()) == [f"{name} | error {name}" for name in NAMES]


def test_all_clusters_are_those_that_are_listed(execute: Exec) -> None:
    result = execute("--all-clusters", "--", f"{WHERE} echo $at")
    assert (result.returncode, sorted(result.stdout.splitlines())) == (0, [f"{name} | {name}" for name in NAMES])


def test_a_cluster_that_is_named_twice_is_one(execute: Exec) -> None:
    assert execute("--cluster", "b", "--cluster", "b", "--", f"{WHERE} echo $at").stdout == "b\n"


def test_commands_run_at_the_same_time(execute: Exec, tmp_path: Path) -> None:
    waiting = (
        f"touch {tmp_path}/$at; until [ -e {tmp_path}/a -a -e {tmp_path}/b -a -e {tmp_path}/c ]; do sleep 0.05; done"
    )
    assert execute(*ALL, "--timeout", "60", "--", WHERE + waiting).returncode == 0


def test_the_highest_exit_code_counts_and_it_is_said_where(execute: Exec) -> None:
    result = execute(*ALL, "--", f"{WHERE} case $at in a) exit 3;; b) exit 4;; esac")
    assert result.returncode == 4
    assert re.fullmatch(r"k8s-mcp: failed on (a|b) \(exit code [34]\), (a|b) \(exit code [34]\)\n", result.stderr)
    assert "a (exit code 3)" in result.stderr


def test_what_one_cluster_ends_by_is_told_of_that_one(execute: Exec) -> None:
    result = execute(
        *ALL, "--cluster", "nowhere", "--timeout", "2", "--", f"{WHERE} [ $at != c ] || sleep 60; echo $at"
    )
    assert result.returncode == 125
    assert sorted(result.stdout.splitlines()) == ["a | a", "b | b"]
    messages = sorted(result.stderr.splitlines())
    assert messages[0] == "k8s-mcp: c: the command was ended at its timeout of 2 s"
    assert "k8s-mcp: failed on nowhere (exit code 125), c (exit code 124)" in messages
    assert messages[2].startswith("k8s-mcp: nowhere: ")
    assert "no such cluster" in messages[2]


def test_a_cluster_that_does_not_answer_holds_up_none(execute: Exec, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    command = f"{WHERE} [ $at != b ] || until [ -e {go_on} ]; do sleep 0.05; done; echo $at"
    with execute.started(*ALL, "--", command) as process:
        assert {line(process), line(process)} == {b"a | a\n", b"c | c\n"}
        assert process.poll() is None
        go_on.touch()
        assert process.communicate() == (b"b | b\n", b"")
        assert process.returncode == 0


def test_lines_stay_whole_where_both_streams_are_one_file(execute: Exec) -> None:
    with execute.started(*ALL, "--", "seq 20000 & seq 20000 >&2; wait", stderr=-2) as process:
        output = process.communicate()[0].decode()
    counts = Counter(re.sub(r"\d+", "N", text) for text in output.splitlines())
    assert counts == {f"{name} | N": 40_000 for name in NAMES}


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=str)
def test_a_signal_ends_the_command_everywhere(
    execute: Exec, server: Service, tmp_path: Path, number: signal.Signals, exit_code: int
) -> None:
    before = runs(server)
    command = f"trap 'echo cleaning up; exit 0' TERM; echo ready; sleep 61 & wait # {tmp_path}/marker"
    with execute.started(*ALL, "--", command) as process:
        assert {line(process) for _ in NAMES} == {f"{name} | ready\n".encode() for name in NAMES}
        os.killpg(process.pid, number)
        out, err = process.communicate()
        assert (sorted(out.splitlines()), err) == ([f"{name} | cleaning up".encode() for name in NAMES], b"")
        assert process.returncode == exit_code
    assert all_ended(server, before, "cancelled")
    assert processes_with(f"{tmp_path}/marker") == {}


def test_ctrl_c_works_though_nobody_reads_the_output(execute: Exec, server: Service) -> None:
    before = runs(server)
    with execute.started(*ALL, "--", "yes") as process:
        wait_for(lambda: bytes_in(process.stdout) > 0)
        wait_for(lambda: all_ended(server, before, "running"))
        os.killpg(process.pid, signal.SIGINT)
        wait_for(lambda: all_ended(server, before, "cancelled"))


def test_a_reader_that_has_seen_enough_ends_the_command_everywhere(execute: Exec, server: Service) -> None:
    before = runs(server)
    with execute.started(*ALL, "--", "yes") as process:
        wait_for(lambda: all_ended(server, before, "running"))
        assert process.stdout
        process.stdout.close()
        assert process.wait() == 141
        assert process.stderr
        assert process.stderr.read() == b""
    wait_for(lambda: all_ended(server, before, "cancelled"))


@pytest.fixture
def narrow(start: StartService) -> Service:
    """A service with room for two runs of a caller."""
    return start(max_runs_per_principal=2)


def test_more_clusters_than_a_quota_allows_take_turns(narrow: Service, tmp_path: Path, prepared: Prepared) -> None:
    execute = Exec(narrow.url, tmp_path, "", prepared)
    result = execute(*ALL, "--", f"{WHERE} echo $at")
    assert (result.returncode, result.stderr) == (0, "")
    assert sorted(result.stdout.splitlines()) == [f"{name} | {name}" for name in NAMES]


def test_a_quota_that_others_use_up_is_said_at_once(narrow: Service, tmp_path: Path, prepared: Prepared) -> None:
    execute = Exec(narrow.url, tmp_path, "", prepared)
    with execute.started("--cluster", "a", "--cluster", "b", "--", "echo ready; sleep 60") as others:
        assert {line(others), line(others)} == {b"a | ready\n", b"b | ready\n"}
        result = execute(*ALL, "--", "true")
        assert result.returncode == 125
        assert result.stderr.count("2 runs of yours are in progress, the most you may have") == 3
        os.killpg(others.pid, signal.SIGINT)
        assert others.wait() == 130


def test_ctrl_c_while_some_wait_for_a_quota_starts_none_of_them(
    narrow: Service, tmp_path: Path, prepared: Prepared
) -> None:
    execute = Exec(narrow.url, tmp_path, "", prepared)
    before = runs(narrow)
    with execute.started(*ALL, "--", "echo ready; sleep 60") as process:
        assert (line(process)[1:], line(process)[1:]) == (b" | ready\n", b" | ready\n")
        os.killpg(process.pid, signal.SIGINT)
        assert process.communicate() == (b"", b"")
        assert process.returncode == 130
    states = runs(narrow)
    assert [states[run] for run in states.keys() - before.keys()] == ["cancelled", "cancelled"]


def test_what_the_command_changed_is_said_of_each_cluster(tmp_path: Path, prepared: Prepared) -> None:
    done = answer(body=STARTED + control(status="done", exit_code=0))
    changes = [{**CHANGE, "code": 200}, {**CHANGE, "code": 403, "refused": "the request"}]
    with Script(done, done, done, state(requests={"complete": True, "changes": changes})) as script:
        result = Exec(script.url, tmp_path, "", prepared)(*ALL, "--changes", "--", "true")
    assert (result.returncode, result.stdout) == (0, "")
    what = "patch deployments.apps/scale web in shop"
    assert result.stderr.splitlines() == [
        said
        for name in NAMES
        for said in (f"k8s-mcp: {name}: {what}: 200", f"k8s-mcp: {name}: {what}: 403, refused by the request")
    ]


def test_changes_are_said_where_it_was_started_also_when_it_was_ended(execute: Exec) -> None:
    with execute.started(*ALL, "--cluster", "nowhere", "--changes", "--", "echo ready; sleep 60") as process:
        assert {line(process) for _ in NAMES} == {f"{name} | ready\n".encode() for name in NAMES}
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate()[1].decode().splitlines()
        assert process.returncode == 130
    unknown = "what the command changed is not known here"
    assert [text.split(" here")[0] + " here" for text in said if unknown in text] == [
        f"k8s-mcp: {name}: {unknown}" for name in NAMES
    ]


@pytest.mark.parametrize(
    ("words", "exit_code", "message"),
    [
        (("--cluster", "a", "--all-clusters"), 2, "--cluster and --all-clusters exclude each other"),
        (("--all-clusters", "--context", "x"), 2, "--all-clusters and --context exclude each other"),
        (("--cluster", "a", "--cluster", "b", "-d"), 2, "--detach goes with one cluster only"),
        (("--all-clusters", "--detach"), 2, "--detach goes with one cluster only"),
    ],
)
def test_options_that_make_no_sense_together(
    execute: Exec, words: tuple[str, ...], exit_code: int, message: str
) -> None:
    result = execute(*words, "--", "true")
    assert (result.returncode, result.stderr) == (exit_code, f"k8s-mcp: {message}\n")


def test_no_stored_clusters_is_said(start: StartService, tmp_path: Path, prepared: Prepared) -> None:
    service = start()
    for name in NAMES:
        httpx2.delete(f"{service.url}/clusters/{name}", trust_env=False).raise_for_status()
    result = Exec(service.url, tmp_path, "", prepared)("--all-clusters", "--", "true")
    assert result.returncode == 125
    assert result.stderr == "k8s-mcp: no clusters are stored; `k8s-mcp clusters add NAME` stores one\n"


def test_a_service_that_is_not_there_is_125(tmp_path: Path, prepared: Prepared) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    result = Exec(url, tmp_path, "", prepared)(*ALL, "--", "true")
    assert result.returncode == 125
    assert result.stderr.count(f"cannot reach {url}") == len(NAMES)
