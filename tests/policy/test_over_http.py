"""The policy holds at every call: a run, a stored kubeconfig, one stored before the rule; and when it changes."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.mcp.clients import python_http
from tests.support import kubeconfigs
from tests.support.client import Client
from tests.support.events import Transcript
from tests.support.service import Service, StartService, wait_for

SERVER = "https://192.0.2.1:6443"
EVERYBODY = "principals: ['*'], own_kubeconfigs: true"
EXEC = "{apiVersion: client.authentication.k8s.io/v1, command: %s, interactiveMode: Never}"


def rule(fields: str) -> str:
    return f"rules:\n- {{name: the rule, {EVERYBODY}, {fields}}}\n"


def two_contexts(current: str = "a", other: str = "https://192.0.2.9", user: str = "token: x") -> str:
    """`a` as `kubeconfig` has it, and `b` at `other`."""
    return f"""
        {{current-context: {current},
         contexts: [{{name: a, context: {{cluster: a}}}}, {{name: b, context: {{cluster: b, user: b}}}}],
         clusters: [{{name: a, cluster: {{server: "{SERVER}"}}}}, {{name: b, cluster: {{server: "{other}"}}}}],
         users: [{{name: b, user: {{{user}}}}}]}}"""


def kubeconfig(server: str = SERVER, cluster: str = "", user: str = "token: x") -> str:
    return f"""
        {{current-context: a, contexts: [{{name: a, context: {{cluster: a, user: a}}}}],
         clusters: [{{name: a, cluster: {{server: "{server}", {cluster}}}}}],
         users: [{{name: a, user: {{{user}}}}}]}}"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "policy.yaml"


@pytest.fixture
def start(serve: StartService, file: Path) -> StartService:
    """Starts a service with this policy."""

    def start(policy: str, **settings: object) -> Service:
        file.write_text(policy)
        return serve(policy=file, **settings)

    return start


def change(service: Service, file: Path, policy: str) -> None:
    seen = service.log.read_text().count("read again")
    file.write_text(policy)
    wait_for(lambda: service.log.read_text().count("read again") > seen, what="the policy to be read again")


async def refused(client: Client, status: int, command: str = "echo ran", **fields: object) -> str:
    response = await client.http.post("/sse", json=client.body(command, **fields))
    assert response.status_code == status, response.text
    return response.json()["detail"]


def test_service_does_not_start_with_a_policy_that_is_wrong(start: StartService) -> None:
    with pytest.raises(AssertionError, match=r"policy\.yaml: line 2: rules\[0\] is for nobody"):
        start("rules:\n- {name: a, handles: [b]}")


def test_service_does_not_start_without_its_policy(serve: StartService, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"none\.yaml: No such file"):
        serve(policy=tmp_path / "none.yaml")


async def test_what_no_rule_allows_is_refused(start: StartService) -> None:
    service = start(rule("servers: [10.0.0.0/8]"))
    async with Client(service.url, kubeconfigs.fake()) as client:
        assert SERVER in await refused(client, 403)
        stored = await client.http.put("/clusters/mine", json={"kubeconfig": client.kubeconfig})
        assert stored.status_code == 403
        assert (await client.http.get("/clusters")).json() == {"clusters": []}
        seen = await client.run("echo ran", kubeconfig=kubeconfig("https://10.1.2.3"))
        assert seen.stdout == ["ran"]


async def test_audit_log_names_the_rule(start: StartService, tmp_path: Path) -> None:
    log = tmp_path / "audit"
    service = start(rule("servers: [192.0.2.1]"), audit_log=log)
    async with Client(service.url, kubeconfigs.fake()) as client:
        await client.run("true")
    assert json.loads(log.read_text().splitlines()[0])["rule"] == "the rule (line 2)"


async def test_a_context_that_the_policy_refuses_is_left_out_unless_it_is_the_current_one(
    start: StartService,
) -> None:
    service = start(rule("servers: [192.0.2.1]"))
    async with Client(service.url, two_contexts("b")) as client:
        assert "https://192.0.2.9" in await refused(client, 403)
        run = await client.run("kubectl config get-contexts -o name || cat $KUBECONFIG", kubeconfig=two_contexts())
        [left_out] = run.controls[0]["left_out"]
        assert left_out["context"] == "b"
        assert "https://192.0.2.9" in left_out["why"]
        assert not any("192.0.2.9" in line or line == "b" for line in run.stdout)


