"""A rule holds whatever sends the request and however it is written: kubectl, raw requests, encodings, old paths,
watches, tables, other subresources, custom and aggregated resources."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gate.conftest import StartGate
from tests.gate.gates import Gate
from tests.gate.ground import Ground

pytestmark = pytest.mark.cluster

_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
_EVICTION = '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"x"}}'


@pytest.fixture(scope="module")
def space(ground: Ground) -> Iterator[str]:
    name = f"{ground.name}-rules"
    ground.kubectl("create", "namespace", name)
    for kind in ("configmap", "secret generic"):
        ground.kubectl("create", *kind.split(), "there", f"--namespace={name}", "--from-literal=a=b")
    yield name
    ground.kubectl("delete", "namespace", name, "--wait=false")


def entry(rule: str, verbs: str, group: str, resources: str, **more: Any) -> dict[str, Any]:
    return {"name": rule, "verbs": verbs.split(), "apiGroups": [group], "resources": resources.split(), **more}


def refused(gate: Gate, rule: str, *requests: str, body: str = "", **headers: str) -> None:
    """Each of them is refused by that rule, in the answer and in the record."""
    for request in requests:
        method, _, path = request.partition(" ")
        before = len(gate.requests())
        code, answer = gate.ask(method, path, body, **headers)
        assert code == 403, (request, code, answer)
        status = json.loads(answer)
        assert status["kind"] == "Status", request
        assert rule.removeprefix("test: ") in status["message"], request
        assert gate.requests()[before]["refused"] == rule, request


def allowed(gate: Gate, *requests: str, **headers: str) -> None:
    """None of them is refused by the gate, whatever the API server says to it."""
    for request in requests:
        method, _, path = request.partition(" ")
        before = len(gate.requests())
        code, answer = gate.ask(method, path, **headers)
        assert code != 400, (request, answer)
        assert "refused" not in gate.requests()[before], (request, answer)


def test_a_deny_of_reading_holds_for_every_way_to_read(start_gate: StartGate, space: str) -> None:
    gate = start_gate(deny=[entry("deny[0]", "get list watch", "", "configmaps")])
    at = f"/api/v1/namespaces/{space}/configmaps"
    ways = [
        f"GET {at}",
        f"GET {at}/there",
        f"GET {at}?watch=true",
        f"GET {at}?watch=1&timeoutSeconds=1",
        f"GET {at}/",
        f"GET {at}?limit=1",
        f"GET {at}?fieldSelector=metadata.name%3Dthere",
        f"GET {at}/there?watch=true",
        f"GET {at[:-10]}%63onfigmaps/there",
        "GET /api/v1/configmaps",
        "GET /api/v1/configmaps?watch=true",
        "GET /api/v1/watch/configmaps",
        f"GET /api/v1/watch/namespaces/{space}/configmaps",
        f"GET /api/v1/watch/namespaces/{space}/configmaps/there",
        f"GET {at}?pretty=true",
        f"GET {at}/there?resourceVersion=0",
    ]
    for accept in (
        "application/json",
        "application/vnd.kubernetes.protobuf",
        "application/cbor",
        _TABLE,
        "application/yaml",
    ):
        refused(gate, "deny[0]", *ways, Accept=accept)
    refused(gate, "deny[0]", f"GET {at}?watch=true", Connection="Upgrade", Upgrade="websocket")
    assert gate.ask("HEAD", f"{at}/there")[0] == 403
    assert gate.ask("GET", f"{at[:-10]}ConfigMaps/there")[0] == 400
    assert gate.ask("GET", f"{at}//there")[0] == 400
    allowed(gate, f"GET /api/v1/namespaces/{space}/secrets", f"DELETE {at}/none", f"GET /api/v1/namespaces/{space}")


def test_a_deny_of_deleting_holds_for_every_way_to_delete(start_gate: StartGate, ground: Ground, space: str) -> None:
    gate = start_gate(
        deny=[
            entry("deny[0]", "delete deletecollection", "*", "*", namespaces=["*-rules"]),
            entry("deny[1]", "create", "", "pods/eviction"),
        ]
    )
    at = f"/api/v1/namespaces/{space}"
    ways = [
        f"DELETE {at}/configmaps/there",
        f"DELETE {at}/configmaps",
        f"DELETE {at}/configmaps?labelSelector=x",
        f"DELETE {at}/secrets/there",
        f"DELETE {at}",
        f"DELETE {at}/configmaps/there?dryRun=All",
        f"DELETE {at}/pods/x/status",
        "DELETE /api/v1/configmaps",
        f"DELETE /apis/example.com/v1/namespaces/{space}/widgets/x",
    ]
    for media in ("application/json", "application/vnd.kubernetes.protobuf", "application/yaml"):
        refused(gate, "deny[0]", *ways, body="{}", Content_Type=media)
    refused(gate, "deny[1]", f"POST {at}/pods/x/eviction", body=_EVICTION, Content_Type="application/json")
    for command in (
        "k delete cm there",
        "k delete cm --all",
        "k delete --raw /api/v1/namespaces/$NS/configmaps/there",
        "kubectl delete ns $NS",
        'k replace --force -f - <<<\'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"there"}}\'',
    ):
        answer = ground.run(command, gate.kubeconfig, space)
        assert "deny[0] refuses it" in answer.stderr, (command, answer)
        assert answer.exit_code == 1
    assert ground.kubectl("get", f"--namespace={space}", "cm/there", "secret/there", "--output=name")


def test_an_allow_of_one_thing_allows_nothing_else(start_gate: StartGate, ground: Ground, space: str) -> None:
    gate = start_gate(
        allow=[
            entry("allow[0]", "get list", "", "configmaps", namespaces=["gate-*-rules"]),
            entry("allow[1]", "patch", "apps", "deployments/scale", resourceNames=["web"]),
        ]
    )
    at = f"/api/v1/namespaces/{space}"
    scale = f"/apis/apps/v1/namespaces/{space}/deployments"
    refused(
        gate,
        "test: allow",
        f"GET {at}/configmaps?watch=true",
        f"GET {at}/secrets",
        f"GET {at}",
        "GET /api/v1/configmaps",
        "GET /metrics",
        f"GET {at}/configmaps/there/status",
        f"PATCH {at}/configmaps/there",
        f"POST {at}/configmaps",
        f"PATCH {scale}/web",
        f"PATCH {scale}/other/scale",
        f"PUT {scale}/web/scale",
        f"GET {scale}/web/scale",
        f"DELETE {at}/configmaps",
        "GET /api/v1/namespaces/default/configmaps",
        f"GET /apis/example.com/v1/namespaces/{space}/configmaps",
        "GET /apis/metrics.k8s.io/v1beta1/nodes",
        f"GET {at}/pods/x/log",
    )
    refused(gate, "test: allow", f"GET {at}/configmaps", Impersonate_User="jane")
    allowed(
        gate,
        f"GET {at}/configmaps",
        f"GET {at}/configmaps/there",
        f"PATCH {scale}/web/scale",
        "GET /api",
        "GET /openapi/v3",
        "HEAD /version",
    )
    shown = ground.run("k get cm there -o name; k get cm -o name | grep there; k get secrets", gate.kubeconfig, space)
    assert shown.stdout == "configmap/there\nconfigmap/there\n"
    assert shown.stderr.startswith(
        f'Error from server (Forbidden): list secrets in namespace "{space}": no entry of allow in test names it'
    )


def test_read_only_reads_and_asks_and_does_nothing_else(start_gate: StartGate, ground: Ground, space: str) -> None:
    gate = start_gate(access="read_only", secrets="masked")
    at = f"/api/v1/namespaces/{space}"
    rule = "test: access: read_only"
    refused(
        gate,
        rule,
        f"POST {at}/configmaps",
        f"PATCH {at}/configmaps/there",
        f"DELETE {at}/configmaps/there",
        f"PUT {at}/configmaps/there",
        f"DELETE {at}/configmaps",
        f"POST {at}/configmaps?dryRun=All",
        f"POST {at}/pods/x/exec",
        f"GET {at}/pods/x/exec?command=sh",
        f"GET {at}/pods/x/attach",
        f"GET {at}/pods/x/portforward",
        f"GET {at}/pods/x/proxy/",
        f"GET {at}/services/x/proxy/",
        "GET /api/v1/nodes/n/proxy/pods",
        f"POST {at}/serviceaccounts/default/token",
        f"POST {at}/pods/x/eviction",
        "POST /apis/authorization.k8s.io/v1/subjectaccessreviews",
        "POST /apis/authentication.k8s.io/v1/tokenreviews",
        "PUT /apis/apiregistration.k8s.io/v1/apiservices/x",
        "PATCH /api/v1/nodes/n/status",
        "PUT /apis/certificates.k8s.io/v1/certificatesigningrequests/x/approval",
    )
    refused(gate, rule, f"GET {at}/pods/x/exec?command=sh", Connection="Upgrade", Upgrade="websocket")
    reading = """
        k get cm there -o name; k auth can-i create pods; kubectl auth whoami -o name
        k auth can-i --list | head -1 | cut -d' ' -f1; h list -q; k get secret there -o jsonpath='{.data.a}'
        kubectl get --raw /healthz; k logs none; k get cm -w --request-timeout=1s -o name
    """
    answer = ground.run(reading, gate.kubeconfig, space)
    assert answer.stdout.startswith(
        "configmap/there\nyes\nselfsubjectreview.authentication.k8s.io/<unknown>\nResources\nKg==ok"
    ), answer
    changing = "k create cm new; k label cm there a=b; k scale deployment none --replicas=2; k annotate cm there a=b"
    shown = ground.run(changing, gate.kubeconfig, space)
    assert shown.stderr.count("access: read_only of test refuses it: only reading is allowed") == 3, shown
    assert ground.kubectl("get", f"--namespace={space}", "cm", "--output=name").split() == [
        "configmap/kube-root-ca.crt",
        "configmap/there",
    ]


def test_reading_everything_runs_nothing(start_gate: StartGate, space: str) -> None:
    """kubectl asks for exec, attach and port-forward with a GET, and a kubelet's exec is one as well."""
    at = f"/api/v1/namespaces/{space}/pods/x"
    exec_, attach = f"GET {at}/exec?command=true", f"GET {at}/attach?stdin=true"
    everything = entry("allow[0]", "get list watch", "*", "*")
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    gate = start_gate(allow=[everything])
    refused(gate, "test: allow", exec_, attach, f"GET {at}/portforward", f"POST {at}/exec?command=true")
    refused(gate, "test: allow", exec_, attach, f"GET {at}/portforward", **upgrade)
    refused(gate, "test: allow", "GET /api/v1/nodes/n/proxy/exec/a/b/c?command=true", **upgrade)
    allowed(gate, f"GET {at}", f"GET {at}/log", "GET /api/v1/nodes/n/proxy/pods", f"GET {at}/proxy/")
    gate = start_gate(deny=[entry("deny[0]", "create", "", "pods/exec")])
    refused(gate, "deny[0]", exec_, **upgrade)
    allowed(gate, attach)
    gate = start_gate(allow=[everything, entry("allow[1]", "create", "", "pods/exec")])
    allowed(gate, exec_, f"POST {at}/exec?command=true")
    refused(gate, "test: allow", attach)


def test_the_identity_of_the_kubeconfig_stays(
    start_gate: StartGate, kubeconfig: str, ground: Ground, space: str
) -> None:
    admin = json.loads(ground.kubectl("config", "view", "--raw", "--output=json"))
    admin["users"][0]["user"]["as"] = "viewer"
    for access in ("full", "read_only"):
        gate = start_gate(json.dumps(admin), access=access)
        script = 'kubectl auth whoami -o jsonpath="{.status.userInfo.username}" "$@"'
        assert ground.run(script, gate.kubeconfig, space).stdout == "viewer"
        stolen = script.replace('"$@"', "--as=system:admin --as-group=system:masters")
        assert ground.run(stolen, gate.kubeconfig, space).stdout == "viewer"
        assert ground.run("k get pods --as=x --as-group=system:masters", gate.kubeconfig, space).exit_code == 1
    own = start_gate(kubeconfig)
    assert ground.run(stolen, own.kubeconfig, space).stdout == "system:admin"
