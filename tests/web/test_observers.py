"""Observers over HTTP and MCP: what each may see of others' runs, by every path, and the line in the audit log."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.mcp.test_principals import call, over_http
from tests.support import kubeconfigs
from tests.support.callers import Callers, service_with_policy
from tests.support.client import Client
from tests.support.prepared import Prepared
from tests.support.service import Service

POLICY = """
rules: [{name: all, principals: ["*"], own_kubeconfigs: true}]
observers:
  - principals: [looker]
  - groups: [readers]
    output: true
  - principals: [ender]
    cancel: true
"""
NOTHING = "f" * 32
SECRET = "only-for-alice"


@pytest.fixture(scope="module")
def callers(tmp_path_factory: pytest.TempPathFactory) -> Callers:
    made = Callers(tmp_path_factory.mktemp("callers") / "tokens", "alice", "bob", "looker", "ender")
    made.add("reader", "readers")
    return made


@pytest.fixture(scope="module")
def observed(
    tmp_path_factory: pytest.TempPathFactory, tools: Path, prepared: Prepared, callers: Callers
) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("observed")
    with service_with_policy(directory, tools, prepared, callers, POLICY, resume_window=2) as service:
        yield service


@pytest.fixture
async def alice(observed: Service, callers: Callers) -> AsyncIterator[Client]:
    async with Client(observed.url, kubeconfigs.fake()) as client:
        client.http.headers.update(callers.headers("alice"))
        yield client


def audit(service: Service, run_id: str | None) -> list[dict[str, Any]]:
    """What was looked at of a run; of the list, without one."""
    lines = [json.loads(line) for line in service.printed.read_text().splitlines()]
    return [line for line in lines if line["event"] == "run.observed" and line["run_id"] == run_id]


async def get(service: Service, callers: Callers, who: str, path: str, method: str = "GET") -> httpx.Response:
    async with callers.http(service.url, who) as http:
        return await http.request(method, path)


async def test_an_observer_sees_the_runs_of_all_and_whose_they_are(
    observed: Service, callers: Callers, alice: Client
) -> None:
    run = await alice.run(f"echo {SECRET}")
    for who, seen in (("looker", True), ("reader", True), ("bob", False)):
        answer = (await get(observed, callers, who, "/runs?all=true")).json()
        assert answer["all"] is seen
        found = {one["run_id"]: one for one in answer["runs"]}
        assert (run.run_id in found) is seen
        assert (await get(observed, callers, who, "/runs")).json() == {"runs": []}, "its own are asked for"
        state = await get(observed, callers, who, f"/runs/{run.run_id}")
        assert state.status_code == (200 if seen else 404)
        if seen:
            assert found[run.run_id]["principal"] == state.json()["principal"] == "alice"
    own = await alice.state(run.run_id)
    assert "principal" not in own
    assert own["command"] == f"echo {SECRET}"
    assert "all" not in (await alice.http.get("/runs")).json()


async def test_an_observer_without_output_gets_none_by_any_path(
    observed: Service, callers: Callers, alice: Client
) -> None:
    run = await alice.run(f"echo {SECRET}; echo {SECRET} >&2; exit 3", key="a-key")
    for who, status in (("looker", 403), ("ender", 403), ("bob", 404)):
        async with callers.http(observed.url, who) as http:
            answers = [
                await http.get(f"/runs/{run.run_id}/events{query}", headers=headers)
                for query in ("", "?watch=true")
                for headers in ({}, {"Last-Event-ID": "0"}, {"Last-Event-ID": "999"})
            ]
            assert {answer.status_code for answer in answers} == {status}
            answers += [await http.get(path) for path in ("/runs?all=true", f"/runs/{run.run_id}", "/runs")]
            # The key of somebody else joins nothing: it is a run of one's own.
            body = {"command": "echo mine", "kubeconfig": kubeconfigs.fake()}
            answers.append(await http.post("/sse", json=body, headers={"Idempotency-Key": "a-key"}))
            assert not [answer.text for answer in answers if SECRET in answer.text]
        async with over_http(observed.url, callers.headers(who)) as session:
            is_error, text = await call(session, "read_output", run_id=run.run_id)
            assert is_error
            assert SECRET not in text
            with pytest.raises(Exception, match=r"may see that|no such run"):
                await session.read_resource(f"k8s-mcp://runs/{run.run_id}/output")
            listed = await session.list_resources()
            assert run.run_id not in {str(one.uri).split("/")[3] for one in listed.resources}


async def test_an_observer_with_output_reads_by_every_path(
    observed: Service, callers: Callers, alice: Client
) -> None:
    run = await alice.run(f"echo {SECRET}")
    stream = await get(observed, callers, "reader", f"/runs/{run.run_id}/events")
    assert f"data: {SECRET}" in stream.text
    assert (await get(observed, callers, "reader", f"/runs/{run.run_id}")).json()["command"] == f"echo {SECRET}"
    async with over_http(observed.url, callers.headers("reader")) as session:
        assert SECRET in (await call(session, "read_output", run_id=run.run_id))[1]
        [resource] = (await session.read_resource(f"k8s-mcp://runs/{run.run_id}/output")).contents
        assert SECRET in resource.text  # type: ignore[union-attr]


async def test_only_an_observer_with_cancel_ends_runs(observed: Service, callers: Callers, alice: Client) -> None:
    async with alice.stream("echo ready; sleep 60") as stream:
        run_id = (await stream.first("control")).control["run_id"]
        await stream.first("stdout")
        path = f"/runs/{run_id}"
        refused = [
            (await get(observed, callers, who, path, "DELETE")).status_code for who in ("bob", "looker", "reader")
        ]
        assert refused == [404, 403, 403]
        async with over_http(observed.url, callers.headers("reader")) as session:
            assert (await call(session, "cancel_run", run_id=run_id))[0]
        assert (await alice.state(run_id))["status"] == "running"
        assert (await get(observed, callers, "ender", path, "DELETE")).status_code == 202
        assert (await stream.to_end()).controls[-1]["status"] == "cancelled"
    cancels = [json.loads(line) for line in observed.printed.read_text().splitlines() if '"run.cancel"' in line]
    assert [(line["run_id"], line["principal"]) for line in cancels if line["run_id"] == run_id] == [
        (run_id, "ender")
    ]


async def test_what_an_observer_looked_at_is_in_the_audit_log_once(
    observed: Service, callers: Callers, alice: Client
) -> None:
    run = await alice.run("true")
    for _ in range(3):
        for path in ("/runs?all=true", f"/runs/{run.run_id}", f"/runs/{run.run_id}/events"):
            assert (await get(observed, callers, "reader", path)).status_code == 200
    await alice.state(run.run_id)  # nobody observes themselves
    await get(observed, callers, "bob", f"/runs/{run.run_id}")
    seen = [(line["look"], line["principal"], line["of"], line["via"]) for line in audit(observed, run.run_id)]
    assert seen == [("state", "reader", "alice", "http"), ("output", "reader", "alice", "http")]
    lists = [(line["look"], line["of"]) for line in audit(observed, None) if line["principal"] == "reader"]
    assert lists == [("list", None)]


async def test_a_run_does_not_go_on_for_who_only_looks_on(observed: Service, callers: Callers, alice: Client) -> None:
    async with alice.stream("echo ready; sleep 60") as stream:
        run_id = (await stream.first("control")).control["run_id"]
        await stream.first("stdout")
    async with (
        callers.http(observed.url, "reader") as http,
        callers.http(observed.url, "alice") as own,
        http.stream("GET", f"/runs/{run_id}/events") as observer,
        own.stream("GET", f"/runs/{run_id}/events?watch=true") as watcher,
    ):
        with anyio.fail_after(30):
            text = [(await one.aread()).decode() for one in (observer, watcher)]
    assert all('"status": "cancelled"' in one for one in text)


async def test_runs_that_ended_before_a_time_can_be_left_out(
    observed: Service, callers: Callers, alice: Client
) -> None:
    first, second = await alice.run("true"), await alice.run("true")
    ended = (await alice.state(second.run_id))["ended"]
    async with alice.stream("echo ready; sleep 60") as stream:
        running = (await stream.first("control")).control["run_id"]
        found = [one["run_id"] for one in (await alice.http.get("/runs", params={"since": ended})).json()["runs"]]
        assert first.run_id not in found
        assert {second.run_id, running} <= set(found)
    for wrong in ("yesterday", "2026-01-01", "2026-01-01T00:00:00Z", ""):
        answer = await alice.http.get("/runs", params={"since": wrong})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "since")
    assert (await alice.http.get("/runs?all=perhaps")).json()["errors"] == [
        {"field": "all", "message": "must be true or false"}
    ]


async def test_callers_are_told_what_holds_for_them(observed: Service, callers: Callers) -> None:
    reader = (await get(observed, callers, "reader", "/me")).json()
    assert reader["principal"] == "reader"
    assert reader["groups"] == ["readers"]
    assert reader["observer"] == {"output": True, "cancel": False}
    assert (reader["access"], reader["read_only_runs"], reader["max_timeout"]) == ("full", False, 3600)
    [rule] = reader["rules"]
    assert rule["name"] == "all"
    assert not {"principals", "groups"} & rule.keys(), "for whom else it is, is nobody's business"
    assert (await get(observed, callers, "bob", "/me")).json()["observer"] is None


async def test_a_long_command_is_shown_by_its_beginning_and_masked(alice: Client) -> None:
    run = await alice.run(f": {kubeconfigs.TOKEN}; : {'x' * 5000}")
    shown = (await alice.state(run.run_id))["command"]
    assert len(shown) == 1001
    assert kubeconfigs.credentials_in(shown) == []
