"""In a dry run commands of all kinds try what they are asked, and the cluster is afterwards what it was. These are
the administrator's credentials: nothing but the credential proxy stands between. For raw requests, and what is tried
of each kind of object, see tests/gate/test_dry_run.py.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from anyio.to_thread import run_sync

from tests.e2e.place import IMAGE, Place
from tests.gate.objects import KINDS, Json, manifest, snapshot, still
from tests.mcp.clients import data_of, python_http
from tests.support.client import Client
from tests.support.events import Transcript
from tests.support.service import Service, StartService, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]  # a hundred commands on a busy machine

_COMMANDS = (Path(__file__).parent / "dry_run.sh").read_text()
_KINDS = [kind for kind in KINDS if kind[0] != "endpoints"]  # of a Service, which a controller makes as well
_SECRET = "c2VjcmV0LXZhbHVl"
_ITS_KUBELETS = ("resourceVersion", "managedFields")
_CHART = "helm create chart >/dev/null && sed -i 's/replicaCount: 1/replicaCount: 0/' chart/values.yaml"


@pytest.fixture(scope="module")
def there(place: Place) -> Iterator[str]:
    """A namespace with an object `there` of each kind and a Deployment `web` that runs; a few objects outside."""
    name = f"{place.target}-dry"
    where = f"--namespace={name}"
    place.kubectl("create", "namespace", name)
    items = [manifest("there", version, kind, holds) for _, version, kind, holds in _KINDS]
    place.kubectl(
        "create", where, "--filename=-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    )
    place.kubectl("create", "deployment", "web", where, f"--image={IMAGE}", "--", "sleep", "3600")
    place.kubectl("create", "clusterrole", f"{name}-there", "--verb=get", "--resource=pods")
    place.kubectl("create", "priorityclass", f"{name}-there", "--value=1")
    place.kubectl("label", "clusterrole,priorityclass", f"{name}-there", f"there={name}")
    place.kubectl("rollout", "status", "deployment/web", where, "--timeout=60s")
    yield name
    place.kubectl("delete", "clusterrole,priorityclass", f"{name}-there", "--ignore-not-found")
    place.kubectl("delete", "namespace", name, "--wait=false")


def everything(place: Place, namespace: str) -> dict[str, str]:
    """The namespace byte for byte, and what is in none; of nodes and the pod that runs what others do not change."""
    found = snapshot(place.kubectl, namespace)
    [running] = [name for name in found if name.startswith("Pod/web-")]
    found[running] = _without_its_kubelet(json.loads(found[running]))
    kinds = "clusterroles,clusterrolebindings,priorityclasses,namespaces,customresourcedefinitions"
    outside = place.kubectl("get", kinds, f"--selector=there={namespace}", "--output=json", "--show-managed-fields")
    named = [name for name in place.kubectl("get", kinds, "--output=name").split() if namespace in name]
    nodes = json.loads(place.kubectl("get", "nodes", "--output=json"))["items"]
    kept = [(node["metadata"]["labels"], node["spec"]) for node in nodes]
    return {**found, "outside": outside, "named": str(named), "nodes": str(kept)}


def _without_its_kubelet(one: Json) -> str:
    metadata = {field: value for field, value in one["metadata"].items() if field not in _ITS_KUBELETS}
    return json.dumps([metadata, one["spec"]], sort_keys=True)


def script(namespace: str, commands: list[str]) -> str:
    """Carries out each command; says which ended otherwise than it should, and what they printed of tokens."""
    return f"""
kubectl config set-context --current --namespace={namespace} >/dev/null
export NS={namespace} KINDS={",".join(kind[0] for kind in _KINDS)}
export NODE=$(kubectl get nodes -o jsonpath='{{.items[0].metadata.name}}')
mkdir there made && {_CHART}
while read -r line; do
    jq .there <<<$line >there/$(jq -r .plural <<<$line).json; jq .made <<<$line >made/$(jq -r .plural <<<$line).json
done
tried=0
while read -r sign command <&3; do
    ( set -o pipefail; eval "$command" ) </dev/null >out 2>&1; code=$?
    cat out >>all; tried=$((tried + 1))
    case $sign$((code == 0)) in +0 | -1) echo "WRONG ($code): $command: $(tail -n 2 out)" ;; esac
