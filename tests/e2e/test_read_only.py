"""A read-only run sees the cluster and changes nothing in it, whatever its command tries. These are the
administrator's credentials: nothing but the credential proxy stands between.
"""

import base64
import json
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.place import Place
from tests.e2e.test_tools import config_map, pod_manifest
from tests.support.client import Client
from tests.support.events import Transcript
from tests.support.service import Service, StartService

pytestmark = pytest.mark.cluster

SECRET = "c2VlIG1lIGlmIHlvdSBjYW4"


@pytest.fixture(scope="module", autouse=True)
def objects(place: Place) -> Iterator[None]:
    """What commands read, and try to change: a pod that serves and writes a log, a ConfigMap, a Secret."""
    where = f"--namespace={place.target}"
    script = "echo served; mkdir /tmp/www && echo hello >/tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"
    place.kubectl("create", where, "--filename=-", stdin=json.dumps(pod_manifest("looked-at", script)))
    place.kubectl("create", where, "--filename=-", stdin=config_map("looked-at", key="value"))
    place.kubectl("create", "secret", "generic", "looked-at", where, f"--from-literal=key={SECRET}")
    place.kubectl("wait", where, "--for=condition=Ready", "pod/looked-at", "--timeout=60s")
    yield
    place.kubectl("delete", where, "pod,configmap,secret", "looked-at", "--now")


async def run(client: Client, place: Place, command: str) -> Transcript:
    return await client.run(
        f"kubectl config set-context --current --namespace={place.target} >/dev/null\n{command}", read_only=True
    )


READS = [
    "kubectl get pods,configmaps -o wide",
    "kubectl get --all-namespaces pods -o json | jq -e '.items | length > 0'",
    "kubectl get pod looked-at -o yaml",
    "kubectl describe pod looked-at && kubectl describe nodes",
    "kubectl logs looked-at | grep served",
    "{ timeout 8 kubectl logs -f looked-at || [ $? = 124 ]; } | grep served",
    "kubectl get events",
    "kubectl explain pod.spec.containers",
    "kubectl api-resources && kubectl api-versions && kubectl version && kubectl cluster-info",
    "kubectl get --raw /readyz && kubectl get --raw /metrics | grep apiserver_request_total",
    "kubectl wait --for=condition=Ready pod/looked-at --timeout=10s",
    "{ timeout 8 kubectl get configmaps --watch || [ $? = 124 ]; } | grep looked-at",
    "kubectl get roles,rolebindings,serviceaccounts,customresourcedefinitions --all-namespaces",
    "helm version && helm template x --help >/dev/null && helm list",
    "kubectl auth can-i delete pods && kubectl auth whoami",
    "kubectl get secrets | grep looked-at && kubectl describe secret looked-at",
]


async def test_reading_works(kubernetes_server: Service, client: Client, place: Place) -> None:
    lines = "\n".join(
        f"( set -eo pipefail; {read} ) </dev/null >out 2>&1 || {{ echo 'FAILED: {_quoted(read)}'; cat out; }}"
        for read in READS
    )
    seen = await run(client, place, f"{lines}\necho end")
    assert seen.stdout == ["end"], seen.stdout
    assert (await client.state(seen.run_id))["read_only"] is True


ASK_RAW = """
import http.client, sys
for method, path in [line.split() for line in sys.stdin]:
    connection = http.client.HTTPConnection("127.0.0.1", 9001, timeout=20)
    connection.request(method, path, headers={"Connection": "Upgrade", "Upgrade": "SPDY/3.1"} if "?" in path else {})
    answer = connection.getresponse()
    print(answer.status, method, path) if answer.status != 403 else None
"""

