"""The history as clients find it: after a restart, on another replica, for who may see it, by every path."""

import json
import os
import re
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from k8s_mcp.history.database import database
from k8s_mcp.history.store import Store
from tests.support import kubeconfigs
from tests.support.callers import Callers
from tests.support.client import Client
from tests.support.execute import Exec, k8s_mcp
from tests.support.postgres import PASSWORD, Postgres
from tests.support.prepared import Prepared
from tests.support.service import Service, StartService, wait_for

POLICY = """
rules: [{name: all, principals: ["*"], own_kubeconfigs: true}]
observers:
  - principals: [looker]
  - {principals: [reader], output: true}
"""
SECRET = "only-for-alice"
WEEK = 604_800


class Kept:
    """Services on one database, for alice and others, who are observers or nobody."""

    def __init__(self, serve: StartService, callers: Callers, settings: dict[str, object]) -> None:
        self._serve = serve
        self._settings = {**settings, "history_seconds": WEEK, "auth_tokens": callers.file}
        self.callers = callers
        self.service = self.start()

    def start(self, **more: object) -> Service:
        self.service = self._serve(**{**self._settings, **more})
        return self.service

    def restart(self, **more: object) -> Service:
        """All that it had in memory is gone."""
        assert self.service.stop() == 0
        return self.start(**more)

    def get(self, who: str, path: str, **headers: str) -> httpx.Response:
        headers |= self.callers.headers(who)
        return httpx.get(f"{self.service.url}{path}", headers=headers, trust_env=False, timeout=30)

    def past(self, who: str = "alice", query: str = "") -> list[dict[str, Any]]:
        return self.get(who, f"/runs?past=true{query}").raise_for_status().json()["runs"]

    async def run(self, command: str) -> tuple[dict[str, Any], str]:
        """Alice runs it; its state and its stream, as they are while it is in memory, once the history has it."""
        async with Client(self.service.url, kubeconfigs.fake()) as client:
            client.http.headers.update(self.callers.headers("alice"))
            run_id = (await client.run(command)).run_id
            state = await client.state(run_id)
            stream = (await client.http.get(f"/runs/{run_id}/events")).text
        wait_for(lambda: run_id in {one["run_id"] for one in self.past()})
        return state, stream


@pytest.fixture
def callers(tmp_path: Path) -> Callers:
    return Callers(tmp_path / "tokens", "alice", "bob", "looker", "reader")


