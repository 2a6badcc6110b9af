"""Runs of the past are read as any other, where the history keeps what they wrote."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.history.kept import POLICY, Kept, callers_in
from tests.mcp import raw
from tests.mcp.clients import Result, result_of
from tests.support.prepared import Prepared
from tests.support.service import StartService, services

COMMAND = "echo one; echo two; sleep 0.3; echo aside >&2; exit 3"
LONG = "seq 300000"
"""Two megabytes: more than is kept."""


class Past(Kept):
    """What was run before the service was started anew; `before` has what was read of it then."""

    def made(self) -> None:
        self.short, self.long = self.run(COMMAND), self.run(LONG)
        self.before = {state["run_id"]: self.read("alice", state["run_id"]) for state in (self.short, self.long)}
        self.restart()

    def ask(self, who: str, message: dict[str, Any]) -> dict[str, Any]:
        headers = {**raw.ACCEPT, **self.callers.headers(who)}
        return raw.answer(httpx.post(f"{self.service.url}/mcp", json=message, headers=headers, trust_env=False))

    def read(self, who: str, run_id: str, **arguments: object) -> Result:
        return result_of(self.ask(who, raw.tool("read_output", run_id=run_id, **arguments))["result"])


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory, tools: Path, prepared: Prepared) -> Iterator[Past]:
    home = tmp_path_factory.mktemp("past")
    (home / "policy.yaml").write_text(POLICY)
    url = f"sqlite:///{home}/state/history.sqlite"
    settings = {"history_url": url, "history_output": True, "policy": home / "policy.yaml"}
    with services(home, tools, how=prepared) as start:
        made = Past(start, callers_in(home), settings)
        made.made()
        yield made


def test_a_past_run_is_read_as_it_was_before(past: Past) -> None:
    run_id = past.short["run_id"]
    before, now = past.before[run_id], past.read("alice", run_id)
    assert now.text.splitlines()[:3] == before.text.splitlines()[:3] == ["one", "two", "aside"]
    assert now.text.splitlines()[3].startswith("[exit code 3 after ")
    assert before.data
    assert now.data
    assert {**now.data, "readable_until": 0} == {**before.data, "readable_until": 0}
    assert now.data["readable_until"] > before.data["readable_until"], "7 days, not 15 minutes"
    assert past.read("alice", run_id, stream="stderr").text.startswith("aside\n[exit code 3")
    assert past.read("alice", run_id, grep="w").text.startswith("2:two\n[exit code 3")
    assert past.read("alice", run_id, start_line=9).text.startswith("[no such lines]\n[exit code 3")
    first = past.read("alice", run_id, max_lines=1)
    assert first.text.startswith("one\n[more from line 2; 3 lines in all]\n[exit code 3")
    assert first.data
    assert first.data["next_line"] == 2


def test_the_middle_that_was_not_kept_is_named(past: Past) -> None:
    run_id = past.long["run_id"]
    head = past.read("alice", run_id)
    assert head.text.startswith("1\n2\n3\n")
    assert "\n[more from line 201; 300000 lines in all]\n" in head.text
    tail = past.read("alice", run_id, tail=2)
    assert "\n299999\n300000\n" in f"\n{tail.text}"
    left_out = int(tail.text.partition("lines left out between: ")[2].partition("]")[0])
    assert 100_000 < left_out < 250_000
    assert f"lines left out between: {left_out}]\n" in head.text
    found = past.read("alice", run_id, grep="299999").text
    assert re.match(rf"\[lines lost before line \d{{6}}: {left_out}\]\n299999:299999\n\[the history keeps ", found)


@pytest.mark.parametrize(
    ("who", "said"), [("bob", "no such run"), ("looker", "not read it"), ("reader", "one\ntwo\n")]
)
def test_who_reads_a_past_run_is_who_the_policy_lets(past: Past, who: str, said: str) -> None:
    answer = past.read(who, past.short["run_id"])
    assert answer.is_error is (who != "reader")
    assert said in answer.text
    assert ("aside" in answer.text) is (who == "reader")
    lines = map(json.loads, past.service.printed.read_text().splitlines())
    observed = [line for line in lines if line["event"] == "run.observed" and line["principal"] == who]
    looks = [(line["look"], line["via"]) for line in observed]
    assert looks == ([("output", "mcp")] if who == "reader" else [])


def test_a_past_run_is_a_resource_too(past: Past) -> None:
    def content(who: str) -> dict[str, Any]:
        return past.ask(who, raw.request("resources/read", uri=f"k8s-mcp://runs/{past.short['run_id']}/output"))

    assert content("alice")["result"]["contents"][0]["text"] == "one\ntwo\naside"
    assert "not read it" in content("looker")["error"]["message"]


def test_without_output_it_says_what_there_is(serve: StartService, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state/history.sqlite"
    past = Past(serve, callers_in(tmp_path), {"history_url": url})
    state = past.run(COMMAND)
    past.restart()
    for why, output in (("only with K8S_MCP_HISTORY_OUTPUT", False), ("none of its output", True)):
        past.restart(history_output=output)
        answer = past.read("alice", state["run_id"])
        ended = f"the run ended at {state['ended']} (done, exit code 3), and its output is gone: the history has what"
        assert answer.is_error
        assert answer.text.startswith(ended)
        assert why in answer.text
