"""The history as clients find it: after a restart, on another replica, for who may see it, by every path."""

import json
import os
import re
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from k8s_mcp.cli.check_history import of_history
from k8s_mcp.history.database import database
from k8s_mcp.history.store import Store
from k8s_mcp.settings import Settings
from tests.history.kept import POLICY, WEEK, Kept, callers_in
from tests.support import kubeconfigs
from tests.support.callers import Callers
from tests.support.client import Client
from tests.support.execute import Exec
from tests.support.postgres import PASSWORD, Postgres
from tests.support.prepared import Prepared
from tests.support.service import Service, StartService, services, wait_for

SECRET = "only-for-alice"
COMMANDS = (
    rf"printf '{SECRET}\033[1m\ntwo\n'; echo aside >&2; exit 3",
    "echo one; sleep 0.5; echo two >&2; exit 7",
    "true",
)


class Before(Kept):
    """What was run, and how it was seen while it was in memory; the service has been started anew since."""

    def __init__(self, start: StartService, callers: Callers, settings: Mapping[str, object]) -> None:
        super().__init__(start, callers, settings)
        self.states = [self.run(command) for command in COMMANDS]
        self.streams = [self.get("alice", f"/runs/{state['run_id']}/events").text for state in self.states]
        self.restart()


@pytest.fixture
def callers(tmp_path: Path) -> Callers:
    return callers_in(tmp_path)


@pytest.fixture(scope="module")
def state_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept") / "state" / "history.sqlite"


@pytest.fixture(scope="module")
def before(state_file: Path, tools: Path, prepared: Prepared) -> Iterator[Before]:
    """With SQLite, and output."""
    home = state_file.parents[1]
    (home / "policy.yaml").write_text(POLICY)
    settings = {"history_url": f"sqlite:///{state_file}", "history_output": True, "policy": home / "policy.yaml"}
    with services(home, tools, how=prepared) as start:
        yield Before(start, callers_in(home), settings)


def test_a_run_is_as_it_was_after_a_restart(before: Before, state_file: Path) -> None:
    state, stream = before.states[0], before.streams[0]
    run_id = state["run_id"]
    assert (state["exit_code"], state["lines"], state["command"]) == (3, 3, COMMANDS[0])
    assert before.get("alice", "/runs").json() == {"runs": []}
    assert before.past() == before.states[::-1]
    assert before.get("alice", f"/runs/{run_id}").json() == state
    path = f"/runs/{run_id}/events"
    assert before.get("alice", path).text == stream
    assert before.get("alice", path, **{"Last-Event-ID": "2"}).text.count("data: ") == 2
    assert before.get("alice", path, **{"Last-Event-ID": "4"}).status_code == 204
    timed = before.get("alice", f"{path}?timed=true&watch=true").text
    assert [block for block in timed.split("\n\n") if '"at"' not in block] == stream.split("\n\n")
    assert '"status": "at", "seconds": ' in timed
    assert [stat.S_IMODE(each.stat().st_mode) for each in (state_file.parent, state_file)] == [0o700, 0o600]
    assert before.get("alice", "/me").json()["history"] == {"seconds": WEEK, "output": True}


def test_who_sees_a_past_run_is_who_saw_it_before(before: Before) -> None:
    run_id = before.states[0]["run_id"]
    paths = [f"/runs/{run_id}", f"/runs/{run_id}/events", f"/runs/{run_id}/events?timed=true"]
    lists = ["/runs?past=true&all=true", "/runs?past=true", f"/runs/{run_id}"]
    for who, statuses in (("bob", [404] * 3), ("looker", [200, 403, 403]), ("reader", [200] * 3)):
        assert [before.get(who, path).status_code for path in paths] == statuses
        seen = who != "bob"
        found = before.get(who, "/runs?past=true&all=true").json()
        assert found["all"] is seen
        assert [one["principal"] for one in found["runs"]] == (["alice"] * 3 if seen else [])
        assert before.past(who) == [], "its own are asked for"
        texts = [before.get(who, path).text for path in (*paths, *lists)]
        assert any(SECRET in text for text in texts) is (who == "reader")
    lines = [json.loads(line) for line in before.service.printed.read_text().splitlines()]
    looks = [(line["principal"], line["look"], line["of"]) for line in lines if line["event"] == "run.observed"]
    assert sorted(looks) == [
        ("looker", "list", None),
        ("looker", "state", "alice"),
        ("reader", "list", None),
        ("reader", "output", "alice"),
        ("reader", "state", "alice"),
    ]