TRIES = [
    "kubectl create configmap made --from-literal=a=b",
    "kubectl apply -f - <<<$manifest",
    "kubectl apply --server-side -f - <<<$manifest",
    "kubectl apply --dry-run=server -f - <<<$manifest",
    "kubectl replace -f - <<<$manifest",
    'kubectl patch configmap looked-at -p \'{"data": {"key": "changed"}}\'',
    "kubectl label configmap looked-at a=b",
    "kubectl annotate pod looked-at a=b",
    "kubectl delete pod looked-at --now",
    "kubectl delete configmaps --all",
    "kubectl run made --image=x",
    "kubectl cordon $(kubectl get nodes -o name) | grep cordoned",  # its exit code is 0 in any case
    "kubectl taint $(kubectl get nodes -o name) a=b:PreferNoSchedule",
    "kubectl drain $(kubectl get nodes -o name) --force --ignore-daemonsets",
    "kubectl debug looked-at --image=x",
    "kubectl create token default",
    "kubectl create serviceaccount made",
    "kubectl create clusterrolebinding made --clusterrole=cluster-admin --user=me",
    "kubectl exec looked-at -- id",
    "KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false kubectl exec looked-at -- id",
    "kubectl attach looked-at",
    "kubectl cp looked-at:/tmp/www/index.html copied",
    "timeout 10 kubectl port-forward looked-at 8080:8080",
    "kubectl get --raw /api/v1/namespaces/$ns/pods/looked-at:8080/proxy/",
    "kubectl get --raw /api/v1/nodes/$(kubectl get nodes -o name | cut -d/ -f2)/proxy/pods",
    "kubectl delete --raw /api/v1/namespaces/$ns/pods/looked-at",
    "kubectl create --raw /api/v1/namespaces/$ns/configmaps -f - <<<$manifest",
    "helm install made /tmp/chart",
    # Another kubectl's idea of what a server is
    "HOME=/tmp/elsewhere KUBECONFIG= kubectl --server=http://127.0.0.1:9001 delete pod looked-at",
    "kubectl --as=admin --as-group=system:masters delete pod looked-at",
    "kubectl --token=x delete pod looked-at",
]


async def test_whatever_is_tried_is_refused(client: Client, place: Place) -> None:
    tries = "\n".join(
        f"( ns={place.target}; manifest=$(<manifest); {one} ) >out 2>err </dev/null && echo 'WORKED: {_quoted(one)}'"
        for one in TRIES
    )
    manifest = config_map("looked-at", key="changed")
    raw = [f"{method} /api/v1/namespaces/{place.target}/{path}" for method, path in RAW]
    seen = await run(
        client,
        place,
        f"""
        mkdir -p /tmp/chart/templates
        printf 'apiVersion: v2\\nname: made\\nversion: 1.0.0\\n' >/tmp/chart/Chart.yaml
        cat >manifest <<<'{manifest}'; cp manifest /tmp/chart/templates/made.yaml
        {tries}
        python3 -c '{ASK_RAW}' <<'END'
{chr(10).join(raw)}
END
        # A proxy of the command's own speaks to the one that has the credential.
        kubectl proxy --port=9300 --reject-paths='^$' >proxied & proxy=$!
        until grep -q Starting proxied; do sleep 0.1; done
        kubectl --server=http://127.0.0.1:9300 delete pod looked-at 2>err && echo 'WORKED: a proxy'
        kubectl --server=http://127.0.0.1:9300 exec looked-at -- id 2>err && echo 'WORKED: exec by a proxy'
        kill $proxy
        echo end
        """,
    )
    assert seen.stdout == ["end"], [seen.stdout, seen.stderr]
    where = f"--namespace={place.target}"
    kept = await place.akubectl(
        "get", "configmap/looked-at", where, "--output=jsonpath={.data.key}{.metadata.labels}"
    )
    assert kept == "value"
    pod = json.loads(await place.akubectl("get", "pod/looked-at", where, "--output=json"))
    assert "deletionTimestamp" not in pod["metadata"]
    assert "annotations" not in pod["metadata"]
    assert "ephemeralContainers" not in pod["spec"]
    made = await place.akubectl("get", "pods,configmaps,serviceaccounts", where, "--output=name")
    assert "made" not in made
    nodes = json.loads(await place.akubectl("get", "nodes", "--output=json"))["items"]
    assert not any(node["spec"].get("unschedulable") for node in nodes)


