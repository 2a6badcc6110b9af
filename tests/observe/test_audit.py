"""The audit log: a line for whatever concerns an auditor, each whole and by itself, and never a credential."""

import json
import os
import re
import resource
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from anyio.to_thread import run_sync
from hypothesis import given
from hypothesis import strategies as st

from k8s_mcp.errors import StartError, Unavailable
from k8s_mcp.kubeconfig.redact import Redactor
from k8s_mcp.models import Ended, Principal, RunSpec
from k8s_mcp.observe.audit import Allowance, AuditLog, entry_of
from k8s_mcp.observe.audit_file import AuditFile
from k8s_mcp.observe.facts import (
    Amount,
    CancelRequested,
    HandleDeleted,
    HandleStored,
    Happening,
    Observed,
    OrphanRemoved,
    Outcome,
    Refused,
    RunEnded,
    RunReleased,
    RunStarted,
    Target,
    run_facts,
)
from k8s_mcp.recorded import Change, Requests
from tests.mcp.clients import python_http
from tests.support.client import Client
from tests.support.kubeconfigs import CREDENTIALS, TOKEN, credentials_in
from tests.support.prepared import Prepared
from tests.support.service import StartService, wait_for

Json = dict[str, Any]

CREATED = "2026-05-04T10:00:00.000Z"
SOMEONE = Principal("someone", address="192.0.2.7")
NOTHING = Redactor([])


def spec(command: str = "kubectl get pods", stdin: str | None = None) -> RunSpec:
    return RunSpec(
        run_id="ab" * 16,
        name="run-" + "ab" * 16,
        owner="o",
        digest="d",
        server="https://192.0.2.1:6443",
        timeout=300,
        created=CREATED,
        command=command,
        stdin=stdin,
    )


CHANGE = Change(CREATED, "patch", "deployments.apps", "scale", "shop", "web", "", 200, dry_run=True, refused="")


def happenings(text: str, redactor: Redactor) -> list[Happening]:
    """One of each kind, with `text` wherever a caller, a command or a cluster can put one."""
    target = Target(text, text, "", text)
    run = run_facts(spec(text, text), SOMEONE, "http", target, redactor.mask)
    outcome = Outcome(
        ended=Ended("error", None, redactor.mask(text)),
        started_at=None,
        ended_at="2026-05-04T10:00:01.500Z",
        amounts={"stdout": Amount(10, 2), "stderr": Amount()},
        gaps=0,
        lost_lines=0,
        place={"pod": "run-1-abc", "pod_uid": "uid-1", "node": "node-1"},
        left=redactor.mask(text),
        requests=Requests(2, 1, complete=False, changes=(CHANGE,)).masked(lambda _: redactor.mask(text)),
    )
    return [
        RunStarted(run),
        RunStarted(replace(run, adopted=True)),
        RunEnded(run, outcome, command_started=True, seconds=1.5),
        RunReleased(run, command_started=True),
        OrphanRemoved(run.run_id, "https://192.0.2.1:6443", CREATED),
        CancelRequested(SOMEONE, "mcp", run.run_id),
        Observed(SOMEONE, "http", "output", run.run_id, redactor.mask(text)),
        HandleStored(SOMEONE, run.target, 60),
        HandleDeleted(SOMEONE, "name"),
        Refused(422, "InvalidRequest", "http", "POST", "/sse", ("command",), SOMEONE, "192.0.2.7"),
    ]


def written(happening: Happening, command_bytes: int = 1000) -> str:
    lines: list[str] = []
    AuditLog(lines.append, command_bytes, lambda: None).observe(happening)
    [line] = lines
    return line


_CREDENTIAL = st.text(alphabet="KLMNOPQRSTUVWXYZ_-é漢", min_size=8, max_size=60)


@given(st.text(), st.lists(_CREDENTIAL, min_size=1, max_size=3), st.text())
def test_a_line_is_one_line_and_has_no_credential_whatever_was_sent(
    before: str, credentials: list[str], after: str
) -> None:
    text = "\r\n".join([before, *credentials, *credentials, after]).encode("utf-8", "replace").decode()
    for happening in happenings(text, Redactor(credentials)):
        line = written(happening)
        assert line.endswith("}\n")
        assert line[:-1].isascii()
        assert line[:-1].isprintable()
        entry: Json = json.loads(line)
        assert {"time", "event"} <= set(entry)
        told = json.dumps(entry, ensure_ascii=False)
        assert not [credential for credential in credentials if credential in told]