async def test_a_context_that_would_take_from_the_current_one_what_it_needs_is_left_out(start: StartService) -> None:
    wide, narrow = f"{EVERYBODY}, servers: [192.0.2.1], exec_plugins: [aws]", f"{EVERYBODY}, servers: [192.0.2.9]"
    service = start(f"rules:\n- {{name: wide, {wide}}}\n- {{name: narrow, {narrow}}}\n")
    with_plugin = two_contexts().replace("{cluster: a}", "{cluster: a, user: a}", 1)
    plugin = "{name: a, user: {exec: " + EXEC % "aws" + "}}, "
    async with Client(service.url, with_plugin.replace("users: [", f"users: [{plugin}")) as client:
        [left_out] = (await client.run("echo ran")).controls[0]["left_out"]
        assert left_out["context"] == "b"
        assert "narrow" in left_out["why"]


async def test_rule_holds_for_what_was_stored_before_it(start: StartService, file: Path) -> None:
    service = start(rule("servers: ['*']"))
    async with Client(service.url, kubeconfigs.fake()) as client:
        stored = await client.http.put("/clusters/mine", json={"kubeconfig": client.kubeconfig})
        assert stored.status_code == 200
        assert (await client.run("echo ran", kubeconfig=None, cluster="mine")).stdout == ["ran"]
        change(service, file, rule("servers: [10.0.0.0/8]"))
        await refused(client, 403, kubeconfig=None, cluster="mine")
        change(service, file, "rules: [{name: offered only, principals: ['*'], handles: ['*']}]")
        await refused(client, 403, kubeconfig=None, cluster="mine")  # its name is the caller's own choice
        assert (await client.http.delete("/clusters/mine")).status_code == 204


async def test_a_new_version_that_is_wrong_changes_nothing(start: StartService, file: Path) -> None:
    service = start("rules: []")
    async with Client(service.url, kubeconfigs.fake()) as client:
        file.write_text("rules: [")
        wait_for(lambda: "what it said before still holds" in service.log.read_text())
        assert "ask the operator" in await refused(client, 403)
        change(service, file, rule("servers: ['*']"))
        assert (await client.run("echo ran")).stdout == ["ran"]
    service.log.write_text(service.log.read_text().replace(" ERROR ", " said "))  # it was to be logged


async def test_longest_timeout(start: StartService) -> None:
    service = start(rule("max_timeout: 7"))
    async with Client(service.url, kubeconfigs.fake()) as client:
        assert await refused(client, 422, timeout=8) == "timeout: must be at most 7, the maximum for you"
        seen = await client.run("echo ran", timeout=7)
        assert seen.stdout == ["ran"]
        assert (await client.state((await client.run("true")).run_id))["timeout"] == 7


async def test_settings_stay_the_outer_limit(start: StartService) -> None:
    service = start(rule("max_timeout: 70, max_runs: 70"), max_timeout=5, max_runs=1)
    async with Client(service.url, kubeconfigs.fake()) as client:
        assert await refused(client, 422, timeout=6) == "timeout: must be at most 5, the maximum of this server"


@pytest.mark.parametrize(
    ("allows", "config"),
    [
        ("exec_plugins: [helper]", kubeconfig(user=f"exec: {EXEC % 'helper'}")),
        ("insecure_tls: true", kubeconfig(cluster="insecure-skip-tls-verify: true")),
        ("proxy_url: true", kubeconfig(cluster='proxy-url: "http://192.0.2.5:8080"')),
    ],
)
async def test_what_kubeconfigs_may_hold(start: StartService, file: Path, allows: str, config: str) -> None:
    service = start(rule(allows))
    async with Client(service.url, config) as client:
        assert (await client.run("echo ran")).stdout == ["ran"]
        change(service, file, rule("servers: ['*']"))
        assert "not allowed here" in await refused(client, 422)
        change(service, file, rule("exec_plugins: [other]"))
        assert "not allowed here" in await refused(client, 422)


async def test_local_executor_refuses_what_is_to_be_read_only(start: StartService) -> None:
    service = start(rule("access: read_only"))
    async with Client(service.url, kubeconfigs.fake()) as client:
        assert "the rule (line 2)" in await refused(client, 403)
    async with python_http(f"{service.url}/mcp") as mcp:
        [tool] = [tool for tool in await mcp.tools() if tool["name"] == "run_command"]
        assert tool["annotations"] == {"readOnlyHint": True, "destructiveHint": False, "openWorldHint": True}
        assert "only read" in tool["description"]
        result = await mcp.call("run_command", command="echo ran", kubeconfig=kubeconfigs.fake())
        assert result.is_error
        assert "cannot be read-only here" in result.text


async def test_where_changes_are_only_tried_models_are_told_so(start: StartService) -> None:
    service = start(rule("access: dry_run"))
    async with python_http(f"{service.url}/mcp") as mcp:
        [tool] = [tool for tool in await mcp.tools() if tool["name"] == "run_command"]
    assert tool["annotations"] == {"readOnlyHint": True, "destructiveHint": False, "openWorldHint": True}
    assert "changes are tried and not made" in tool["description"]


