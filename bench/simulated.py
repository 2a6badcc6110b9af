"""Many nodes on two processors: kwok plays them, and the pods on them, as states only. https://kwok.sigs.k8s.io

A pod starts at once, every log is the same file, and nothing is executed. So the API server, the scheduler, the
controllers and the service do all that they do in a cluster of that size; kubelets and commands take no time.
"""

import json
import subprocess
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from k8s_mcp.cluster.objects import PROXY_CONTAINER, RUNNER_CONTAINER
from k8s_mcp.runner.frames import EXIT, HELLO, RECORDED, STDOUT, Encoder
from tests import testcluster
from tests.support.service import wait_for
from tests.testcluster import binaries
from tests.testcluster.layout import Addresses

_PORT = 10247
_LABEL = "k8s-mcp-bench/simulated"
_API = "kwok.x-k8s.io/v1alpha1"
_READY_SECONDS = 300

Json = dict[str, Any]


@contextmanager
def nodes(cluster: testcluster.Cluster, count: int) -> Generator[None]:
    """So many nodes, and none that is real. Raises testcluster.NotPossibleError where there is no Go to build it."""
    kubectl = [str(cluster.kubectl), f"--kubeconfig={cluster.kubeconfig}"]
    real = _names(kubectl, f"!{_LABEL}")
    program = binaries.kwok() / "kwok"
    with tempfile.TemporaryDirectory(prefix="k8s-mcp-kwok-") as directory, _kwok(program, cluster, Path(directory)):
        try:
            _kubectl(kubectl, "cordon", *real)
            _kubectl(kubectl, "apply", "--server-side", "--filename=-", content=_list(map(_node, range(count))))
            wait_for(lambda: _usable(kubectl) == count, _READY_SECONDS, what=f"{count} nodes")
            yield
        finally:
            _kubectl(kubectl, "delete", "nodes", f"--selector={_LABEL}", "--ignore-not-found")
            _kubectl(kubectl, "uncordon", *real)


@contextmanager
def _kwok(program: Path, cluster: testcluster.Cluster, directory: Path) -> Generator[None]:
    """It answers for the kubelets on an address that the API server reaches."""
    address = Addresses.from_environment().host
    (directory / "config").write_text("\n---\n".join(map(json.dumps, _config(directory))))
    (directory / "runner").write_text(_log(_frames()))
    (directory / "gate").touch()
    certificate, key = directory / "certificate", directory / "key"
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    subprocess.run([*new, "-subj", "/CN=kwok", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    options = [
        f"--kubeconfig={cluster.kubeconfig}",
        f"--config={directory / 'config'}",
        f"--manage-nodes-with-label-selector={_LABEL}",
        f"--server-address={address}:{_PORT}",
        f"--node-ip={address}",
        f"--node-port={_PORT}",
        f"--tls-cert-file={certificate}",
        f"--tls-private-key-file={key}",
        "--node-lease-duration-seconds=40",
    ]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([program, *options], stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _node(number: int) -> Json:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"simulated-{number}", "labels": {_LABEL: ""}}}


def _list(items: Iterator[Json]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items)})


def _frames() -> bytes:
    """What the runner of `echo ready` writes."""
    encoder = Encoder()
    return b"".join(
        (
            encoder.control(HELLO),
            encoder.output(STDOUT, b"ready\n"),
            encoder.control(RECORDED, "0 0"),
            encoder.control(EXIT, "done 0"),
        )
    )


def _log(lines: bytes) -> str:
    """As container runtimes keep it: https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md"""
    return "".join(f"2026-01-01T00:00:00.000000000Z stdout F {line}\n" for line in lines.decode().splitlines())


