"""`k8s-mcp runs --all`, `replay` and `record`: looking at the runs of others, and at one's own once more."""

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from k8s_mcp.cli.record import record
from k8s_mcp.client.event_source import Control, Event, Lines
from tests.support.callers import Callers, service_with_policy
from tests.support.execute import K8S_MCP, Exec, Result
from tests.support.faults import Script, answer
from tests.support.prepared import Prepared
from tests.support.service import Service

POLICY = """
rules: [{name: all, principals: ["*"], own_kubeconfigs: true}]
observers: [{principals: [olivia], output: true}]
"""
START = datetime(2026, 11, 29, 20, 0, 0, tzinfo=UTC)
STATE = {"run_id": "0" * 32, "command": "kubectl get pods", "started": "2026-11-29T20:00:00.000Z", "ended": None}
DONE = Control({"status": "done", "exit_code": 3}, 4)


@pytest.fixture(scope="module")
def callers(tmp_path_factory: pytest.TempPathFactory) -> Callers:
    return Callers(tmp_path_factory.mktemp("callers") / "tokens", "alice", "olivia")


@pytest.fixture(scope="module")
def observed(
    tmp_path_factory: pytest.TempPathFactory, tools: Path, prepared: Prepared, callers: Callers
) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("observed")
    with service_with_policy(directory, tools, prepared, callers, POLICY) as service:
        yield service


@pytest.fixture
def execute(observed: Service, tmp_path: Path, fake_kubeconfig: str, prepared: Prepared, callers: Callers) -> Exec:
    """Alice's."""
    made = Exec(observed.url, tmp_path, fake_kubeconfig, prepared)
    made.environment["K8S_MCP_TOKEN"] = callers.tokens["alice"]
    return made


def ask(execute: Exec, callers: Callers, who: str, *words: str) -> Result:
    environment = {**execute.environment, "K8S_MCP_TOKEN": callers.tokens[who]}
    return subprocess.run([*K8S_MCP, "runs", *words], env=environment, capture_output=True, text=True, check=False)


def test_observer_lists_replays_and_records_the_runs_of_others(execute: Exec, callers: Callers) -> None:
    assert execute("--", "printf '\\033[31mone\\033[0m\\n'; echo two >&2; exit 3").returncode == 3
    listed = ask(execute, callers, "olivia", "list", "--all")
    head, row = (line.split() for line in listed.stdout.splitlines())
    assert head == ["RUN", "STATUS", "EXIT", "CREATED", "CALLER", "CLUSTER"]
    assert row[4] == "alice"
    assert listed.stderr == ""
    run_id = row[0]
    replayed = ask(execute, callers, "olivia", "replay", run_id)
    assert (replayed.returncode, replayed.stdout, replayed.stderr) == (3, "\x1b[31mone\x1b[0m\n", "two\n")
    recorded = ask(execute, callers, "olivia", "record", run_id)
    assert recorded.returncode == 0
    header, *entries = [json.loads(line) for line in recorded.stdout.splitlines()]
    assert (header["version"], header["title"][:6]) == (2, "printf")
    assert "".join(text for _, kind, text in entries if kind == "o") == "\x1b[31mone\x1b[0m\r\ntwo\r\n"
    assert entries[-1][1:] == ["m", "done, exit code 3"]
    assert [at for at, *_ in entries] == sorted(at for at, *_ in entries)


def test_who_is_no_observer_is_told_that_these_are_their_own(execute: Exec, callers: Callers) -> None:
    assert execute("--", "true").returncode == 0
    mine = ask(execute, callers, "alice", "list", "--all")
    assert "these are your own" in mine.stderr
    assert "CALLER" not in mine.stdout
    assert mine.stdout.count("done") >= 1


@pytest.mark.parametrize(("action", "query"), [("follow", ""), ("replay", "?watch=true")])
def test_replay_only_looks_on(action: str, query: str) -> None:
    done = 'event: control\ndata: {"status": "done", "exit_code": 0}\nid: 1\n\n'
    with Script(answer(body=done)) as service:
        words = [*K8S_MCP, "runs", action, "--url", service.url, "0" * 32]
        assert subprocess.run(words, capture_output=True, check=False).returncode == 0
    [request] = service.requests
    assert request.startswith(f"GET /runs/{'0' * 32}/events{query} HTTP/1.1")


def recording(state: dict[str, Any], events: list[Event], seconds: list[float]) -> list[Any]:
    written: list[bytes] = []
    clock = iter(seconds)
    record(state, events, lambda _, data: written.append(data), lambda: START + timedelta(seconds=next(clock)))
    return [json.loads(line) for line in b"".join(written).splitlines()]


def test_a_run_in_progress_is_recorded_with_the_times_at_which_its_lines_come() -> None:
    events: list[Event] = [
        Control({"status": "started", "run_id": "0" * 32}, None),
        Lines("stdout", b"a\nb\n", 2),
        Control({"status": "gap", "stream": "stdout", "missing": 1}, 3),
        Lines("stderr", "ü\n".encode(), 4),
        DONE,
    ]
    assert recording(STATE, events, [1.5, 2, 1.9, 3]) == [
        {"version": 2, "width": 120, "height": 36, "timestamp": 1795982400, "title": "kubectl get pods"},
        [1.5, "o", "a\r\nb\r\n"],
        [2.0, "o", "[1 lines were lost on the way]\r\n"],
        [2.0, "o", "ü\r\n"],  # times never go back, whatever a clock does
        [3.0, "m", "done, exit code 3"],
    ]


def test_the_output_of_a_run_that_is_over_comes_at_its_beginning() -> None:
    over = {**STATE, "ended": "2026-11-29T20:00:07.250Z", "command": None}
    header, *entries = recording(over, [Lines("stdout", b"a\n", 1), DONE], [])
    assert header["title"] == "0" * 32
    assert entries == [[0.0, "o", "a\r\n"], [7.25, "m", "done, exit code 3"]]
