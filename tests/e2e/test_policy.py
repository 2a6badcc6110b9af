"""The policy in a real cluster: read-only by rule, output limits on every replica, quotas counted across replicas."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from secrets import token_hex

import httpx
import pytest

from tests.e2e.place import Place
from tests.e2e.test_tools import pod_manifest
from tests.support.callers import bearer
from tests.support.client import Client
from tests.support.issuer import AUDIENCE, running_issuer
from tests.support.service import Service, StartService

pytestmark = pytest.mark.cluster

ClientOf = Callable[[Service], Client]

RULE = "rules: [{{name: r, principals: ['*'], own_kubeconfigs: true, {}}}]"


@pytest.mark.parametrize("secrets", ["", ", secrets: full"])
async def test_read_only_by_rule(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place, tmp_path: Path, secrets: str
) -> None:
    (tmp_path / "policy").write_text(RULE.format(f"access: read_only{secrets}"))
    service = serve_kubernetes(policy=tmp_path / "policy")
    where = f"--namespace={place.target}"
    place.kubectl("delete", "secret", "by-rule", where, "--ignore-not-found")
    place.kubectl("create", "secret", "generic", "by-rule", where, "--from-literal=a=seen")
    async with client_of(service) as client:
        seen = await client.run(
            f"""
            kubectl config set-context --current --namespace={place.target} >/dev/null
            kubectl get configmaps >/dev/null && echo read
            kubectl create configmap made && echo changed
            helm list && echo releases
            kubectl get secret/by-rule -o jsonpath='{{.data.a}}' | base64 -d | grep seen && echo values
            """,
            read_only=False,  # asking for more changes nothing
        )
    said = [line for line in seen.stdout if line in ("read", "changed", "releases", "values")]
    assert said == (["read", "releases", "values"] if secrets else ["read", "releases"]), seen.stderr


async def test_allow_and_deny_are_enforced_on_requests(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place, tmp_path: Path
) -> None:
    entries = "allow: [{verbs: ['*'], apiGroups: [''], resources: [configmaps]}]"
    denied = "deny: [{verbs: [delete, deletecollection], apiGroups: ['*'], resources: ['*']}]"
    (tmp_path / "policy").write_text(RULE.format(f"{entries}, {denied}"))
    service = serve_kubernetes(policy=tmp_path / "policy")
    async with client_of(service) as client:
        seen = await client.run(
            f"""
            kubectl config set-context --current --namespace={place.target} >/dev/null
            kubectl create configmap by-policy && kubectl delete configmap by-policy; kubectl get pods
            """
        )
    assert seen.stdout == ["configmap/by-policy created"]
    assert any("r (line 1): deny[0] refuses it" in line for line in seen.stderr), seen.stderr
    assert any("no entry of allow in r (line 1) names it" in line for line in seen.stderr), seen.stderr
    await place.akubectl("delete", f"--namespace={place.target}", "configmap/by-policy")


async def test_a_dry_run_by_rule_changes_nothing(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place, tmp_path: Path
) -> None:
    (tmp_path / "policy").write_text(RULE.format("access: dry_run"))
    service = serve_kubernetes(policy=tmp_path / "policy")
    where = f"--namespace={place.target}"
    place.kubectl("create", "configmap", "tried", where, "--from-literal=a=b")
    async with client_of(service) as client:
        seen = await client.run(f"kubectl delete configmap tried {where}; kubectl create configmap other {where}")
    assert [line.split()[0] for line in seen.stdout] == ["configmap", "configmap/other"]
    assert place.kubectl("get", "configmaps", where, "--output=name").split().count("configmap/tried") == 1
    assert "configmap/other" not in place.kubectl("get", "configmaps", where, "--output=name")
    place.kubectl("delete", "configmap", "tried", where)


async def test_what_no_rule_holds_against(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place, tmp_path: Path
) -> None:
    """As docs/policy.md says: a pod that a request starts is not behind the gate, nor is a second credential."""
    (tmp_path / "policy").write_text(RULE.format("secrets: none"))
    service = serve_kubernetes(policy=tmp_path / "policy")
    where = f"--namespace={place.target}"
    place.kubectl("create", "secret", "generic", "mounted", where, "--from-literal=a=in-the-pod")
    pod = pod_manifest("starts-code", "cat /etc/mounted/a; sleep 60")
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "mounted", "mountPath": "/etc/mounted"}]
    pod["spec"]["volumes"] = [{"name": "mounted", "secret": {"secretName": "mounted"}}]
    elsewhere = f"kubectl --kubeconfig=/dev/null --server={place.server['server']} --insecure-skip-tls-verify"
    async with client_of(service) as client:
        seen = await client.run(
            f"""
            kubectl get secret mounted {where} || echo refused
            kubectl create {where} -f - >/dev/null
            kubectl wait pod/starts-code {where} --for=condition=Ready >/dev/null
            until kubectl logs starts-code {where} | grep .; do sleep 0.2; done
            {elsewhere} --token={place.token()} auth whoami -o jsonpath={{.status.userInfo.username}}
            """,
            stdin=json.dumps(pod),
            read_only=False,
        )
    account = f"system:serviceaccount:{place.namespace}:k8s-mcp-server"
    assert seen.stdout == ["refused", "in-the-pod", account], seen.stderr
    await place.akubectl("delete", "pod/starts-code", "secret/mounted", where, "--now")


async def test_output_limit_is_the_same_on_another_replica(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place, tmp_path: Path
) -> None:
    (tmp_path / "policy").write_text(RULE.format("max_output: 100"))
    first, second = serve_kubernetes(policy=tmp_path / "policy"), serve_kubernetes()
    command = "for i in $(seq 100 199); do echo $i; sleep 0.2; done"
    async with client_of(first) as one, client_of(second) as other:
        async with one.stream(command) as stream:
            for _ in range(3):
                await stream.first("stdout")
            run_id = stream.seen[0].control["run_id"]
        rest = await other.replay(run_id, 3)
        assert rest.stdout == [str(number) for number in range(103, 125)]  # four bytes each
        assert rest.final["reason"] == "OutputLimit"
        assert [event.id for event in rest.numbered] == list(range(4, 27))
        await place.nothing_left(run_id, seconds=30)


async def test_quota_is_exceeded_by_at_most_one_run_for_each_replica(
    serve_kubernetes: StartService, client_of: ClientOf
) -> None:
    replicas = [serve_kubernetes(max_runs_per_principal=4) for _ in range(3)]
    statuses: list[int] = []
    answered, over = asyncio.Event(), asyncio.Event()

    async def one(client: Client) -> None:
        async with client.http.stream("POST", "/sse", json=client.body("sleep 99")) as response:
            statuses.append(response.status_code)
            if len(statuses) == 45:
                answered.set()
            if response.status_code == 200:
                await over.wait()

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client_of(replica)) for replica in replicas]
        async with asyncio.TaskGroup() as group:
            for _ in range(15):
                for client in clients:
                    group.create_task(one(client))
            await answered.wait()
            for client in clients:  # and now that each knows of all, no more
                refused = await client.http.post("/sse", json=client.body("true"))
                assert refused.status_code == 429
                assert int(refused.headers["Retry-After"]) > 0
            over.set()
            for run in (await clients[0].http.get("/runs")).json()["runs"]:
                await clients[0].http.delete(f"/runs/{run['run_id']}")
    assert 4 <= statuses.count(200) <= 4 + 3
    assert statuses.count(200) + statuses.count(429) == 45


async def test_token_for_reading_makes_every_run_read_only(
    serve_kubernetes: StartService, place: Place, kubeconfig: str
) -> None:
    with running_issuer() as issuer:
        service = serve_kubernetes(oidc_issuer=issuer.url, oidc_audiences=AUDIENCE, oidc_require_scopes=True)
        made = f"by-scope-{token_hex(3)}"
        where = f"--namespace={place.target}"
        body = {"command": f"kubectl create configmap {made} {where} && kubectl get configmap {made} {where} -o name"}
        seen: dict[str, list[str]] = {}
        for scope in ("k8s-mcp:read", "k8s-mcp:write"):
            headers = bearer(issuer.token(scope=scope))
            async with httpx.AsyncClient(
                base_url=service.url, headers=headers, trust_env=False, timeout=60
            ) as client:
                answer = await client.post("/sse", json=body | {"kubeconfig": kubeconfig})
                seen[scope] = [line for line in answer.text.splitlines() if line.startswith("data: ")]
                run_id = json.loads(seen[scope][0].removeprefix("data: "))["run_id"]
                state = (await client.get(f"/runs/{run_id}")).json()
                assert state["read_only"] is (scope == "k8s-mcp:read")
        assert json.loads(seen["k8s-mcp:read"][-1].removeprefix("data: "))["exit_code"] == 1
        assert seen["k8s-mcp:write"][-2] == f"data: configmap/{made}"
    place.kubectl("delete", "configmap", made, where)