@pytest.mark.parametrize("word", ["read_only", "dry_run"])
async def test_local_executor_refuses_what_it_cannot_enforce(server: Service, client: Client, word: str) -> None:
    asked: dict[str, Any] = {word: True}
    assert "Kubernetes executor" in await refused(client, 403, **asked)
    seen = await client.run("echo ran", None, **{word: False})
    assert seen.stdout == ["ran"]
    state = await client.state(seen.run_id)
    assert (state["read_only"], state["dry_run"]) == (False, False)


# Output


async def test_output_limit(start: StartService) -> None:
    service = start(rule("max_output: 8"), grace_period=1)
    async with Client(service.url, kubeconfigs.fake()) as client:
        exact = await client.run("echo one; echo two")
        assert exact.final == {"status": "done", "exit_code": 0}
        began = time.monotonic()
        seen = await client.run("echo one; echo two; echo three; sleep 99")
        assert time.monotonic() - began < 30
        assert seen.stdout == ["one", "two"]
        assert seen.final.items() >= {"status": "error", "exit_code": None, "reason": "OutputLimit"}.items()
        assert [event.id for event in seen.numbered] == [1, 2, 3]
        assert (await client.replay(seen.run_id)).numbered == seen.numbered
        state = await client.state(seen.run_id)
        assert (state["status"], state["reason"], state["lines"]) == ("error", "OutputLimit", 2)


async def test_output_limit_ends_endless_output(start: StartService) -> None:
    service = start(rule("max_output: 1000000"), grace_period=1)
    async with Client(service.url, kubeconfigs.fake()) as client:
        seen = await client.run("yes 0123456789012345678 & yes 0123456789012345678 >&2")
        assert seen.final["reason"] == "OutputLimit"
        assert len([*seen.stdout, *seen.stderr]) == 1000000 // 20


# Quotas


@pytest.mark.parametrize(
    ("policy", "settings", "requests"),
    [
        (rule("max_runs: 20"), {}, 500),
        (rule("max_cluster_runs: 20"), {}, 50),
        (rule("max_timeout: 99"), {"max_runs": 20}, 50),
        (rule("max_timeout: 99"), {"max_runs_per_principal": 20}, 50),
        (rule("max_timeout: 99"), {"max_runs_per_cluster": 20}, 50),
    ],
)
async def test_quota_is_exact_under_parallel_requests(
    start: StartService, policy: str, settings: dict[str, int], requests: int
) -> None:
    service = start(policy, grace_period=1, **settings)
    statuses: list[int] = []
    answered = asyncio.Event()
    over = asyncio.Event()

    async def one(client: Client) -> None:
        async with client.http.stream("POST", "/sse", json=client.body("sleep 99")) as response:
            statuses.append(response.status_code)
            assert response.status_code == 200 or int(response.headers["Retry-After"]) > 0
            if len(statuses) == requests:
                answered.set()
            if response.status_code == 200:
                await over.wait()

    async with Client(service.url, kubeconfigs.fake()) as client, asyncio.TaskGroup() as group:
        for _ in range(requests):
            group.create_task(one(client))
        await answered.wait()
        runs = (await client.http.get("/runs")).json()["runs"]
        over.set()
        for run in runs:
            await client.cancel(run["run_id"])
    assert (statuses.count(200), statuses.count(429)) == (20, requests - 20)
    assert len(runs) == 20


async def test_quota_counts_each_api_server_by_itself(serve: StartService) -> None:
    service = serve(max_runs_per_cluster=1, grace_period=1)
    both = two_contexts()
    async with (
        Client(service.url, kubeconfig()) as client,
        client.stream("echo up; sleep 99", kubeconfig=both) as stream,
    ):
        await stream.first("stdout")
        for server in (SERVER, "https://192.0.2.9"):
            detail = await refused(client, 429, kubeconfig=kubeconfig(server))
            assert detail == f"1 runs are in progress on {server}, the most it may have; try again later"
        elsewhere = await client.run("echo ran", kubeconfig=kubeconfig("https://192.0.2.10"))
        assert elsewhere.stdout == ["ran"]
        await client.cancel(Transcript(stream.seen).run_id)
        await stream.to_end()
        assert (await client.run("echo ran")).stdout == ["ran"]


async def test_handles_stay_bounded_under_parallel_requests(serve: StartService) -> None:
    service = serve()
    async with Client(service.url, kubeconfigs.fake()) as client:
        body = {"kubeconfig": client.kubeconfig}
        answers = await asyncio.gather(*(client.http.put(f"/clusters/c{n}", json=body) for n in range(80)))
        assert sorted(answer.status_code for answer in answers) == [200] * 50 + [422] * 30