@pytest.fixture
def kept(serve: StartService, callers: Callers, tmp_path: Path) -> Kept:
    """With SQLite, and output."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    url = f"sqlite:///{tmp_path / 'state' / 'history.sqlite'}"
    return Kept(serve, callers, {"history_url": url, "history_output": True, "policy": policy})


async def test_a_run_is_as_it_was_after_a_restart(kept: Kept, tmp_path: Path) -> None:
    state, stream = await kept.run(r"printf 'one\033[1m\ntwo\n'; echo aside >&2; exit 3")
    run_id = state["run_id"]
    kept.restart()
    assert kept.get("alice", "/runs").json() == {"runs": []}
    assert kept.past() == [state]
    assert kept.get("alice", f"/runs/{run_id}").json() == state
    path = f"/runs/{run_id}/events"
    assert kept.get("alice", path).text == stream
    assert kept.get("alice", path, **{"Last-Event-ID": "2"}).text.count("data: ") == 2
    assert kept.get("alice", path, **{"Last-Event-ID": "4"}).status_code == 204
    timed = kept.get("alice", f"{path}?timed=true&watch=true").text
    assert [block for block in timed.split("\n\n") if '"at"' not in block] == stream.split("\n\n")
    assert '"status": "at", "seconds": ' in timed
    file = tmp_path / "state" / "history.sqlite"
    assert [stat.S_IMODE(each.stat().st_mode) for each in (file.parent, file)] == [0o700, 0o600]
    me = kept.get("alice", "/me").json()
    assert me["history"] == {"seconds": WEEK, "output": True}


async def test_who_sees_a_past_run_is_who_saw_it_before(kept: Kept) -> None:
    state, _ = await kept.run(f"echo {SECRET}; exit 3")
    kept.restart()
    run_id = state["run_id"]
    paths = [f"/runs/{run_id}", f"/runs/{run_id}/events", f"/runs/{run_id}/events?timed=true"]
    lists = ["/runs?past=true&all=true", "/runs?past=true", f"/runs/{run_id}"]
    for who, statuses in (("bob", [404] * 3), ("looker", [200, 403, 403]), ("reader", [200] * 3)):
        assert [kept.get(who, path).status_code for path in paths] == statuses
        seen = who != "bob"
        found = kept.get(who, "/runs?past=true&all=true").json()
        assert found["all"] is seen
        assert [one["principal"] for one in found["runs"]] == (["alice"] if seen else [])
        assert kept.past(who) == [], "its own are asked for"
        texts = [kept.get(who, path).text for path in (*paths, *lists)]
        assert any(SECRET in text for text in texts) is (who == "reader")
    lines = [json.loads(line) for line in kept.service.printed.read_text().splitlines()]
    looks = [(line["principal"], line["look"], line["of"]) for line in lines if line["event"] == "run.observed"]
    assert sorted(looks) == [
        ("looker", "list", None),
        ("looker", "state", "alice"),
        ("reader", "list", None),
        ("reader", "output", "alice"),
        ("reader", "state", "alice"),
    ]


async def test_lists_go_back_a_page_at_a_time(kept: Kept) -> None:
    states = [(await kept.run(f": {number}"))[0] for number in range(3)]
    first = kept.get("alice", "/runs?past=true&limit=2").json()
    assert first["runs"] == states[:0:-1]
    second = kept.get("alice", f"/runs?past=true&limit=2&before={first['next']}").json()
    assert (second["runs"], second["next"], second["missed"]) == (states[:1], None, [])
    assert kept.past(query=f"&since={states[2]['ended']}") == states[2:]
    for query in ("before=x", "before=2026-01-01T00:00:00.000Z", "limit=0", "limit=1001"):
        answer = kept.get("alice", f"/runs?past=true&{query}")
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, query.partition("=")[0])


async def test_without_output_none_is_kept(kept: Kept, tmp_path: Path) -> None:
    kept.restart(history_output="false", audit_command_bytes=0)
    state, _ = await kept.run(f"echo {SECRET}")
    kept.restart(history_output="false")
    answer = kept.get("alice", f"/runs/{state['run_id']}/events")
    assert (answer.status_code, "K8S_MCP_HISTORY_OUTPUT" in answer.text) == (404, True)
    assert kept.past()[0]["command"] is None
    kept.service.stop()
    for file in (tmp_path / "state").iterdir():
        assert SECRET.encode() not in file.read_bytes()
    with closing(sqlite3.connect(tmp_path / "state" / "history.sqlite")) as there:
        assert there.execute("SELECT count(*), count(output) FROM k8s_mcp_runs").fetchone() == (1, 0)


async def test_the_client_finds_and_replays_past_runs(
    kept: Kept, tmp_path: Path, prepared: Prepared, callers: Callers
) -> None:
    state, _ = await kept.run("echo one; sleep 0.5; echo two >&2; exit 7")
    run_id = state["run_id"]
    service = kept.restart()
    execute = Exec(service.url, tmp_path, kubeconfigs.fake(), prepared)
    execute.environment["K8S_MCP_TOKEN"] = callers.tokens["alice"]

    assert run_id not in execute.subcommand("runs", "list").stdout
    assert json.loads(execute.subcommand("runs", "list", "--past", "--json").stdout) == [state]
    assert f"run_id:      {run_id}\n" in execute.subcommand("runs", "show", run_id).stdout
    for more in ([], ["--timed"]):
        done = execute.subcommand("runs", "replay", run_id, *more)
        assert (done.returncode, done.stdout, done.stderr) == (7, "one\n", "two\n")
    recording = [json.loads(line) for line in execute.subcommand("runs", "record", run_id).stdout.splitlines()]
    assert [entry[1:] for entry in recording[1:]] == [["o", "one\r\n"], ["o", "two\r\n"], ["m", "done, exit code 7"]]
    times = re.findall(r'"seconds": ([0-9.]+)', kept.get("alice", f"/runs/{run_id}/events?timed=true").text)
    first, second, *_ = map(float, times)
    assert recording[2][0] - recording[1][0] == pytest.approx(second - first)
    wrong = execute.subcommand("runs", "list", "--past", "--limit", "0")
    assert (wrong.returncode, "--limit" in wrong.stderr) == (2, True)


async def test_replicas_share_a_database_and_go_on_without_it(
    serve: StartService, callers: Callers, postgres: Postgres, fake_kubeconfig: str
) -> None:
    kept = Kept(serve, callers, {"history_url": postgres.new(), "log_level": "debug"})
    one = kept.service
    state, _ = await kept.run("echo before")
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


def test_a_service_that_keeps_none_says_so(serve: StartService) -> None:
    service = serve(history_seconds=0)
    answer = service.get("/runs?past=true")
    assert (answer.status_code, "keeps no history" in answer.json()["detail"]) == (404, True)
    assert service.get("/me").json()["history"] is None
    assert service.get(f"/runs/{'0' * 32}").status_code == 404


def test_without_a_word_the_local_executor_keeps_one_of_its_users(serve: StartService, tmp_path: Path) -> None:
    service = serve(history_seconds="", history_url="")
    assert service.get("/runs?past=true").json() == {"runs": [], "next": None, "missed": []}


def test_where_nothing_can_be_written_the_service_goes_on(serve: StartService, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    service = serve(history_seconds=WEEK, history_url=f"sqlite:///{tmp_path}/file/history.sqlite")
    assert service.get("/runs").status_code == 200
    assert service.get("/runs?past=true").status_code == 503
    assert "the history cannot be written" in service.log.read_text()


def test_check_says_whether_the_database_answers_and_makes_nothing(
    postgres: Postgres, prepared: Prepared, tmp_path: Path
) -> None:
    new, newer, file = postgres.new(), postgres.new(), tmp_path / "state" / "history.sqlite"
    session = Store(database(newer)).connect()
    session.ask("UPDATE k8s_mcp_history SET version = 99")
    session.close()
    (tmp_path / "plain").write_text("")
    found = {
        url: history_finding(prepared, tmp_path, url)
        for url in (new, newer, f"sqlite:///{file}", f"sqlite:///{tmp_path}/plain/x", new.replace("%", "%2", 1))
    }
    assert [status for status, _ in found.values()] == ["ok", "failed", "ok", "failed", "failed"]
    assert "a later version of the service has used it" in found[newer][1]
    elsewhere, passwords = urlsplit(new), tmp_path / "passwords"
    passwords.write_text(f"*:*:*:*:{PASSWORD.replace(':', chr(92) + ':')}\n")
    passwords.chmod(0o600)
    without = f"postgresql://history@127.0.0.1:{elsewhere.port}{elsewhere.path}"
    assert history_finding(prepared, tmp_path, without, PGPASSFILE=str(passwords))[0] == "ok"
    assert Store(database(new)).version() == 0
    assert not file.parent.exists()
    with postgres.away():
        assert history_finding(prepared, tmp_path, new)[0] == "failed"


def history_finding(prepared: Prepared, home: Path, url: str, **more: str) -> tuple[str, str]:
    """What `check` says of it; and that it says no password, as `config` does not."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "K8S_MCP_HISTORY_URL": url, **more}
    checked = prepared.run("local", ["check", "--json", "--local-dir", str(home / "runs")], environment, home)
    shown = prepared.run("local", ["config"], environment, home)
    for secret in (PASSWORD, quote(PASSWORD, safe=""), "only-here"):
        assert secret.encode() not in checked.stdout + checked.stderr + shown.stdout + shown.stderr
    [finding] = [one for one in json.loads(checked.stdout)["checks"] if one["what"] == "history"]
    return finding["status"], finding["said"]


def test_a_service_does_not_start_on_a_later_version(serve: StartService, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'history.sqlite'}"
    session = Store(database(url)).connect()
    session.ask("UPDATE k8s_mcp_history SET version = 99")
    session.close()
    words = ["serve", "--port", "0", "--local-dir", str(tmp_path / "runs"), "--history-url", url]
    done = k8s_mcp(*words)
    assert (done.returncode, done.stdout) == (1, "")
    [said] = done.stderr.splitlines()
    assert "a later version of the service has used it" in said