@pytest.mark.parametrize("credential", CREDENTIALS, ids=range(len(CREDENTIALS)))
def test_credentials_of_the_kubeconfig_are_masked_wherever_they_stand(credential: str) -> None:
    text = f"curl -H 'Authorization: Bearer {credential}'\n{credential}"
    lines = [written(happening) for happening in happenings(text, Redactor(CREDENTIALS))]
    assert credentials_in("".join(lines)) == []
    assert "[redacted]" in lines[0]


def test_command_is_cut_or_left_out_by_setting_and_its_hash_is_always_there() -> None:
    run = run_facts(spec("echo grüße"), SOMEONE, "http", Target("s"), NOTHING.mask)
    whole, cut, none = (json.loads(written(RunStarted(run), most)) for most in (1000, 8, 0))
    assert [entry["command"] for entry in (whole, cut, none)] == ["echo grüße", "echo gr", None]
    digest = subprocess.run(["sha256sum"], input="echo grüße".encode(), capture_output=True, check=True).stdout
    for entry in (whole, cut, none):
        assert entry["command_sha256"] == digest.decode().split()[0]
        assert entry["command_size"] == 12


def test_stdin_is_told_by_size_and_hash_only() -> None:
    run = run_facts(spec(stdin="secret manifest"), SOMEONE, "http", Target("s"), NOTHING.mask)
    line = written(RunStarted(run))
    assert "secret manifest" not in line
    assert json.loads(line)["stdin"]["size"] == 15
    assert len(json.loads(line)["stdin"]["sha256"]) == 64


def test_end_of_a_run_says_what_was_left_and_why() -> None:
    [ended] = [h for h in happenings("x", NOTHING) if isinstance(h, RunEnded)]
    entry = json.loads(written(ended))
    assert (entry["cleanup"], entry["left"]) == ("failed", "x")
    clean = replace(ended, outcome=replace(ended.outcome, left=""))
    assert (json.loads(written(clean))["cleanup"], json.loads(written(clean))["left"]) == ("removed", None)
    assert entry["seconds"] == 1.5


def test_end_of_a_run_says_what_the_command_asked_for() -> None:
    [ended] = [h for h in happenings("x", NOTHING) if isinstance(h, RunEnded)]
    told = json.loads(written(ended))["requests"]
    assert (told["total"], told["refused"], told["complete"]) == (2, 1, False)
    assert [(change["code"], change["dry_run"]) for change in told["changes"]] == [(200, True)]
    without = replace(ended, outcome=replace(ended.outcome, requests=None))
    assert "requests" not in json.loads(written(without))


def test_a_flood_of_refusals_does_not_flood_the_log() -> None:
    allowance = Allowance(per_second=10, at_once=3)
    assert [allowance.take(100.0)[0] for _ in range(5)] == [True, True, True, False, False]
    assert allowance.take(100.125) == (True, 2)
    assert allowance.take(100.125) == (False, 0)
    assert [allowance.take(200.0)[0] for _ in range(4)] == [True, True, True, False]


def test_start_of_a_run_that_cannot_be_written_down_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    failed: list[None] = []
    file = AuditFile(Path("/dev/full"))
    audit = AuditLog(file.write, 1000, lambda: failed.append(None))
    started, _, ended, *rest = happenings("x", NOTHING)
    with file.open():
        with pytest.raises(Unavailable, match="audit log"):
            audit.observe(started)
        audit.observe(ended)
        for happening in rest:
            audit.observe(happening)
    assert len(failed) == 2 + len(rest)
    assert "No space left on device" in caplog.text
    assert "run.ended" in caplog.text


def test_file_that_was_moved_away_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    file = AuditFile(path)
    with file.open():
        file.write("one\n")
        path.rename(tmp_path / "audit.log.1")
        file.write("two\n")
        path.unlink()
        file.write("three\n")
        os.truncate(path, 0)  # as copytruncate does
        file.write("four\n")
    assert (tmp_path / "audit.log.1").read_text() == "one\n"
    assert path.read_text() == "four\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_line_behind_one_that_was_cut_by_a_full_disk_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    file = AuditFile(path)
    _, hard = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with file.open():
        file.write("one\n")
        resource.setrlimit(resource.RLIMIT_FSIZE, (8, hard))
        try:
            with pytest.raises(OSError, match="too large"):
                file.write("this is cut\n")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        file.write("three\n")
    assert path.read_text() == "one\nthis\nthree\n"


