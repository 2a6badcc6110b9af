"""What commands do with kubectl and helm works through the credential proxy."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.place import IMAGE, Json, Place
from tests.support.client import Client
from tests.support.events import Transcript

pytestmark = pytest.mark.cluster


def pod_manifest(name: str, script: str) -> Json:
    """A pod that runs a shell script, and ends when told to."""
    container = {"name": "main", "image": IMAGE, "command": ["sh", "-c", script]}
    spec = {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def config_map(name: str, **data: str) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})


@pytest.fixture(scope="module")
def pod(place: Place) -> Iterator[str]:
    """A pod with a web server, for commands to look at and go into."""
    script = "mkdir /tmp/www && echo hello >/tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"
    where = f"--namespace={place.target}"
    place.kubectl("create", where, "--filename=-", stdin=json.dumps(pod_manifest("web", script)))
    place.kubectl("wait", where, "--for=condition=Ready", "pod/web", "--timeout=60s")
    yield "web"
    place.kubectl("delete", where, "pod/web", "--now")


async def run(client: Client, place: Place, command: str, **fields: Any) -> Transcript:
    """Run a command that works in the target namespace and must succeed."""
    start = f"set -e; kubectl config set-context --current --namespace={place.target} >/dev/null\n"
    seen = await client.run(f"{start}{command}", **fields)
    assert seen.final == {"status": "done", "exit_code": 0}, [seen.stdout, seen.stderr]
    return seen


async def test_get(client: Client, place: Place, pod: str) -> None:
    seen = await run(client, place, f"kubectl get pod/{pod} -o json")
    assert json.loads("\n".join(seen.stdout))["metadata"]["name"] == pod


async def test_get_watch(client: Client, place: Place) -> None:
    script = """
        columns=custom-columns=TYPE:.type,NAME:.object.metadata.name
        kubectl get configmaps --watch-only --output-watch-events --output=$columns >seen &
        until grep -q 'ADDED *watched' seen; do
            kubectl create configmap watched
            kubectl delete configmap watched
        done >/dev/null
        echo seen
    """
    assert (await run(client, place, script)).stdout == ["seen"]


async def test_describe(client: Client, place: Place, pod: str) -> None:
    seen = await run(client, place, f"kubectl describe pod/{pod}")
    assert seen.stdout[0].split() == ["Name:", pod]
    assert "Events:" in "\n".join(seen.stdout)


async def test_apply(client: Client, place: Place) -> None:
    script = "kubectl apply --filename=-"
    assert (await run(client, place, script, stdin=config_map("applied", a="1"))).stdout == [
        "configmap/applied created"
    ]
    assert (await run(client, place, script, stdin=config_map("applied", a="2"))).stdout == [
        "configmap/applied configured"
    ]
    seen = await run(client, place, f"{script} --server-side --force-conflicts", stdin=config_map("applied", a="3"))
    assert seen.stdout == ["configmap/applied serverside-applied"]
    assert json.loads(await in_target(place, "configmap/applied"))["data"] == {"a": "3"}


async def in_target(place: Place, what: str) -> str:
    return await place.akubectl("get", what, f"--namespace={place.target}", "--output=json")


@pytest.mark.parametrize("patch", ['--type=merge --patch=\'{"data":{"b":"2"}}\'', '--patch=\'{"data":{"b":"2"}}\''])
async def test_patch(client: Client, place: Place, patch: str) -> None:
    await run(
        client,
        place,
        f"kubectl apply -f - && kubectl patch configmap/patched {patch}",
        stdin=config_map("patched", a="1"),
    )
    assert json.loads(await in_target(place, "configmap/patched"))["data"] == {"a": "1", "b": "2"}


async def test_delete(client: Client, place: Place) -> None:
    script = """
        kubectl create configmap deleted
        kubectl delete configmap/deleted
        kubectl get configmap/deleted --ignore-not-found
        echo end
    """
    seen = await run(client, place, script)
    assert seen.stdout == [
        "configmap/deleted created",
        f'configmap "deleted" deleted from {place.target} namespace',
        "end",
    ]


async def test_logs_are_followed_live(client: Client, place: Place) -> None:
    talker = pod_manifest("talker", "for i in 1 2 3 4 5; do echo line $i; sleep 0.5; done")
    script = """
        kubectl apply -f - >/dev/null
        kubectl wait --for=jsonpath='{.status.containerStatuses[0].state.running}' pod/talker --timeout=60s >/dev/null
        kubectl logs --follow pod/talker
    """
    seen = await run(client, place, script, stdin=json.dumps(talker))
    assert seen.stdout == [f"line {number}" for number in range(1, 6)]
    arrived = [event.at for event in seen.events if event.name == "stdout"]
    assert arrived[-1] - arrived[0] > 1, "they came together, at the end"


async def test_exec(client: Client, place: Place, pod: str) -> None:
    inside = "echo out; echo err >&2; cat; exit 7"
    seen = await run(
        client, place, f"kubectl exec --stdin {pod} -- sh -c '{inside}' || echo exit code $?", stdin="typed\n"
    )
    assert seen.stdout == ["out", "typed", "exit code 7"]
    assert seen.stderr[0] == "err"


async def test_cp(client: Client, place: Place, pod: str) -> None:
    script = f"""
        head -c 3000000 /dev/urandom >there
        kubectl cp there {pod}:/tmp/copied
        kubectl cp {pod}:/tmp/copied back
        cmp there back && stat --format=%s back
    """
    assert (await run(client, place, script)).stdout[-1] == "3000000"


async def test_port_forward(client: Client, place: Place, pod: str) -> None:
    script = f"""
        coproc kubectl port-forward pod/{pod} 18080:8080
        read -r said <&"${{COPROC[0]}}"; echo "$said"
        exec 5<>/dev/tcp/127.0.0.1/18080
        printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&5
        tail -n 1 <&5
    """
    assert (await run(client, place, script)).stdout == ["Forwarding from 127.0.0.1:18080 -> 8080", "hello"]


def deployment(name: str) -> str:
    pod = pod_manifest(name, "exec sleep 9999")
    template = {"metadata": {"labels": pod["metadata"]["labels"]}, "spec": pod["spec"] | {"restartPolicy": "Always"}}
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
    return json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec})


async def test_rollout_status(client: Client, place: Place) -> None:
    script = """
        kubectl apply -f - >/dev/null
        kubectl rollout status deployment/rolled --timeout=60s
        kubectl rollout restart deployment/rolled
        kubectl rollout status deployment/rolled --timeout=60s
        kubectl delete deployment/rolled >/dev/null
    """
    seen = await run(client, place, script, stdin=deployment("rolled"))
    assert seen.stdout.count('deployment "rolled" successfully rolled out') == 2


async def test_wait(client: Client, place: Place) -> None:
    script = """
        kubectl apply -f - >/dev/null
        kubectl wait --for=condition=Ready pod/awaited --timeout=60s
        kubectl delete pod/awaited --wait=false >/dev/null
        kubectl wait --for=delete pod/awaited --timeout=60s
        kubectl wait --for=condition=Ready pod/web --timeout=0s || true
    """
    manifest = json.dumps(pod_manifest("awaited", "exec sleep 9999"))
    assert (await run(client, place, script, stdin=manifest)).stdout[0] == "pod/awaited condition met"


CHART = """
    mkdir -p chart/templates
    printf 'apiVersion: v2\\nname: chart\\nversion: 1.0.0\\n' >chart/Chart.yaml
    echo 'greeting: hello' >chart/values.yaml
    cat >chart/templates/all.yaml <<'END'
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
data:
  greeting: {{ .Values.greeting | quote }}
  kubernetes: {{ .Capabilities.KubeVersion.Version | quote }}