def test_lists_go_back_a_page_at_a_time(before: Before) -> None:
    states = before.states
    first = before.get("alice", "/runs?past=true&limit=2").json()
    assert first["runs"] == states[:0:-1]
    second = before.get("alice", f"/runs?past=true&limit=2&before={first['next']}").json()
    assert (second["runs"], second["next"], second["missed"]) == (states[:1], None, [])
    assert before.past(query=f"&since={states[2]['ended']}") == states[2:]
    for query in ("before=x", "before=2026-01-01T00:00:00.000Z", "limit=0", "limit=1001"):
        answer = before.get("alice", f"/runs?past=true&{query}")
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, query.partition("=")[0])


def test_the_client_finds_and_replays_past_runs(before: Before, tmp_path: Path, prepared: Prepared) -> None:
    run_id = before.states[1]["run_id"]
    execute = Exec(before.service.url, tmp_path, kubeconfigs.fake(), prepared)
    execute.environment["K8S_MCP_TOKEN"] = before.callers.tokens["alice"]

    assert run_id not in execute.subcommand("runs", "list").stdout
    assert json.loads(execute.subcommand("runs", "list", "--past", "--json").stdout) == before.states
    latest = execute.subcommand("runs", "list", "--past", "--limit", "2").stdout.splitlines()
    assert [row.split()[0] for row in latest] == ["RUN", *(state["run_id"] for state in before.states[1:])]
    assert f"run_id:      {run_id}\n" in execute.subcommand("runs", "show", run_id).stdout
    for more in ([], ["--timed"]):
        done = execute.subcommand("runs", "replay", run_id, *more)
        assert (done.returncode, done.stdout, done.stderr) == (7, "one\n", "two\n")
    recording = [json.loads(line) for line in execute.subcommand("runs", "record", run_id).stdout.splitlines()]
    assert [entry[1:] for entry in recording[1:]] == [["o", "one\r\n"], ["o", "two\r\n"], ["m", "done, exit code 7"]]
    times = re.findall(r'"seconds": ([0-9.]+)', before.get("alice", f"/runs/{run_id}/events?timed=true").text)
    first, second, *_ = map(float, times)
    assert recording[2][0] - recording[1][0] == pytest.approx(
        second - first, abs=0.003
    )  # four times that are written in milliseconds
    wrong = execute.subcommand("runs", "list", "--past", "--limit", "0")
    assert (wrong.returncode, "--limit" in wrong.stderr) == (2, True)


def test_without_output_none_is_kept(serve: StartService, callers: Callers, tmp_path: Path) -> None:
    file = tmp_path / "state" / "history.sqlite"
    settings = {"history_url": f"sqlite:///{file}", "replay_seconds": 0, "audit_command_bytes": 0}
    kept = Kept(serve, callers, settings)
    state = kept.run(f"echo {SECRET}")
    wait_for(lambda: kept.get("alice", "/runs").json() == {"runs": []})
    answer = kept.get("alice", f"/runs/{state['run_id']}/events")
    assert (answer.status_code, "K8S_MCP_HISTORY_OUTPUT" in answer.text) == (404, True)
    assert kept.past()[0]["command"] is None
    kept.service.stop()
    assert all(SECRET.encode() not in each.read_bytes() for each in file.parent.iterdir())
    with closing(sqlite3.connect(file)) as there:
        assert there.execute("SELECT count(*), count(output) FROM k8s_mcp_runs").fetchone() == (1, 0)


async def test_replicas_share_a_database_and_go_on_without_it(
    serve: StartService, callers: Callers, postgres: Postgres, fake_kubeconfig: str
) -> None:
    kept = Kept(serve, callers, {"history_url": postgres.new(), "log_level": "debug"})
    one = kept.service
    state = kept.run("echo before")
    other = kept.start()
    assert kept.past() == [state], "the other replica has it, too"
    async with Client(one.url, fake_kubeconfig) as client:
        client.http.headers.update(callers.headers("alice"))
        with postgres.away():
            wait_for(lambda: kept.get("alice", "/runs?past=true").status_code == 503)
            assert kept.get("alice", "/runs").status_code == 200
            run = await client.run("echo during")
            assert run.final["exit_code"] == 0
            metrics = await client.http.get("/metrics")
            assert "k8s_mcp_history_missed_total 0.0" in metrics.text
            wait_for(lambda: "the history cannot be written" in one.log.read_text())
        wait_for(lambda: run.run_id in {found["run_id"] for found in _again(kept)})
    assert [found["run_id"] for found in kept.past()] == [run.run_id, state["run_id"]]
    for service in (one, other):
        service.stop()
        text = service.log.read_text() + service.printed.read_text()
        assert PASSWORD not in text
        assert postgres.url() not in text