def test_service_does_not_start_without_its_audit_log(prepared: Prepared, tmp_path: Path) -> None:
    with pytest.raises(StartError, match="audit"), AuditFile(tmp_path / "no" / "audit.log").open():
        pass
    environment = {**os.environ, "K8S_MCP_AUDIT_LOG": str(tmp_path), "K8S_MCP_PORT": "0"}
    environment["K8S_MCP_LOCAL_DIR"] = str(tmp_path / "runs")
    done = prepared.run("local", ["serve"], environment, tmp_path)
    assert done.returncode == 1
    assert b"the audit log" in done.stderr


def test_every_happening_is_written_or_is_no_business_of_an_auditor() -> None:
    events = [(entry_of(happening, 10) or {})["event"] for happening in happenings("x", NOTHING)]
    assert events == [
        *("run.started", "run.adopted", "run.ended", "run.released", "run.ended"),
        *("run.cancel", "run.observed", "cluster.stored", "cluster.deleted", "request.refused"),
    ]


PAGE = Path(__file__).parents[2] / "docs" / "audit.md"


def documented(section: str) -> set[str]:
    """The names in the first column of its tables."""
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return {name for row in rows for name in re.findall("`([a-z_0-9]+)`", row)}


def test_documented_fields_are_those_of_real_lines() -> None:
    found = {entry["event"]: entry for h in happenings("x", NOTHING)[:3] if (entry := json.loads(written(h)))}
    refused = json.loads(written(happenings("x", NOTHING)[-1]))
    _, _, of_runs, of_refusals, _ = re.split("^## ", PAGE.read_text(), flags=re.MULTILINE)
    assert documented(of_runs) == set(found["run.ended"])
    assert documented(of_runs.partition("| | |")[0]) == set(found["run.started"]) == set(found["run.adopted"])
    assert documented(of_refusals) == {*refused, "unwritten"} - {"time", "event"}
    [example] = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert list(json.loads(example)) == list(found["run.ended"])


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


@pytest.fixture
def audited(serve: StartService, log: Path) -> StartService:
    """Starts a service that keeps its audit log there."""
    return partial(serve, audit_log=log)


def entries(log: Path, event: str = "") -> list[Json]:
    found = [json.loads(line) for line in log.read_text().splitlines()]
    return [entry for entry in found if event in ("", entry["event"])]


async def until(log: Path, event: str, count: int = 1) -> list[Json]:
    """The first `count` lines of that kind."""
    return await run_sync(wait_for, lambda: found if len(found := entries(log, event)) >= count else [])


async def test_a_run_is_in_the_audit_log_from_start_to_cleanup(
    audited: StartService, log: Path, fake_kubeconfig: str
) -> None:
    service = audited()
    async with Client(service.url, fake_kubeconfig) as client:
        seen = await client.run(f"echo {TOKEN}; echo two; echo no >&2; exit 3", key="k", stdin="in", timeout=77)
    [ended] = await until(log, "run.ended")
    [started] = entries(log, "run.started")
    assert credentials_in(log.read_text()) == []
    assert started["run_id"] == ended["run_id"] == seen.run_id
    assert started["command"] == ended["command"] == "echo [redacted]; echo two; echo no >&2; exit 3"
    common = {
        "principal": "anonymous",
        "address": "127.0.0.1",
        "via": "http",
        "cluster": {"server": "https://192.0.2.1:6443", "context": "first", "ca_sha256": None, "handle": None},
        "timeout": 77,
        "read_only": False,
        "dry_run": False,
        "rule": "default",
        "idempotency_key": True,
    }
    assert common.items() <= started.items()
    assert common.items() <= ended.items()
    assert (ended["status"], ended["exit_code"], ended["reason"]) == ("done", 3, None)
    assert ended["stdout"] == {"bytes": len(TOKEN) + 5, "lines": 2}
    assert ended["stderr"] == {"bytes": 3, "lines": 1}
    assert (ended["gaps"], ended["lost_lines"], ended["cleanup"]) == (0, 0, "removed")
    assert ended["created"] <= ended["started"] <= ended["ended"] <= ended["time"]


