"""In a dry run every change is tried and none is made, however it is asked for; and no token comes back."""

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.gate.conftest import StartGate
from tests.gate.gates import Gate
from tests.gate.ground import Ground
from tests.gate.objects import KINDS, Json, manifest, path, snapshot, still
from tests.support.service import wait_for

pytestmark = pytest.mark.cluster

_DRY = {"access": "dry_run", "secrets": "masked"}
_PATCHES = {
    "application/merge-patch+json": '{"metadata":{"labels":{"new":"yes"}}}',
    "application/strategic-merge-patch+json": '{"metadata":{"annotations":{"new":"yes"}}}',
    "application/json-patch+json": '[{"op":"add","path":"/metadata/labels/new","value":"yes"}]',
}
# What DELETE can say besides nothing; the gate reads each of them.
_OPTIONS = [
    ("application/json", '{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Background"}'),
    ("application/json", '{"dryRun":[]}'),
    ("application/yaml", "gracePeriodSeconds: 0\n"),
    ("application/json", '{"dryRun":["All"],"dryRun":[]}'),
]


@pytest.fixture(scope="module")
def gate(gates: StartGate) -> Gate:
    return gates(**_DRY)


@pytest.fixture(scope="module")
def place(ground: Ground) -> Iterator[str]:
    """A namespace with an object `there` of each kind."""
    name = f"{ground.name}-dry"
    ground.kubectl("create", "namespace", name)
    items = [manifest("there", version, kind, holds) for _, version, kind, holds in KINDS]
    listed = {"apiVersion": "v1", "kind": "List", "items": items}
    ground.kubectl("create", f"--namespace={name}", "--filename=-", stdin=json.dumps(listed))
    wait_for(lambda: still(ground.kubectl, name), 60, "controllers have done what they do with new objects")
    yield name
    ground.kubectl("delete", "namespace", name, "--wait=false")


def changes(namespace: str, plural: str, version: str, kind: str, holds: Json) -> Iterator[tuple[str, str, str, str]]:
    """Method, path, media type and body of every way to change objects of a kind."""
    at = path(namespace, plural, version)
    there, new = (manifest(name, version, kind, holds) for name in ("there", "new"))
    generated = {**new, "metadata": {"generateName": "new-"}}
    changed = {**there, "metadata": {"name": "there", "labels": {"changed": "yes"}}}
    yield "POST", at, "application/json", json.dumps(new)
    yield "POST", at, "application/yaml", json.dumps(new)
    yield "POST", f"{at}?dryRun=", "application/json", json.dumps(generated)
    yield "PUT", f"{at}/there?fieldManager=x", "application/json", json.dumps(changed)
    yield "PUT", f"{at}/there/status", "application/json", json.dumps(changed)
    for media, body in _PATCHES.items():
        yield "PATCH", f"{at}/there", media, body
    for name, body in (("there", changed), ("new", new)):
        yield "PATCH", f"{at}/{name}?fieldManager=x&force=true", "application/apply-patch+yaml", json.dumps(body)
    yield "DELETE", f"{at}/there", "", ""
    yield "DELETE", f"{at}/there?dryRun=None&gracePeriodSeconds=0", "", ""
    for media, body in _OPTIONS:
        yield "DELETE", f"{at}/there", media, body
    yield "DELETE", f"{at}?labelSelector=objects%3Dyes", "application/json", "{}"
    yield "DELETE", at, "", ""


def test_after_every_kind_of_change_the_objects_are_byte_for_byte_what_they_were(
    ground: Ground, gate: Gate, place: str
) -> None:
    before = snapshot(ground.kubectl, place)
    tried: Counter[bool] = Counter()
    for kind in KINDS:
        for method, target, media, body in changes(place, *kind):
            code, answer = gate.ask(method, target, body, **({"Content_Type": media} if media else {}))
            tried[code < 300] += 1
            assert code in {200, 201, 202, 400, 404, 405, 409, 415, 422, 500}, (method, target, code, answer)
            assert b"eyJ" not in answer, "a token"
    assert tried[True] > 300, tried
    assert snapshot(ground.kubectl, place) == before