def _again(kept: Kept) -> list[dict[str, Any]]:
    answer = kept.get("alice", "/runs?past=true")
    return answer.json()["runs"] if answer.status_code == 200 else []


def test_a_service_that_keeps_none_says_so(server: Service) -> None:
    answer = server.get("/runs?past=true")
    assert (answer.status_code, "keeps no history" in answer.json()["detail"]) == (404, True)
    assert server.get("/me").json()["history"] is None
    assert server.get(f"/runs/{'0' * 32}").status_code == 404


def test_without_a_word_the_local_executor_keeps_one_of_its_user(serve: StartService) -> None:
    service = serve(history_seconds="")
    assert service.get("/me").json()["history"] == {"seconds": WEEK, "output": False}
    assert service.get("/runs?past=true").json()["missed"] == []


def test_where_nothing_can_be_written_the_service_goes_on(serve: StartService, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    service = serve(history_seconds=WEEK, history_url=f"sqlite:///{tmp_path}/file/history.sqlite")
    assert service.get("/runs").status_code == 200
    assert service.get("/runs?past=true").status_code == 503
    assert "the history cannot be written" in service.log.read_text()


def of_a_later_version(url: str) -> str:
    session = Store(database(url)).connect()
    session.ask("UPDATE k8s_mcp_history SET version = 99")
    session.close()
    return url


async def test_check_says_whether_the_database_answers_and_makes_nothing(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, file, passwords = postgres.new(), tmp_path / "state" / "history.sqlite", tmp_path / "passwords"
    assert await finding(new) == "ok"
    assert Store(database(new)).version() == 0
    assert await finding(f"sqlite:///{file}") == "ok"
    assert not file.parent.exists()
    passwords.write_text(f"*:*:*:*:{PASSWORD.replace(':', chr(92) + ':')}\n")
    passwords.chmod(0o600)
    without = f"postgresql://history@127.0.0.1:{urlsplit(new).port}{urlsplit(new).path}"
    assert "no password supplied" in await finding(without)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    assert await finding(without) == "ok"
    assert "cannot be made" in await finding(f"sqlite:///{passwords}/x")
    assert "a later version of the service has used it" in await finding(of_a_later_version(postgres.new()))
    assert "password authentication failed" in await finding(new.replace("only-here", "only-there"))
    with postgres.away():
        assert "refused" in await finding(new)


async def finding(url: str) -> str:
    """`ok`, or what it says; no password is in that."""
    found = await of_history(Settings.model_validate({"history_url": url}))
    assert found
    assert not re.search("only-t?here", found.said + found.advice)
    return "ok" if found.status == "ok" else found.said


def test_no_password_is_in_the_configuration_that_is_shown(prepared: Prepared, tmp_path: Path) -> None:
    url = "postgresql://u:only/here@h:5432/d?sslpassword=only-here"
    shown = prepared.run("local", ["config"], {"PATH": os.environ["PATH"], "K8S_MCP_HISTORY_URL": url}, tmp_path)
    assert b" postgresql://[masked]@h:5432/d " in shown.stdout
    assert b"only" not in shown.stdout.partition(b"K8S_MCP_HISTORY_URL")[2].partition(b"\n")[0]


def test_a_service_does_not_start_on_a_later_version(prepared: Prepared, tmp_path: Path) -> None:
    url = of_a_later_version(f"sqlite:///{tmp_path / 'history.sqlite'}")
    words = ["serve", "--port", "0", "--local-dir", str(tmp_path / "runs"), "--history-url", url]
    done = prepared.run("local", words, {"PATH": os.environ["PATH"]}, tmp_path)
    assert (done.returncode, done.stdout) == (1, b"")
    [said] = done.stderr.decode().splitlines()
    assert "a later version of the service has used it" in said