def _config(directory: Path) -> Iterator[Json]:
    logs = [
        {"containers": [container], "logsFile": str(directory / file), "follow": True}
        for container, file in ((RUNNER_CONTAINER, "runner"), (PROXY_CONTAINER, "gate"))
    ]
    yield {"apiVersion": _API, "kind": "ClusterLogs", "metadata": {"name": "all"}, "spec": {"logs": logs}}
    yield _stage("node-up", "Node", [_is_not_ready()], {"statusTemplate": _NODE})
    yield _stage("pod-up", "Pod", [_deleted("DoesNotExist"), _phase("Pending")], {"statusTemplate": _POD})
    yield _stage("pod-over", "Pod", [_deleted("DoesNotExist"), _phase("Running")], {"statusTemplate": _OVER})
    yield _stage("pod-gone", "Pod", [_deleted("Exists")], {"delete": True})


def _stage(name: str, kind: str, expressions: Sequence[Json], effect: Json) -> Json:
    spec = {
        "resourceRef": {"apiGroup": "v1", "kind": kind},
        "selector": {"matchExpressions": list(expressions)},
        "next": effect,
    }
    return {"apiVersion": _API, "kind": "Stage", "metadata": {"name": name}, "spec": spec}


def _is_not_ready() -> Json:
    status = '.status.conditions.[] | select( .type == "Ready" ) | .status'
    return {"key": status, "operator": "NotIn", "values": ["True"]}


def _deleted(operator: str) -> Json:
    return {"key": ".metadata.deletionTimestamp", "operator": operator}


def _phase(phase: str) -> Json:
    return {"key": ".status.phase", "operator": "In", "values": [phase]}


_NODE = """
{{ $now := Now }}
conditions:
{{ range NodeConditions }}
- {lastHeartbeatTime: {{ $now | Quote }}, lastTransitionTime: {{ $now | Quote }}, message: {{ .message | Quote }},
   reason: {{ .reason | Quote }}, status: {{ .status | Quote }}, type: {{ .type | Quote }}}
{{ end }}
addresses:
- {address: {{ NodeIP | Quote }}, type: InternalIP}
daemonEndpoints: {kubeletEndpoint: {Port: {{ NodePort }}}}
allocatable: {cpu: "16", memory: 64Gi, ephemeral-storage: 100Gi, pods: "110"}
capacity: {cpu: "16", memory: 64Gi, ephemeral-storage: 100Gi, pods: "110"}
phase: Running
"""
_POD = """
{{ $now := Now }}
conditions:
{{ range $type := list "Initialized" "ContainersReady" "Ready" }}
- {lastTransitionTime: {{ $now | Quote }}, status: "True", type: {{ $type | Quote }}}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- {image: {{ .image | Quote }}, name: {{ .name | Quote }}, ready: true, restartCount: 0,
   state: {running: {startedAt: {{ $now | Quote }}}}}
{{ end }}
initContainerStatuses:
{{ range .spec.initContainers }}
- {image: {{ .image | Quote }}, name: {{ .name | Quote }}, ready: true, restartCount: 0, started: true,
   state: {running: {startedAt: {{ $now | Quote }}}}}
{{ end }}
phase: Running
startTime: {{ $now | Quote }}
"""
_OVER = """
{{ $now := Now }}
containerStatuses:
{{ range .spec.containers }}
- {image: {{ .image | Quote }}, name: {{ .name | Quote }}, ready: false, restartCount: 0, started: false,
   state: {terminated: {exitCode: 0, reason: Completed, startedAt: {{ $now | Quote }},
   finishedAt: {{ $now | Quote }}}}}
{{ end }}
phase: Succeeded
"""


def _names(kubectl: Sequence[str], selector: str) -> list[str]:
    return _kubectl(kubectl, "get", "nodes", f"--selector={selector}", "--output=name").split()


def _usable(kubectl: Sequence[str]) -> int:
    """How many are ready, and known to be so: a controller takes the taint of a new node off a while later."""
    each = "jsonpath={range .items[*]}{.status.conditions[?(@.type=='Ready')].status} {.spec.taints}{'\\n'}{end}"
    found = _kubectl(kubectl, "get", "nodes", f"--selector={_LABEL}", f"--output={each}")
    return [line.split() for line in found.splitlines()].count(["True"])


def _kubectl(kubectl: Sequence[str], *arguments: str, content: str | None = None) -> str:
    return subprocess.run([*kubectl, *arguments], input=content, capture_output=True, text=True, check=True).stdout