def test_what_is_below_a_resource_is_tried_too(ground: Ground, gate: Gate, place: str) -> None:
    before = snapshot(ground.kubectl, place)
    pods = f"/api/v1/namespaces/{place}/pods/there"
    eviction: Json = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "there"}}
    scale = f"/apis/apps/v1/namespaces/{place}/deployments/there/scale"
    merge = "application/merge-patch+json"
    binding: Json = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "there"}, "target": {"name": "none"}}
    ways: list[tuple[str, str, str, Json | str, int]] = [
        ("POST", f"{pods}/eviction", "application/json", eviction, 201),
        ("POST", f"{pods}/eviction", "application/json", {**eviction, "deleteOptions": {"dryRun": []}}, 201),
        ("POST", f"{pods}/eviction", "application/json", {**eviction, "deleteOptions": {"dryRun": ["None"]}}, 201),
        ("POST", f"{pods}/binding", "application/json", binding, 409),  # a pod with a gate cannot be bound
        ("PATCH", scale, merge, '{"spec":{"replicas":3}}', 200),
        (
            "PATCH",
            f"{pods}/ephemeralcontainers",
            "application/strategic-merge-patch+json",
            '{"spec":{"ephemeralContainers":[{"name":"look","image":"x"}]}}',
            200,
        ),
        ("PATCH", f"{pods}/resize", merge, "{}", 200),
        (
            "PUT",
            f"/api/v1/namespaces/{place}/finalize",
            "application/json",
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place}, "spec": {"finalizers": []}},
            200,
        ),
        ("DELETE", f"/api/v1/namespaces/{place}", "application/json", "{}", 200),
    ]
    for method, target, media, body, expected in ways:
        code, answer = gate.ask(method, target, body, Content_Type=media)
        assert code == expected, (method, target, code, answer)
    assert snapshot(ground.kubectl, place) == before


@pytest.mark.parametrize(
    ("method", "below", "body"),
    [
        (
            "POST",
            "serviceaccounts/there/token",
            '{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}',
        ),
        ("POST", "serviceaccounts/there/token?dryRun=All", "{}"),
        ("POST", "pods/there/exec?command=true", ""),
        ("GET", "pods/there/exec?command=true", ""),
        ("GET", "pods/there/attach", ""),
        ("POST", "pods/there/portforward", ""),
        ("GET", "pods/there/proxy", ""),
        ("PUT", "services/there/proxy/x", ""),
        ("PATCH", "deployments/there/rollback", "{}"),
        ("POST", "../../../logs", ""),
    ],
)
def test_what_cannot_be_tried_is_refused(
    ground: Ground, gate: Gate, place: str, method: str, below: str, body: str
) -> None:
    before = len(gate.requests())
    code, answer = gate.ask(method, f"/api/v1/namespaces/{place}/{below}", body, Content_Type="application/json")
    assert code == (400 if ".." in below else 403), answer
    assert json.loads(answer)["kind"] == "Status"
    assert gate.requests()[before]["refused"]
    assert ground


def test_kubectl_shows_what_would_change(ground: Ground, gate: Gate, place: str) -> None:
    before = snapshot(ground.kubectl, place)
    script = """
        echo '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"there"},"data":{"a":"changed"}}' >changed
        k create configmap new; k delete cm/there; k label cm/there a=b; k scale deployment/there --replicas=3
        k delete pods --all --now --wait=false; k apply -f changed 2>/dev/null; k diff -f changed | grep '^[-+] '
        k apply --dry-run=server -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"new"}}'
        k auth can-i create pods; k exec there -- true 2>&1 | grep -o 'access: dry_run.*'
    """
    answer = ground.run(script, gate.kubeconfig, place)
    assert answer.exit_code == 0, answer
    assert "Warning: this run is a dry run: nothing was changed" in answer.stderr, answer
    assert 'configmap "there" deleted' in answer.stdout, answer
    assert "-  a: b" in answer.stdout, answer
    assert "+  a: changed" in answer.stdout, answer
    assert "configmap/new created (server dry run)" in answer.stdout, answer
    assert "it changes or starts something and cannot be tried without doing it" in answer.stdout, answer
    assert snapshot(ground.kubectl, place) == before
