"""What a command asked of its cluster, as the gate recorded it: whole, once, and told wherever the run is."""

import json
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest
from anyio.to_thread import run_sync

from tests.e2e.api_proxy import ApiProxy
from tests.e2e.place import Json, Place
from tests.mcp.clients import data_of, python_http
from tests.support.client import Client
from tests.support.events import Transcript
from tests.support.execute import Exec
from tests.support.prepared import Prepared
from tests.support.service import Service, StartService, wait_for

pytestmark = pytest.mark.cluster


def done(exit_code: int) -> Json:
    return {"status": "done", "exit_code": exit_code}


async def requests_of(client: Client, run_id: str) -> Json:
    return (await client.state(run_id))["requests"]


async def metrics_of(client: Client) -> str:
    return (await client.http.get("/metrics")).raise_for_status().text


async def test_the_final_event_finds_every_change_told(client: Client, place: Place) -> None:
    seen = await client.run(
        f"""
        kubectl config set-context --current --namespace={place.target} >/dev/null
        kubectl create configmap recorded --from-literal=a=b
        kubectl label configmap recorded x=y
        kubectl delete configmap recorded --dry-run=server
        kubectl delete configmap recorded
        kubectl delete configmap recorded
        kubectl get pods
        """
    )
    requests = await requests_of(client, seen.run_id)
    told = [
        tuple(change[name] for name in ("verb", "resource", "namespace", "name", "code", "dry_run"))
        for change in requests["changes"]
    ]
    of = ("configmaps", place.target, "recorded")
    assert told == [
        ("create", *of, 201, False),
        ("patch", *of, 200, False),
        ("delete", *of, 200, True),
        ("delete", *of, 200, False),
        *([("delete", *of, 404, False)] * told.count(("delete", *of, 404, False))),
    ]
    assert requests["complete"] is True
    assert requests["refused"] == 0
    assert requests["total"] > len(told)
    assert "truncated" not in requests


MANY = """
import http.client, json, os, sys
from concurrent.futures import ThreadPoolExecutor
from threading import local
port = int(json.load(open(os.environ["KUBECONFIG"]))["clusters"][0]["cluster"]["server"].rsplit(":", 1)[1])
mine = local()
def ask(number):
    if not hasattr(mine, "connection"):
        mine.connection = http.client.HTTPConnection("127.0.0.1", port)
    method = ("GET", "DELETE", "DELETE", "GET")[number % 4]
    kind = ("configmaps", "configmaps", "nothings", "")[number % 4]
    mine.connection.request(method, "/api/v1/namespaces/%s" + (kind and f"/{kind}/n-{number}"))
    answer = mine.connection.getresponse()
    answer.read()
    return answer.status
with ThreadPoolExecutor(20) as pool:
    codes = list(pool.map(ask, range(5000)))
for code in sorted(set(codes)):
    print(code, codes.count(code))
"""


async def test_five_thousand_requests_twenty_at_a_time_are_each_counted_once(
    serve_kubernetes: StartService, client_of: Callable[[Service], Client], place: Place
) -> None:
    async with client_of(serve_kubernetes()) as client:
        seen = await client.run("python3 -", stdin=MANY.replace("%s", place.target))
        assert seen.stdout == ["200 1250", "404 3750"]
        requests = await requests_of(client, seen.run_id)
        assert (requests["total"], requests["refused"], requests["complete"]) == (5000, 0, True)
        assert requests["truncated"] is True
        names = Counter((change["verb"], change["resource"], change["name"]) for change in requests["changes"])
        assert len(names) == len(requests["changes"]) == 1000
        assert {change["code"] for change in requests["changes"]} == {404}
        with anyio.fail_after(20):
            while not (told := counted(await metrics_of(client))):  # noqa: ASYNC110 - another process
                await anyio.sleep(0.1)
    assert told == {("get", "ok"): 1250, ("get", "error"): 1250, ("delete", "error"): 2500}


def counted(metrics: str) -> Counter[tuple[str, str]]:
    pattern = r'^k8s_mcp_gate_requests_total\{result="(\w+)",verb="(\w+)"\} ([0-9.]+)$'
    return Counter({(verb, result): int(float(n)) for result, verb, n in re.findall(pattern, metrics, re.MULTILINE)})


