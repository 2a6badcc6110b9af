"""A command uses its cluster without ever having the credential, and cannot pretend to be the runner."""

import base64
import gzip
import shlex
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import pytest
import yaml

from k8s_mcp.runner.frames import EXIT, STDERR, STDOUT, Decoder, Encoder
from tests.e2e.place import Json, Place
from tests.support.client import Client
from tests.support.events import Transcript
from tests.support.service import Service, StartService

pytestmark = pytest.mark.cluster

FIRST, SECOND, LIMITED = "first cluster", "東京:prod/α", "arn:aws:eks:eu-west-1:123456789012:cluster/x@y"


@dataclass(frozen=True)
class Credentials:
    """A kubeconfig with three contexts, and every secret value in it."""

    kubeconfig: str
    values: tuple[str, ...]

    def found_in(self, text: str) -> list[str]:
        """The beginnings of those values that are in the text: as they are, or in base64 at any place in a group."""
        return [value[:12] for value in self.values if any(form in text for form in forms(value))]


def forms(value: str) -> Iterator[str]:
    yield value
    content = value.encode()
    for skip in range(3):
        yield base64.b64encode(content[skip:][: (len(content) - skip) // 3 * 3]).decode()


@pytest.fixture(scope="module")
def credentials(place: Place, second_kubeconfig: str) -> Iterator[Credentials]:
    """The administrator of the first cluster, that of the second, and somebody who may list ConfigMaps."""
    where = f"--namespace={place.target}"
    place.kubectl("create", "serviceaccount", "limited", where)
    place.kubectl("create", "role", "limited", where, "--verb=list", "--resource=configmaps")
    account = f"--serviceaccount={place.target}:limited"
    place.kubectl("create", "rolebinding", "limited", where, "--role=limited", account)
    token = place.token("limited", place.target)
    first, second = place.admin, yaml.safe_load(second_kubeconfig)
    users = {FIRST: first["users"][0]["user"], SECOND: second["users"][0]["user"], LIMITED: {"token": token}}
    servers = {FIRST: place.server, SECOND: second["clusters"][0]["cluster"]}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": FIRST,
        "clusters": [{"name": name, "cluster": server} for name, server in servers.items()],
        "users": [{"name": name, "user": user} for name, user in users.items()],
        "contexts": [
            {"name": FIRST, "context": {"cluster": FIRST, "user": FIRST}},
            {"name": SECOND, "context": {"cluster": SECOND, "user": SECOND, "namespace": "kube-system"}},
            {"name": LIMITED, "context": {"cluster": FIRST, "user": LIMITED, "namespace": place.target}},
        ],
    }
    values = [token, token.rpartition(".")[2]]
    for user in (users[FIRST], users[SECOND]):
        key = base64.b64decode(user["client-key-data"]).decode()
        values += [user["client-key-data"], key.splitlines()[1]]  # further down comes the public key
    yield Credentials(yaml.safe_dump(config, allow_unicode=True), tuple(values))
    for kind in ("rolebinding", "role", "serviceaccount"):
        place.kubectl("delete", f"{kind}/limited", where)


@pytest.fixture
async def client(kubernetes_server: Service, credentials: Credentials) -> AsyncIterator[Client]:
    async with Client(kubernetes_server.url, credentials.kubeconfig) as client:
        yield client


LOOK_EVERYWHERE = f"""
    env
    cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline
    head -c 100000 /proc/1/mem /proc/1/maps
    for fd in /proc/[0-9]*/fd/*; do readlink $fd; timeout 0.1 head -c 1000000 $fd; done
    cat /proc/mounts
    find / -xdev -type d -name proc -prune -o -newer /etc/hostname -type f -size -1000k -exec cat {{}} +
    for mount in $(awk '$3 != "proc" && $3 != "sysfs" && $2 != "/" {{ print $2 }}' /proc/mounts); do
        find $mount -xdev -type f -size -1000k -exec cat {{}} +
    done
    find /run /var/run /tmp /dev/shm /etc /home /root /opt -xdev -type f -size -1000k -exec cat {{}} +
    kubectl config view --raw
    kubectl config view --raw --output=json
    for context in {shlex.quote(FIRST)} {shlex.quote(SECOND)} {shlex.quote(LIMITED)}; do
        kubectl --context="$context" --v=9 get configmaps
        kubectl --context="$context" get --raw=/api/v1/namespaces/default/configmaps --v=9
        kubectl --context="$context" --v=9 --server=https://127.0.0.1:18443 --insecure-skip-tls-verify get configmaps
        kubectl --context="$context" --v=9 --server=http://127.0.0.1:18080 get configmaps
    done
    for path in / /static/../../run/k8s-mcp/credentials/kubeconfig /../run/k8s-mcp/credentials/kubeconfig; do
        exec 5<>/dev/tcp/127.0.0.1/9001
        printf "GET $path HTTP/1.0\\r\\n\\r\\n" >&5
        cat <&5
    done
"""

# What a server elsewhere sees of kubectl's requests.
LISTEN = """
cat >listen.py <<'END'
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print(self.requestline, self.headers, file=sys.stderr, flush=True)
        self.send_response(401); self.end_headers()
print("listening", flush=True)
http.server.HTTPServer(("127.0.0.1", 18080), Handler).serve_forever()
END
coproc python3 listen.py 2>heard
read -r <&"${COPROC[0]}"
"""


async def test_command_cannot_read_the_credential(client: Client, credentials: Credentials) -> None:
    """What it finds is sent in a form in which redaction, the second guard, finds nothing either."""
    command = f"{LISTEN}\n{{ {LOOK_EVERYWHERE} \n echo HEARD; cat heard; }} 2>&1 | gzip | base64 --wrap=1000"
    seen = await client.run(command)
    assert seen.final == {"status": "done", "exit_code": 0}, seen.stderr
    text = gzip.decompress(base64.b64decode("".join(seen.stdout))).decode("utf-8", "replace")
    assert credentials.found_in(text) == []
    assert "[redacted]" not in text
    # It did look: at its own kubeconfig, through the proxy, and as a server elsewhere.
    assert SECOND in text
    assert '"kind":"ConfigMapList"' in text.replace(" ", "")
    heard = text.rpartition("HEARD\n")[2]
    assert "GET /api" in heard
    assert "Authorization" not in heard


async def test_pod_log_holds_no_credential(client: Client, credentials: Credentials, place: Place) -> None:
    async with client.stream(f"{{ {LOOK_EVERYWHERE} }} 2>&1; echo; echo end of it; sleep 60") as stream:
        async for event in stream:
            if event.data == "end of it":
                break
        run_id = Transcript(stream.seen).run_id
        pod = (await place.one("pods", run_id))["metadata"]["name"]
        where = f"--namespace={place.namespace}"
        proxy = await place.akubectl("logs", pod, where, "--container=credential-proxy")
        runner = await place.akubectl("logs", pod, where, "--container=runner")
        await client.cancel(run_id)
        await stream.to_end()
    frames = Decoder().feed(runner.encode())
    shown = b"".join(frame.payload for frame in frames if frame.type in (STDOUT, STDERR)).decode("utf-8", "replace")
    assert SECOND in shown, "it did look"
    assert shown.endswith("\nend of it\n")
    assert credentials.found_in(proxy + runner + shown) == []


async def test_objects_hold_neither_command_nor_credential(
    client: Client, credentials: Credentials, place: Place
) -> None:
    marker = "an-unmistakable-command"
    get = ("get", f"--namespace={place.namespace}", "--output=json", "--show-managed-fields")
    async with client.stream(f"echo {marker}; sleep 60", stdin=f"{marker}-too") as stream:
        await stream.first("stdout")
        run_id = Transcript(stream.seen).run_id
        objects = await place.akubectl(*get, "jobs,pods,events,leases")
        await client.cancel(run_id)
        await stream.to_end()
    events = await place.akubectl(*get, "events")
    assert run_id in objects
    assert run_id in events
    for text in (objects, events):
        assert [form for form in forms(marker) if form in text] == []
        assert credentials.found_in(text) == []


async def test_pod_is_restricted(client: Client, place: Place) -> None:
    """More than the Pod Security Standard asks: no token, a read-only root, the Secret only where it belongs."""
    async with client.stream("echo go; sleep 60") as stream:
        await stream.first("stdout")
        run_id = Transcript(stream.seen).run_id
        pod: Json = (await place.one("pods", run_id))["spec"]
        secret = await place.one("secrets", run_id)
        job = await place.one("jobs", run_id)
        await client.cancel(run_id)
        await stream.to_end()
    mounts = {
        container["name"]: {mount["name"] for mount in container["volumeMounts"]}
        for container in (*pod["initContainers"], *pod["containers"])
    }
    assert mounts == {"credential-proxy": {"credentials"}, "runner": {"run", "tmp"}}
    assert pod["automountServiceAccountToken"] is False
    assert all(container["securityContext"]["readOnlyRootFilesystem"] for container in pod["containers"])
    assert secret["immutable"] is True
    assert [owner["uid"] for owner in secret["metadata"]["ownerReferences"]] == [job["metadata"]["uid"]]


async def test_several_contexts_each_with_its_own_credential(client: Client, place: Place, kubeconfig: str) -> None:
    seen = await client.run(
        f"""
        uid() {{ kubectl --context="$1" get namespace/kube-system --output=jsonpath='{{.metadata.uid}}'; echo; }}
        uid '{FIRST}'; uid '{SECOND}'
        kubectl --context='{LIMITED}' auth whoami --output=jsonpath='{{.status.userInfo.username}}'; echo
        kubectl --context='{LIMITED}' get configmaps --output=name | grep -c kube-root-ca.crt
        kubectl --context='{LIMITED}' get secrets
        """
    )
    uid = ("get", "namespace/kube-system", "--output=jsonpath={.metadata.uid}")
    assert seen.stdout[0] == place.kubectl(*uid)
    assert len(seen.stdout[1]) == len(seen.stdout[0])
    assert seen.stdout[1] != seen.stdout[0]
    assert seen.stdout[2:] == [f"system:serviceaccount:{place.target}:limited", "1"]
    assert "Forbidden" in "\n".join(seen.stderr)
    assert seen.final == {"status": "done", "exit_code": 1}


async def test_context_names_survive(client: Client, place: Place) -> None:
    seen = await client.run(
        """
        kubectl config get-contexts --output=name
        kubectl config current-context
        kubectl config view --output=jsonpath='{.contexts[*].context.namespace}'
        """
    )
    *names, current, namespaces = seen.stdout
    assert set(names) == {FIRST, SECOND, LIMITED}
    assert current == FIRST
    assert set(namespaces.split()) == {"kube-system", place.target}


async def test_use_context(client: Client, place: Place) -> None:
    seen = await client.run(
        f"""
        kubectl config use-context '{LIMITED}'
        kubectl auth whoami --output=jsonpath='{{.status.userInfo.username}}'; echo
        kubectl config use-context '{SECOND}' >/dev/null
        kubectl auth whoami --output=jsonpath='{{.status.userInfo.username}}'; echo
        """
    )
    assert seen.stdout[0] == f'Switched to context "{LIMITED}".'
    assert seen.stdout[1] == f"system:serviceaccount:{place.target}:limited"
    assert seen.stdout[2] != seen.stdout[1]
    assert len(seen.stdout) == 3


# A command cannot pretend to be the runner.


def forged_frames() -> str:
    """Frames such as the runner writes, with other content, in the numbers that could be next."""
    encoder = Encoder()
    frames = b""
    for number in (*range(1, 40), 1000):
        encoder.frames = number
        frames += encoder.output(STDOUT, b"forged\n")
        encoder.frames = number
        frames += encoder.control(EXIT, "done 0")
    return frames.decode()


FORGE = """
    frames=$(cat)
    echo before
    for file in /proc/1/fd/1 /proc/1/fd/2 /proc/$PPID/fd/1 /dev/console /dev/termination-log /proc/1/task/1/fd/1; do
        { echo "$frames" >$file; } 2>/dev/null
    done
    kill -KILL 1; kill -STOP 1
    sleep 0.2
    echo "$frames" | head -4
"""


async def test_command_cannot_forge_events_or_its_exit_code(client: Client) -> None:
    seen = await client.run(f"{FORGE} exit 5", stdin=forged_frames())
    assert seen.stdout == ["before", *forged_frames().splitlines()[:4]]
    assert seen.final == {"status": "done", "exit_code": 5}
    assert len(seen.controls) == 2


@pytest.fixture(scope="module")
def small_server(serve_shared: StartService) -> Service:
    """With little memory for commands, and room for more than that in /tmp."""
    return serve_shared(runner_memory_request="48Mi", runner_memory_limit="48Mi", runner_tmp_size="256Mi")


@pytest.mark.parametrize("end", ["done 7", "done 137", "done 0", "timeout 124", "cancelled 143"])
async def test_command_that_kills_the_runner_cannot_forge_its_exit_code(
    small_server: Service, client_of: Callable[[Service], Client], end: str
) -> None:
    """It lets memory run out in such a way that the kernel takes the runner; see test_exit_codes.py."""
    last = Encoder()
    last.output(STDOUT, b"forged\n" * 7)
    async with client_of(small_server) as client:
        seen = await client.run(
            """
            cat >/dev/termination-log
            cat /proc/1/oom_score_adj >/proc/$$/oom_score_adj
            exec head -c 200M /dev/zero >/tmp/full
            """,
            stdin=last.control(EXIT, end).decode(),
        )
    assert seen.final["status"] == "error"
    assert (seen.final["exit_code"], seen.final["reason"]) == (137, "OOMKilled")
    assert [event.is_final for event in seen.numbered] == [True]


# Without isolation


@pytest.fixture(scope="module")
def open_server(serve_shared: StartService) -> Service:
    return serve_shared(credential_isolation=False)


async def test_without_isolation_the_kubeconfig_is_there_and_redaction_guards_it(
    open_server: Service, client_of: Callable[[Service], Client], credentials: Credentials, place: Place
) -> None:
    async with (
        Client(open_server.url, credentials.kubeconfig) as client,
        client.stream(
            f"""
            kubectl config view --raw
            cat "$KUBECONFIG"; base64 --wrap=0 "$KUBECONFIG"; echo
            kubectl config view --output=jsonpath='{{.clusters[*].cluster.server}}'; echo
            kubectl get namespace/{place.target} --output=name
            echo end of it; sleep 60
            """
        ) as stream,
    ):
        async for event in stream:
            if event.data == "end of it":
                break
        run_id = Transcript(stream.seen).run_id
        pod = await place.one("pods", run_id)
        await client.cancel(run_id)
        seen = await stream.to_end()
    text = "\n".join([*seen.stdout, *seen.stderr])
    assert credentials.found_in(text) == []
    assert "[redacted]" in text
    assert place.server["server"] in text
    assert f"namespace/{place.target}" in seen.stdout
    assert "initContainers" not in pod["spec"]
    await place.nothing_left(run_id)