RAW = [
    ("POST", "configmaps"),
    ("DELETE", "pods/looked-at"),
    ("PATCH", "pods/looked-at"),
    ("PUT", "configmaps/looked-at"),
    ("GET", "secrets/looked-at/x"),
    ("GET", "pods/looked-at/exec?command=id&stdout=true"),
    ("GET", "pods/looked-at/attach?stdout=true"),
    ("GET", "pods/looked-at/portforward?ports=8080"),
    ("GET", "pods/looked-at/proxy/?x"),
]


def _quoted(command: str) -> str:
    return command.replace("'", "")


SECRET_TRIES = [
    "kubectl get secret looked-at -o yaml",
    "kubectl get secrets -o json --show-managed-fields",
    "timeout 3 kubectl get secrets --all-namespaces --watch -o yaml",
    "kubectl get --raw /api/v1/secrets",
    "timeout 3 kubectl get --raw '/api/v1/watch/namespaces/'$ns/secrets/looked-at",
    "kubectl --server=http://127.0.0.1:9300 get secret looked-at -o yaml",
    "curl -s http://127.0.0.1:9001/api/v1/namespaces/$ns/secrets/looked-at",
]


async def test_no_value_of_a_secret_is_seen(client: Client, place: Place) -> None:
    tries = "\n".join(f"{one} </dev/null 2>&1" for one in SECRET_TRIES)
    proxy = "kubectl proxy --port=9300 --reject-paths='^$' >proxied & proxy=$!"
    until = "until grep -q Starting proxied; do sleep 0.1; done"
    seen = await run(client, place, f"ns={place.target}; {proxy}; {until}\n{tries}\nkill $proxy")
    text = "\n".join([*seen.stdout, *seen.stderr])
    assert text.count("looked-at") >= 5
    assert SECRET not in text
    assert base64.b64encode(SECRET.encode()).decode() not in text


async def test_without_read_only_the_same_works(client: Client, place: Place) -> None:
    """So the tries above fail for the reason they are meant to fail for."""
    seen = await client.run(
        f"""
        kubectl config set-context --current --namespace={place.target} >/dev/null
        kubectl annotate pod looked-at tried=yes && kubectl annotate pod looked-at tried-
        kubectl exec looked-at -- cat /tmp/www/index.html
        kubectl get secret looked-at -o name
        helm list -q
        """
    )
    assert seen.final == {"status": "done", "exit_code": 0}, seen.stderr
    assert seen.stdout[-2:] == ["hello", "secret/looked-at"]
    assert (await client.state(seen.run_id))["read_only"] is False


async def test_read_only_is_known_to_every_replica(
    serve_kubernetes: StartService, client_of: Callable[[Service], Client]
) -> None:
    first, second = serve_kubernetes(), serve_kubernetes()
    async with (
        client_of(first) as one,
        client_of(second) as other,
        one.stream("echo up; sleep 60", read_only=True) as stream,
    ):
        await stream.first("stdout")
        run_id = Transcript(stream.seen).run_id
        assert (await other.state(run_id))["read_only"] is True
        await one.cancel(run_id)
        await stream.to_end()


async def run_ids(client: Client) -> set[str]:
    return {run["run_id"] for run in (await client.http.get("/runs")).json()["runs"]}


async def test_without_isolation_nothing_could_enforce_it(
    serve_kubernetes: StartService, client_of: Callable[[Service], Client]
) -> None:
    service = serve_kubernetes(credential_isolation=False)
    async with client_of(service) as client:
        before = await run_ids(client)
        for word in ("read_only", "dry_run"):
            refused = await client.http.post("/sse", json=client.body("kubectl get pods", **{word: True}))
            assert refused.status_code == 403
            assert "credential isolation" in refused.json()["detail"]
        after = await run_ids(client)
        assert after <= before, "others' runs can have ended meanwhile"
