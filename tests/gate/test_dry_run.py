"""In a dry run every change is tried and none is made, however it is asked for; and no token comes back."""

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.gate.conftest import StartGate
from tests.gate.gates import Ask, Gate
from tests.gate.ground import Ground
from tests.gate.objects import Json, path, snapshot
from tests.gate.ways import IN_NO_NAMESPACE, JSON, NAMESPACED, PROTOBUF, Kind, changes, crd
from tests.support.service import wait_for

pytestmark = pytest.mark.cluster

_MASKED = b"secrets: masked of test refuses it"
_DRY = {"access": "dry_run", "secrets": "masked"}


@pytest.fixture(scope="module")
def gate(gates: StartGate) -> Gate:
    return gates(**_DRY)


@pytest.fixture(scope="module")
def kinds(ground: Ground) -> list[Kind]:
    """Of Kubernetes' own, in a namespace and in none, and custom ones."""
    name = f"{ground.name}-dry"
    own = f"{name}.example.com"
    found = [Kind(path(name, plural, version), version, kind, holds) for plural, version, kind, holds in NAMESPACED]
    found.append(Kind(path(name, "things", f"{own}/v1"), f"{own}/v1", "Thing", {"spec": {"replicas": 1}}))
    mine = (f"{name}-there", f"{name}-new")
    for plural, version, kind, holds in (*IN_NO_NAMESPACE, ("ones", f"{own}/v1", "One", {"spec": {"replicas": 1}})):
        root = "apis" if "/" in version else "api"
        found.append(Kind(f"/{root}/{version}/{plural}", version, kind, holds, *mine))
    return found


@pytest.fixture(scope="module")
def place(ground: Ground, kinds: list[Kind]) -> Iterator[str]:
    """A namespace with an object `there` of each kind, and one of each kind that is in no namespace."""
    name = f"{ground.name}-dry"
    ground.kubectl("create", "namespace", name)
    definitions = [crd("thing", f"{name}.example.com", "Namespaced"), crd("one", f"{name}.example.com", "Cluster")]
    names = [f"crd/{one['metadata']['name']}" for one in definitions]
    try:
        _create(ground, name, definitions)
        ground.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
        _create(ground, name, [kind.manifest(kind.there) for kind in kinds])
        wait_for(
            lambda: everything(ground, kinds, name) == everything(ground, kinds, name),
            60,
            "controllers have done what they do with new objects",
        )
        yield name
    finally:
        outside = [f"{kind.resource}/{kind.there}" for kind in kinds if kind.is_anywhere]
        ground.kubectl("delete", "--wait=false", "--ignore-not-found", *outside, f"namespace/{name}", *names)


def _create(ground: Ground, namespace: str, items: list[Json]) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": items}
    ground.kubectl("create", f"--namespace={namespace}", "--filename=-", stdin=json.dumps(listed))


def everything(ground: Ground, kinds: list[Kind], namespace: str) -> dict[str, str]:
    """The namespace, and what is the test's in none, byte for byte; names that something made would have."""
    resources = ",".join(kind.resource for kind in kinds if kind.is_anywhere) + ",customresourcedefinitions"
    listed = json.loads(ground.kubectl("get", resources, "--output=json", "--show-managed-fields"))["items"]
    mine = [one for one in listed if namespace in one["metadata"]["name"]]
    others = [name for one in listed if (name := one["metadata"]["name"]).startswith("new-")]
    return {**snapshot(ground.kubectl, namespace), "outside": json.dumps(mine, sort_keys=True), "new": str(others)}


def _in_protobuf(ask: Ask, kind: Kind) -> bytes:
    """A new object as the API server writes it; empty for kinds that it has no such form of."""
    body = json.dumps(kind.manifest(kind.new))
    code, answer = ask("POST", f"{kind.at}?dryRun=All", body, Content_Type=JSON, Accept=PROTOBUF)
    return answer if code == 201 and answer.startswith(b"k8s") else b""


def test_after_every_kind_of_change_the_objects_are_byte_for_byte_what_they_were(
    ground: Ground, gate: Gate, place: str, kinds: list[Kind]
) -> None:
    before = everything(ground, kinds, place)
    assert before["outside"].count('"uid"') >= len(IN_NO_NAMESPACE)
    tried: Counter[str] = Counter()
    with gate.asking() as ask:
        for kind in kinds:
            version = json.loads(ask("GET", f"{kind.at}/{kind.there}")[1])["metadata"]["resourceVersion"]
            for way in changes(kind, version, _in_protobuf(ask, kind)):
                code, answer = ask(
                    way.method, way.path, way.body, **({"Content_Type": way.media} if way.media else {})
                )
                assert code in {200, 201, 202, 400, 404, 405, 409, 415, 422} or _MASKED in answer, (way, code, answer)
                assert b"eyJ" not in answer, "a token"
                tried[kind.kind] += code < 300
    assert tried.total() > 700, tried
    assert min(tried.values()) >= 10, tried
    assert everything(ground, kinds, place) == before


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
        # Old paths, and paths written otherwise.
        ("POST", f"{pods}/eviction", JSON, {**eviction, "apiVersion": "policy/v1beta1"}, 201),
        ("POST", f"/api/v1/namespaces/{place}/bindings", JSON, binding, 409),
        ("DELETE", f"/api/v1/namespaces/{place}/p%6fds/there/", JSON, "{}", 200),
        ("DELETE", f"/api/v1/watch/namespaces/{place}/pods/there", JSON, "{}", 400),
        ("POST", f"/api/v1/proxy/namespaces/{place}/pods/there", JSON, "{}", 400),
        ("PATCH", f"/api/v1/namespaces/{place}/status", merge, '{"metadata":{"labels":{"a":"b"}}}', 200),
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
        ("POST", "serviceaccounts/there/%74oken/", "{}"),
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