done 3<<'END'
{chr(10).join(commands)}
END
grep -E 'eyJhbGciOi|{_SECRET}' all
echo "tried $tried"; echo "in $SECONDS s" >&2
"""


async def test_after_commands_of_all_kinds_the_cluster_is_what_it_was(
    client: Client, place: Place, there: str
) -> None:
    installed = await client.run(f"{_CHART} && helm install kept chart --namespace={there}")
    assert installed.final["exit_code"] == 0, installed.stderr
    wait_for(lambda: still(place.kubectl, there), 60, "controllers have done what they do with new objects")
    manifests = [
        {"plural": plural, **{name: manifest(name, version, kind, holds) for name in ("there", "made")}}
        for plural, version, kind, holds in _KINDS
    ]
    commands = [line for line in _COMMANDS.splitlines() if re.match(r"[-+?] ", line)]
    before = everything(place, there)
    seen = await client.run(
        script(there, commands), stdin="\n".join(map(json.dumps, manifests)), dry_run=True, timeout=600
    )
    after = everything(place, there)
    assert seen.stdout == [f"tried {len(commands)}"], "\n".join([*seen.stdout, *seen.stderr])
    assert after == before
    assert len(commands) > 110


async def test_reading_with_a_dry_run_can_diff_and_apply(
    serve_kubernetes: StartService, client_of: Callable[[Service], Client], place: Place, tmp_path: Path
) -> None:
    """And every replica knows what such a run is, so do the audit log and a model."""
    log = tmp_path / "audit.log"
    first, second = serve_kubernetes(audit_log=log), serve_kubernetes()
    where = f"--namespace={place.target}"
    place.kubectl("create", "configmap", "differs", where, "--from-literal=a=before")
    changed = json.dumps(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "differs"}, "data": {"a": "after"}}
    )
    command = f"""
        kubectl diff {where} -f - <<<'{changed}' | grep '^[-+] '; echo "diff ${{PIPESTATUS[0]}}"
        kubectl apply --dry-run=server {where} -f - <<<'{changed}'"""
    async with client_of(first) as one, client_of(second) as other:
        async with one.stream(command, read_only=True, dry_run=True) as stream:
            await stream.first("stdout")
            state = await other.state(Transcript(stream.seen).run_id)
            seen = await stream.to_end()
        refused = await one.run(command, read_only=True)
    assert seen.stdout == ["-  a: before", "+  a: after", "diff 1", "configmap/differs configured (server dry run)"]
    assert (state["read_only"], state["dry_run"]) == (False, True)
    assert refused.stdout[0] != "-  a: before"
    assert any("access: read_only of the request refuses it" in line for line in refused.stderr), refused.stderr

    def told() -> list[Json]:  # of its end when it was cleaned up
        return [entry for entry in map(json.loads, log.read_text().splitlines()) if entry["run_id"] == seen.run_id]

    await run_sync(wait_for, lambda: len(told()) == 2)
    assert [entry["dry_run"] for entry in told()] == [True, True]

    async with python_http(f"{first.url}/mcp") as model:
        for tool in ("run_command", "run_read_only"):
            result = await model.call(tool, command=command, kubeconfig=client_of(first).kubeconfig, dry_run=True)
            assert data_of(result)["stdout"] == "".join(f"{line}\n" for line in seen.stdout)
            assert "[dry run: changes were tried, none was made;" in result.text
    assert place.kubectl("get", "configmap/differs", where, "--output=jsonpath={.data.a}") == "before"
    place.kubectl("delete", "configmap/differs", where)


async def test_the_policys_read_only_stays(
    serve_kubernetes: StartService, client_of: Callable[[Service], Client], place: Place, tmp_path: Path
) -> None:
    rule = "{name: r, principals: ['*'], own_kubeconfigs: true, access: read_only}"
    (tmp_path / "policy").write_text(f"rules: [{rule}]")
    async with client_of(serve_kubernetes(policy=tmp_path / "policy")) as client:
        seen = await client.run(f"kubectl create configmap made --namespace={place.target}", dry_run=True)
        state = await client.state(seen.run_id)
    assert seen.final["exit_code"] == 1
    assert any("access: read_only of r (line 1) refuses it" in line for line in seen.stderr), seen.stderr
    assert (state["read_only"], state["dry_run"]) == (True, False)
