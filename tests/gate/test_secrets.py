"""With `secrets: masked` no value of a Secret is seen, in whatever form one asks. K8S_MCP_TEST_SECRETS says how many
random ones are tried (200): K8S_MCP_TEST_SECRETS=10000 make test ARGS=tests/gate/test_secrets.py"""

import base64
import json
import os
import random
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.gate.conftest import StartGate
from tests.gate.gates import Gate, Json
from tests.gate.ground import Ground

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]  # hundreds of long answers are searched

_TRIED = int(os.environ.get("K8S_MCP_TEST_SECRETS", "200"))
_AT_ONCE = min(_TRIED, 1000)  # in one namespace: what is looked for in an answer
_SHORTEST = 4  # bytes of a value
_RARE = "jqxzJQXZ~^"  # for short ones, which nothing else in an answer is like
_LETTERS = 'abcdefghijklmnopqrstuvwxyz0123456789+/=!"\\<>&\n\t ü€\0'
_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
_METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
_ACCEPTS = [
    "application/json",
    "application/yaml",
    "*/*",
    "application/vnd.kubernetes.protobuf",
    "application/vnd.kubernetes.protobuf,application/json",
    "application/cbor",
    "application/cbor,application/json;q=0.1",
    _TABLE,
    "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/yaml",
    _METADATA,
    "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
]
_QUERIES = [
    "",
    "?limit=50",
    "?labelSelector=random%3Dyes",
    "?fieldSelector=type%3DOpaque",
    "?fieldSelector=metadata.name%3Ds-0",
    "?pretty=true",
    "?includeObject=Object",
    "?includeObject=Metadata",
    "?watch=true&timeoutSeconds=1",
    "?watch=true&timeoutSeconds=1&includeObject=Object",
    "?watch=true&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
]


def random_value(source: random.Random) -> str:
    if source.random() < 0.2:
        return "".join(source.choices(_RARE, k=source.randint(_SHORTEST, 7)))
    return "".join(source.choices(_LETTERS, k=source.randint(8, 40)))


def random_secret(source: random.Random, number: int) -> Json:
    """A Secret, applied as kubectl applies it, with its values also in annotations."""
    values = {f"key-{key}": random_value(source) for key in range(source.randint(1, 4))}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    last = next(iter(values.values()))
    annotations = {
        "kubectl.kubernetes.io/last-applied-configuration": json.dumps({"kind": "Secret", "data": data}),
        "example.com/copy": json.dumps(data),
        "example.com/short": f"is {last}",
        "example.com/base64": data["key-0"],
        "team": "shop",
    }
    metadata = {"name": f"s-{number}", "labels": {"random": "yes"}, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": data}


class Shown:
    """Says which value can be seen in an answer: as it is, in base64, or as JSON and YAML write it."""

    def __init__(self, secrets: list[Json]) -> None:
        forms: set[bytes] = set()
        for secret in secrets:
            data: dict[str, str] = secret["data"]
            for encoded in data.values():
                value = base64.b64decode(encoded)
                quoted = json.dumps(value.decode())[1:-1].encode()
                plain = json.dumps(value.decode(), ensure_ascii=False)[1:-1].encode()
                forms |= {value, encoded.rstrip("=").encode(), quoted, plain}
        self._beginning: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for form in sorted(forms):
            self._beginning[form[:_SHORTEST]].append(form)

    def in_(self, answer: bytes | str) -> list[bytes]:
        text = answer.encode() if isinstance(answer, str) else answer
        seen = {text[at : at + _SHORTEST] for at in range(len(text))} & self._beginning.keys()
        return [form for beginning in sorted(seen) for form in self._beginning[beginning] if form in text]


@pytest.fixture(scope="module")
def gate(gates: StartGate) -> Gate:
    return gates(secrets="masked")


@pytest.fixture(scope="module")
def space(ground: Ground) -> Iterator[str]:
    name = f"{ground.name}-secrets"
    ground.kubectl("create", "namespace", name)
    yield name
    ground.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module", params=range(_TRIED // _AT_ONCE))
def shown(request: pytest.FixtureRequest, gates: StartGate, space: str) -> Iterator[Shown]:
    """Many random Secrets in the namespace."""
    source = random.Random(request.param)
    made = [random_secret(source, number) for number in range(_AT_ONCE)]
    direct = gates()
    at = f"/api/v1/namespaces/{space}/secrets"

    def create(secret: Json) -> int:
        return direct.ask("POST", at, secret, Content_Type="application/json")[0]

    with ThreadPoolExecutor(8) as pool:
        codes = set(pool.map(create, made))
    assert codes == {201}
    shown = Shown(made)
    assert shown.in_(direct.ask("GET", at)[1]), "the test finds no value where there are"
    yield shown
    assert direct.ask("DELETE", at)[0] == 200


def test_no_value_is_seen_in_any_form_of_reading(gate: Gate, space: str, shown: Shown) -> None:
    at = f"/api/v1/namespaces/{space}/secrets"
    paths = [f"{at}{query}" for query in _QUERIES]
    paths += [f"{at}/s-0", f"{at}/s-1?pretty=true", f"/api/v1/secrets?fieldSelector=metadata.namespace%3D{space}"]
    paths += [f"/api/v1/watch/namespaces/{space}/secrets?timeoutSeconds=1", f"{at[:-7]}%73ecrets", f"{at}/"]

    def ask(pair: tuple[str, str]) -> tuple[str, str, int, list[bytes]]:
        path, accept = pair
        code, answer = gate.ask("GET", path, Accept=accept)
        return path, accept, code, shown.in_(answer)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, [(path, accept) for path in paths for accept in _ACCEPTS]))
    assert [answer for answer in answers if answer[3]] == []
    assert sum(code == 200 for _, _, code, _ in answers) > len(answers) * 0.6