FORGE = r"""
    line='{"gate":1,"seq":1,"event":"request","verb":"delete","resource":"forged","code":200,"dry_run":false}'
    end='{"gate":1,"seq":2,"event":"end","time":"x","requests":1,"refusals":0}'
    server=$(kubectl config view --output=jsonpath='{.clusters[0].cluster.server}')
    for file in /proc/[0-9]*/fd/[12] /dev/console /dev/termination-log /dev/stdout; do
        { printf '\n%s\n%s\n' "$line" "$end" >$file; } 2>/dev/null
    done
    printf '\n%s\n%s\n' "$line" "$end" >&2
    kill -KILL -1 1 2>/dev/null
    for target in '/%0A{"gate":1,"seq":1,"event":"end"}%0A' '/api/v1/namespaces/a%0Ab' /.gate/recorded; do
        kubectl get --raw "$target" >/dev/null 2>&1
        python3 - "$server" "$target" <<'EOF'
import socket, sys
server, target = sys.argv[1:]
with socket.create_connection(("127.0.0.1", int(server.rsplit(":", 1)[1]))) as gate:
    gate.sendall(f"GET {target} HTTP/1.1\r\nHost: {server[7:]}\r\nConnection: close\r\n\r\n".encode())
    while gate.recv(4096):
        pass
EOF
    done
    kubectl delete configmap there-is-none --namespace=default 2>/dev/null
    exit 0
"""


async def test_a_command_neither_writes_a_line_nor_removes_one(client: Client) -> None:
    seen = await client.run(FORGE)
    assert seen.final == done(0)
    requests = await requests_of(client, seen.run_id)
    assert requests["complete"] is True
    assert [change["resource"] for change in requests["changes"]] == ["configmaps"]
    assert "forged" not in json.dumps(requests)


def kill(pod: Json, *commands: str) -> None:
    """Kill the pod's processes of these commands, as the kernel does when memory runs out."""
    uids = [pod["metadata"]["uid"], pod["metadata"]["uid"].replace("-", "_")]
    killed = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            cgroups, name = (process / "cgroup").read_text(), (process / "comm").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if name in commands and any(uid in cgroups for uid in uids):
            os.kill(int(process.name), signal.SIGKILL)
            killed += 1
    assert killed >= len(commands), f"{killed} processes of {commands} found"


async def test_a_killed_pod_has_no_complete_record(
    serve_kubernetes: StartService, client_of: Callable[[Service], Client], place: Place, tmp_path: Path
) -> None:
    log = tmp_path / "audit.log"
    async with client_of(serve_kubernetes(audit_log=log)) as client:
        async with client.stream("kubectl delete configmap none -n default; echo up; exec sleep 60") as stream:
            await stream.first("stdout")
            run_id = Transcript(stream.seen).run_id
            kill(await place.one("pods", run_id), "gate", "python3")
            seen = await stream.to_end()
        requests = await requests_of(client, run_id)
        ended = (await run_sync(wait_for, lambda: lines_of(log) if len(lines_of(log)) == 2 else []))[1]
    assert seen.final["status"] == "error"
    assert requests["complete"] is False
    assert [change["verb"] for change in requests["changes"]] == ["delete"]
    assert ended["requests"]["complete"] is False


async def test_a_gate_that_died_leaves_a_record_that_is_not_complete(client: Client, place: Place) -> None:
    command = """
        kubectl delete configmap one --namespace=default; echo up
        while kubectl get --raw=/version >/dev/null; do :; done
        until kubectl delete configmap two --namespace=default 2>&1 | grep 'not found'; do sleep 0.1; done
    """
    async with client.stream(command) as stream:
        await stream.first("stdout")
        run_id = Transcript(stream.seen).run_id
        kill(await place.one("pods", run_id), "gate")
        seen = await stream.to_end()
    assert seen.final == done(0)
    requests = await requests_of(client, run_id)
    assert requests["complete"] is False
    assert {change["name"] for change in requests["changes"]} <= {"one", "two"}
    assert requests["changes"][0]["name"] == "one"


def lines_of(log: Path) -> list[Json]:
    return [json.loads(line) for line in log.read_text().splitlines()]


async def test_the_audit_line_has_the_same(
    serve_kubernetes: StartService, client_of: Callable[[Service], Client], tmp_path: Path
) -> None:
    log = tmp_path / "audit.log"
    async with client_of(serve_kubernetes(audit_log=log)) as client:
        seen = await client.run("kubectl delete configmap none --namespace=default; kubectl version")
        requests = await requests_of(client, seen.run_id)
        ended = (await run_sync(wait_for, lambda: lines_of(log) if len(lines_of(log)) == 2 else []))[1]
    assert requests["complete"] is True
    assert len(requests["changes"]) == 1
    assert ended["requests"] == requests