async def test_what_was_stored_cancelled_and_refused_is_in_the_audit_log(
    audited: StartService, log: Path, fake_kubeconfig: str
) -> None:
    service = audited()
    async with Client(service.url, fake_kubeconfig) as client:
        stored = {"kubeconfig": fake_kubeconfig, "ttl": 60}
        await client.http.put("/clusters/mine", json=stored)
        async with client.stream("echo up; sleep 99", kubeconfig=None, cluster="mine") as stream:
            await stream.first("stdout")
            [started] = await until(log, "run.started")
            await client.cancel(started["run_id"])
            await stream.to_end()
        await client.http.delete("/clusters/mine")
        await client.http.post("/sse", json={"command": "", "kubeconfig": TOKEN, TOKEN: 1})
        await client.http.put("/clusters/mine", json={"kubeconfig": TOKEN})
        await client.http.get(f"/{TOKEN}")
        await client.http.request("PROPFIND", "/runs")
        await client.http.get("/runs", headers={"Origin": f"https://{TOKEN}"})
        await client.http.post("/sse", content=TOKEN, headers={"Content-Type": "application/json"})
    [ended] = await until(log, "run.ended")
    assert (ended["status"], ended["cluster"]["handle"]) == ("cancelled", "mine")
    [cancel] = entries(log, "run.cancel")
    assert (cancel["run_id"], cancel["principal"]) == (ended["run_id"], "anonymous")
    [put], [deleted] = entries(log, "cluster.stored"), entries(log, "cluster.deleted")
    assert (put["cluster"]["handle"], put["ttl"], deleted["cluster"]["handle"]) == ("mine", 60, "mine")
    assert [
        (entry["status"], entry["reason"], entry["method"], entry["path"], entry["fields"], entry["principal"])
        for entry in await until(log, "request.refused", 6)
    ] == [
        (422, "InvalidRequest", "POST", "/sse", ["command", "(other)"], "anonymous"),
        (422, "KubeconfigError", "PUT", "/clusters", ["kubeconfig"], "anonymous"),
        (404, "NotFound", "GET", "(other)", [], "anonymous"),
        (405, "MethodNotAllowed", "(other)", "/runs", [], "anonymous"),
        (403, "Forbidden", "GET", "/runs", [], None),
        (400, "MalformedRequest", "POST", "/sse", [], "anonymous"),
    ]
    assert credentials_in(log.read_text()) == []
    assert TOKEN[:12] not in log.read_text()


async def test_address_is_the_one_that_a_trusted_proxy_names_and_no_other(
    audited: StartService, log: Path, fake_kubeconfig: str
) -> None:
    forged = {"X-Forwarded-For": "198.51.100.66, 203.0.113.9"}
    for service in (audited(), audited(trusted_proxies="127.0.0.1")):
        async with Client(service.url, fake_kubeconfig) as client:
            await client.http.get("/nowhere", headers=forged)
    assert [entry["address"] for entry in await until(log, "request.refused", 2)] == ["127.0.0.1", "203.0.113.9"]


async def test_runs_by_way_of_mcp_say_so(audited: StartService, log: Path, fake_kubeconfig: str) -> None:
    service = audited()
    async with python_http(f"{service.url}/mcp") as client:
        await client.call("run_command", command="echo one", kubeconfig=fake_kubeconfig)
        await client.call("run_command", command="echo one", kubeconfig="nonsense")
    [ended] = await until(log, "run.ended")
    assert (ended["via"], ended["status"], ended["principal"]) == ("mcp", "done", "anonymous")
    [refused] = await until(log, "request.refused")
    expected = {"status": 422, "reason": "InvalidRequest", "via": "mcp", "path": "run_command"}
    assert expected.items() <= refused.items()


async def test_a_service_that_was_killed_leaves_the_start_of_its_run(
    audited: StartService, log: Path, fake_kubeconfig: str
) -> None:
    service = audited()
    async with Client(service.url, fake_kubeconfig) as client, client.stream("echo up; sleep 99") as stream:
        await stream.first("stdout")
        service.kill()
    assert [entry["event"] for entry in entries(log)] == ["run.started"]
    audited().stop()


async def test_full_disk_refuses_runs_and_nothing_else(serve: StartService, fake_kubeconfig: str) -> None:
    service = serve(audit_log="/dev/full")
    async with Client(service.url, fake_kubeconfig) as client:
        refused = await client.http.post("/sse", json=client.body("true"))
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert "audit log" in refused.json()["detail"]
        assert (await client.http.get("/runs")).json() == {"runs": []}
    service.kill()  # its log is full of errors, as it should be
    assert "run.started" in service.log.read_text()


async def test_audit_log_is_on_stdout_unless_set_otherwise(serve: StartService, fake_kubeconfig: str) -> None:
    async def printed(**settings: str) -> list[str]:
        service = serve(**settings)
        async with Client(service.url, fake_kubeconfig) as client:
            await client.run("echo one")
        assert service.stop() == 0
        return service.printed.read_text().splitlines()

    assert [json.loads(line)["event"] for line in await printed()] == ["run.started", "run.ended"]
    assert await printed(audit_log="off") == []