def test_no_value_is_seen_in_the_answer_to_a_write(gate: Gate, space: str, shown: Shown) -> None:
    at = f"/api/v1/namespaces/{space}/secrets"
    new = random_secret(random.Random(-1), 0)
    seen = Shown([new])
    secret = {**new, "metadata": {"name": "written"}}
    labels = '{"metadata":{"labels":{"x":"y"}}}'
    for number, (method, path, media, body, expected) in enumerate(
        (
            ("POST", at, "application/json", secret, 201),
            ("POST", f"{at}?dryRun=All", "application/json", {**secret, "metadata": {"generateName": "w-"}}, 201),
            ("PUT", f"{at}/written", "application/json", secret, 200),
            ("PATCH", f"{at}/s-1", "application/merge-patch+json", labels, 200),
            ("PATCH", f"{at}/s-2", "application/strategic-merge-patch+json", labels, 200),
            (
                "PATCH",
                f"{at}/s-3",
                "application/json-patch+json",
                '[{"op":"remove","path":"/metadata/labels/random"}]',
                200,
            ),
            (
                "PATCH",
                f"{at}/s-4?fieldManager=x&force=true",
                "application/apply-patch+yaml",
                {**secret, "metadata": {"name": "s-4"}},
                200,
            ),
            ("PATCH", f"{at}/s-5", "application/merge-patch+json", '{"data":{"key-0":"%%%"}}', 422),
            ("PATCH", f"{at}/s-6", "application/merge-patch+json", '{"data":{"Bad key":"YWFhYQ=="}}', 422),
            ("PATCH", f"{at}/s-7", "application/merge-patch+json", '{"type":"other"}', 422),
            (
                "PATCH",
                f"{at}/s-7",
                "application/json-patch+json",
                '[{"op":"copy","from":"/data/key-0","path":"/metadata/labels/x"}]',
                403,
            ),
            ("DELETE", f"{at}/s-8", "", "", 200),
            ("DELETE", f"{at}?labelSelector=random%3Dno", "", "", 200),
        )
    ):
        for accept in ("application/json", "application/vnd.kubernetes.protobuf", _TABLE):
            headers = {"Content_Type": media, "Accept": accept} if media else {"Accept": accept}
            code, answer = gate.ask(method, path, body, **headers)
            assert shown.in_(answer) + seen.in_(answer) == [], (number, accept, answer)
            if accept == "application/json":
                assert code == expected, (number, answer)