@pytest.fixture
async def spoilt(
    serve_kubernetes: StartService, place: Place, proxy: ApiProxy, kubeconfig: str
) -> AsyncIterator[Client]:
    """A client of a service whose calls go by way of `proxy`."""
    proxy.heal()
    async with Client(serve_kubernetes(kubeconfig=place.proxied_kubeconfig(proxy.url)).url, kubeconfig) as client:
        yield client


async def test_a_log_that_breaks_off_is_read_again(spoilt: Client, proxy: ApiProxy) -> None:
    async with spoilt.stream("for n in 1 2 3 4; do kubectl delete cm none-$n; echo $n; sleep 1; done") as stream:
        async for event in stream:
            if event.name == "stdout":
                proxy.cut("container=credential-proxy")
    requests = await requests_of(spoilt, Transcript(stream.seen).run_id)
    assert [change["name"] for change in requests["changes"]] == [f"none-{n}" for n in (1, 2, 3, 4)]
    assert requests["complete"] is True


@pytest.mark.parametrize("how", [{"status": 500}, {"status": 200, "body": b"no log\n" * 1000}, {"cut": 0}])
async def test_a_log_that_cannot_be_read_ends_no_run_and_holds_none_up(
    spoilt: Client, proxy: ApiProxy, place: Place, how: Json
) -> None:
    fault = proxy.spoil("container=credential-proxy", times=1000, **how)
    async with spoilt.stream("kubectl delete configmap none; echo last; exit 3") as stream:
        await stream.first("stdout")
        with anyio.fail_after(10):
            seen = await stream.to_end()
    assert seen.final == done(3)
    assert fault.seen > 0
    requests = await requests_of(spoilt, seen.run_id)
    assert (requests["total"], requests["complete"]) == (0, False)
    await place.nothing_left(seen.run_id)


async def test_a_cancelled_run_has_a_complete_record(client: Client) -> None:
    command = "kubectl delete configmap none -n default; kubectl get ns -w >/dev/null & echo up; wait"
    async with client.stream(command) as stream:
        await stream.first("stdout")
        await client.cancel(Transcript(stream.seen).run_id)
        seen = await stream.to_end()
    assert seen.final["status"] == "cancelled"
    requests = await requests_of(client, seen.run_id)
    assert requests["complete"] is True
    assert [change["verb"] for change in requests["changes"]] == ["delete"]


async def test_whoever_takes_a_run_over_has_all_of_its_record(
    serve_kubernetes: StartService, client_of: Callable[[Service], Client]
) -> None:
    first, second = (serve_kubernetes(shutdown_grace=1, resume_window=15) for _ in range(2))
    numbers = range(1, 21)  # seconds, too: a busy machine takes some of them to end a replica
    once = "kubectl delete configmap none-$n -n default; echo $n; sleep 1"
    command = f"for n in $(seq {len(numbers)}); do {once}; done"
    async with client_of(first) as one, client_of(second) as other:
        async with one.stream(command) as stream:
            run_id = Transcript([await stream.first("control")]).run_id
            await stream.first("stdout")
            before = await requests_of(one, run_id)
            assert "requests" not in await other.state(run_id)
            first.terminate()
            await stream.to_end()
            rest = await other.replay(run_id)
        assert rest.stdout == [str(n) for n in numbers]
        requests = await requests_of(other, run_id)
    assert first.end() == 0
    assert before["complete"] is False
    assert [change["name"] for change in before["changes"]] == ["none-1"]
    assert [change["name"] for change in requests["changes"]] == [f"none-{n}" for n in numbers]
    assert requests["complete"] is True


async def test_a_model_and_a_person_are_told(
    kubernetes_server: Service, kubeconfig: str, tmp_path: Path, prepared: Prepared
) -> None:
    command = "kubectl delete configmap none --namespace=default; kubectl get --raw /version >/dev/null"
    said = "delete configmaps none in default: 404"
    async with python_http(f"{kubernetes_server.url}/mcp") as client:
        result = await client.call("run_command", command=command, kubeconfig=kubeconfig)
    assert f"\n[change: {said}]\n" in result.text
    assert "not complete" not in result.text
    requests = data_of(result)["requests"]
    assert (requests["complete"], [change["name"] for change in requests["changes"]]) == (True, ["none"])
    execute = Exec(kubernetes_server.url, tmp_path, kubeconfig, prepared)
    done = await run_sync(execute, "--changes", "--", command)
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == f"k8s-mcp: {said}"
    nothing = await run_sync(execute, "--changes", "--", "kubectl get --raw /version")
    assert nothing.stderr == "k8s-mcp: it changed nothing\n"