END
"""


async def test_helm_install(client: Client, place: Place) -> None:
    seen = await run(client, place, f"{CHART} helm install installed chart --wait --timeout=60s")
    assert "STATUS: deployed" in seen.stdout
    data = json.loads(await in_target(place, "configmap/installed"))["data"]
    assert data["greeting"] == "hello"
    assert data["kubernetes"].startswith("v1.")


async def test_helm_upgrade(client: Client, place: Place) -> None:
    script = f"""{CHART}
        helm install upgraded chart >/dev/null
        helm upgrade upgraded chart --set=greeting=bye --wait --timeout=60s
        helm get values upgraded --output=json
    """
    seen = await run(client, place, script)
    assert "REVISION: 2" in seen.stdout
    assert json.loads(seen.stdout[-1]) == {"greeting": "bye"}
    assert json.loads(await in_target(place, "configmap/upgraded"))["data"]["greeting"] == "bye"


async def test_helm_list(client: Client, place: Place) -> None:
    seen = await run(
        client, place, f"{CHART} helm install listed chart >/dev/null; helm list --filter='^listed$' -o json"
    )
    [release] = json.loads("\n".join(seen.stdout))
    assert (release["name"], release["status"], release["revision"]) == ("listed", "deployed", "1")


async def test_helm_uninstall(client: Client, place: Place) -> None:
    script = f"""{CHART}
        helm install uninstalled chart >/dev/null
        helm uninstall uninstalled --wait
        helm list --filter='^uninstalled$' -o json
        kubectl get configmap/uninstalled --ignore-not-found
    """
    assert (await run(client, place, script)).stdout == ['release "uninstalled" uninstalled', "[]"]