def test_kubectl_sees_names_keys_and_sizes(ground: Ground, gate: Gate, space: str, shown: Shown) -> None:
    script = """
        k get secrets | head -3; k get secret s-10 -o yaml; k describe secret s-10
        k get secret s-10 -o json --show-managed-fields
        k get secrets -o jsonpath='{.items[*].data}' | tail -c 1000; k get --raw /api/v1/namespaces/$NS/secrets/s-10
        k get secrets -l random=yes --sort-by=.metadata.name -o custom-columns=N:.metadata.name,D:.data | tail -2
        k label secret s-10 new=label; k get secret s-10 --show-labels; k apply view-last-applied secret/s-10
        k get secret s-10 -o yaml | sed s/random/other/ | k apply -f - ; k get secret s-10 -o yaml | k replace -f -
    """
    answer = ground.run(script, gate.kubeconfig, space)
    assert shown.in_(answer.stdout + answer.stderr) == []
    assert "key-0:" in answer.stdout
    assert "Opaque" in answer.stdout
    assert "secret/s-10 labeled" in answer.stdout
    assert "storing it would destroy the value" in answer.stderr


def test_helm_lists_its_releases_and_shows_none_of_what_they_hold(
    ground: Ground, gate: Gate, gates: StartGate, space: str
) -> None:
    install = """
        rm -rf chart; helm create chart >/dev/null; sed -i "s/replicaCount: 1/replicaCount: 0/" chart/values.yaml
        echo 'note hunter2-in-a-note' >chart/templates/NOTES.txt
        h install web chart --set password=hunter2-in-a-value >/dev/null
        h upgrade web chart --set password=hunter2-in-a-value >/dev/null
    """
    assert ground.run(install, gates().kubeconfig, space).exit_code == 0
    reading = "h list; h list -o yaml; h history web; h status web | head -6"
    plain = ground.run(reading, gates().kubeconfig, space)
    gated = ground.run(reading, gate.kubeconfig, space)
    assert gated == plain, (gated.stdout, plain.stdout)
    script = """
        h get values web; h get manifest web; h get notes web; h get all web; h status web -o json
        k get secrets -l owner=helm -o yaml
        helm create chart >/dev/null; h upgrade web chart; h rollback web 1; h uninstall web
        k create secret generic made --from-literal=a=hunter2 -o yaml; h install other chart --set replicaCount=0
    """
    answer = ground.run(script, gate.kubeconfig, space)
    assert "hunter2" not in answer.stdout + answer.stderr
    assert "secret/made" in answer.stdout or "name: made" in answer.stdout, answer
    assert "NAME: other" in answer.stdout, answer
    assert answer.stderr.count("values of Secrets are masked in this run") >= 3, answer.stderr
    assert "web" in ground.run("h list -q", gates().kubeconfig, space).stdout
    assert ground.run("h uninstall web", gates().kubeconfig, space).exit_code == 0


def test_with_secrets_none_there_is_nothing_about_them(start_gate: StartGate, space: str) -> None:
    gate = start_gate(secrets="none")
    for method, path in (
        ("GET", f"/api/v1/namespaces/{space}/secrets"),
        ("GET", "/api/v1/secrets?watch=true"),
        ("POST", f"/api/v1/namespaces/{space}/secrets"),
        ("DELETE", f"/api/v1/namespaces/{space}/secrets/s-0"),
        ("GET", "/api/v1/watch/secrets"),
    ):
        code, answer = gate.ask(method, path)
        assert (code, json.loads(answer)["reason"]) == (403, "Forbidden")
    assert gate.ask("GET", f"/api/v1/namespaces/{space}/configmaps")[0] == 200
