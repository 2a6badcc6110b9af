"""helm install, test, upgrade, scale, uninstall, for real. The tests build on each other, in this order."""

import asyncio
import json
import ssl
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx
import pytest

from tests.e2e.chart.release import (
    NAME,
    Release,
    environment,
    everything,
    exec_command,
    namespaces,
    node_address,
)
from tests.mcp.clients import python_http
from tests.support.certificates import Authority
from tests.support.client import Client
from tests.support.service import wait_for

pytestmark = pytest.mark.cluster

_INTERVAL = 0.2


def test_install_from_local_images(installed: str) -> None:
    assert httpx.get(f"{installed}/readyz", trust_env=False).status_code == 200


def test_helm_test_runs_a_command(installed: str, release: Release) -> None:
    told = release("test", NAME, "--logs", "--timeout=90s")
    assert told.count("Phase:          Succeeded") >= 3
    assert "Server Version: v1." in told
    assert "FAILED" not in told


@pytest.fixture
def in_cluster_kubeconfig(release: Release) -> str:
    """The cluster by the address that its pods know, for an account with no rights."""
    return release.own_kubeconfig("default")


@pytest.mark.parametrize("which", ["the cluster it runs in", "another, with another authority"])
async def test_curl_through_the_service(
    installed: str, in_cluster_kubeconfig: str, second_kubeconfig: str, which: str
) -> None:
    kubeconfig = in_cluster_kubeconfig if which == "the cluster it runs in" else second_kubeconfig
    body = json.dumps({"command": "kubectl version", "kubeconfig": kubeconfig})
    options = ("-sSN", "--fail-with-body", "--noproxy", "*", "-H", "Content-Type: application/json", "--data", "@-")
    done = await anyio.run_process(["curl", *options, f"{installed}/sse"], input=body.encode(), check=False)
    told = done.stdout.decode()
    assert 'data: {"status": "done", "exit_code": 0}' in told, told + done.stderr.decode()
    assert "data: Server Version: v1." in told


@pytest.mark.parametrize("which", ["the cluster it runs in", "another, with another authority"])
async def test_mcp_client_through_the_service(
    installed: str, in_cluster_kubeconfig: str, second_kubeconfig: str, which: str
) -> None:
    kubeconfig = in_cluster_kubeconfig if which == "the cluster it runs in" else second_kubeconfig
    async with httpx.AsyncClient(base_url=installed, trust_env=False, timeout=60) as http:
        (await http.put("/clusters/for-mcp", json={"kubeconfig": kubeconfig})).raise_for_status()
    async with python_http(f"{installed}/mcp") as client:
        refused = await client.call("run_command", command="kubectl version", kubeconfig=kubeconfig)
        assert refused.text.startswith("kubeconfig: is not taken here. There are: for-mcp")
        result = await client.call("run_command", command="kubectl version", cluster="for-mcp")
    assert not result.is_error
    assert "Server Version: v1." in result.text


@dataclass
class Numbered:
    """A run that prints numbered lines until `count`, followed by `k8s-mcp exec`, which resumes."""

    count: int
    words: Sequence[str]
    lines: list[str] = field(default_factory=list[str])

    @classmethod
    def of(cls, release: Release, directory: Path, seconds: float) -> "Numbered":
        kubeconfig = directory / "kubeconfig"
        kubeconfig.write_text(release.own_kubeconfig("default"))
        count = int(seconds / _INTERVAL)
        loop = f"for i in $(seq {count}); do echo line $i; sleep {_INTERVAL}; done; exit 4"
        return cls(count, exec_command(release.url, kubeconfig, loop))

    async def carry_out(self, started: asyncio.Event) -> None:
        """All lines once and in order, and the exit code."""
        pipe = subprocess.PIPE
        async with await anyio.open_process(self.words, env=environment(), stderr=pipe) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            rest = b""
            async for chunk in process.stdout:
                *whole, rest = (rest + chunk).split(b"\n")
                self.lines += [line.decode() for line in whole]
                if self.lines:
                    started.set()
            told = b"".join([chunk async for chunk in process.stderr]).decode()
            exit_code = await process.wait()
        assert self.lines == [f"line {number}" for number in range(1, self.count + 1)], told
        assert exit_code == 4, told


async def _ask_all_the_time(url: str, asked: list[str], end: asyncio.Event) -> None:
    """A new connection for each request, as from many clients; and one client that keeps its own."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=10) as kept:
        while not end.is_set():
            async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=10) as fresh:
                asked += [await _outcome(fresh), await _outcome(kept)]
            await anyio.sleep(0.05)


async def _outcome(client: httpx.AsyncClient) -> str:
    try:
        return str((await client.get("/runs")).status_code)
    except httpx.HTTPError as error:
        return repr(error)


async def _run_all_the_time(url: str, kubeconfig: str, ran: list[str], end: asyncio.Event) -> None:
    """One short run after the other."""
    async with Client(url, kubeconfig) as client:
        while not end.is_set():
            try:
                ran.append(str((await client.run("true")).final["status"]))
            except (httpx.HTTPError, AssertionError) as error:
                ran.append(repr(error))


async def test_upgrade_loses_no_line_and_fails_no_request(
    installed: str, release: Release, in_cluster_kubeconfig: str, tmp_path: Path
) -> None:
    old = release.pods()
    asked: list[str] = []
    ran: list[str] = []
    started, end = asyncio.Event(), asyncio.Event()
    run = Numbered.of(release, tmp_path, 40)
    async with anyio.create_task_group() as group:
        group.start_soon(run.carry_out, started)
        await started.wait()
        group.start_soon(_ask_all_the_time, installed, asked, end)
        group.start_soon(_run_all_the_time, installed, in_cluster_kubeconfig, ran, end)
        await _upgraded(release, "podAnnotations.changed=yes")
        await _seen(lambda: not release.pods() & old, "the old pods to go")
        assert len(run.lines) < run.count, "the run was over before the upgrade"
        end.set()
    assert set(asked) == {"200"}
    assert len(asked) > 50
    assert set(ran) == {"done"}


async def _seen(condition: Callable[[], bool], what: str) -> None:
    """Wait for it, in a thread: what else goes on is not held up."""
    await anyio.to_thread.run_sync(lambda: wait_for(condition, 60, what))


async def _upgraded(release: Release, *changes: str) -> None:
    done = await anyio.run_process(release.upgrade(*changes), check=False)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


async def test_scaling_up_and_down_loses_no_line(installed: str, release: Release, tmp_path: Path) -> None:
    await _upgraded(release, "replicas=1")
    async with anyio.create_task_group() as group:
        runs = [Numbered.of(release, tmp_path, 45)]
        begun = asyncio.Event()
        group.start_soon(runs[0].carry_out, begun)
        await begun.wait()
        await _upgraded(release, "replicas=3")
        for _ in range(4):  # they find their way to any of the three
            started = asyncio.Event()
            runs.append(Numbered.of(release, tmp_path, 35))
            group.start_soon(runs[-1].carry_out, started)
            await started.wait()
        await _upgraded(release, "replicas=1")
        await _seen(lambda: len(release.pods()) == 1, "two of three pods to go")
        assert all(len(run.lines) < run.count for run in runs[-3:]), "the runs were over before"


def test_notes_say_what_to_do_next(installed: str, release: Release) -> None:
    told = release("get", "notes", NAME)
    assert f"kubectl --namespace {release.namespace} rollout status deployment {NAME}" in told
    assert "WARNING: auth.insecureNoAuth" in told


@pytest.fixture(scope="module")
def token(release: Release, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Alice's, in a Secret that the chart is told of."""
    file = tmp_path_factory.mktemp("tokens") / "tokens"
    command = [sys.executable, "-m", "k8s_mcp", "token", "alice", f"--file={file}"]
    token = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stdout.strip()
    secret = ("create", "secret", "generic", "tokens", f"--from-file={file}", f"--namespace={release.namespace}")
    release.place.kubectl(*secret)
    return token


async def test_tokens_close_the_service(installed: str, release: Release, token: str) -> None:
    await _upgraded(release, "auth.insecureNoAuth=false", "auth.tokensSecret=tokens")
    async with httpx.AsyncClient(base_url=installed, trust_env=False) as client:
        await _seen(lambda: len(release.pods()) == 1, "the old pod to go")
        assert (await client.get("/runs")).status_code == 401
        assert (await client.get("/runs", headers={"Authorization": f"Bearer {token}"})).status_code == 200


async def test_tls_with_a_certificate_of_ones_own(
    installed: str, release: Release, token: str, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    files = (tmp_path / "certificate", tmp_path / "key")
    for file, content in zip(files, authority.issue(1, node_address(release.place)), strict=True):
        file.write_bytes(content)
    where = f"--namespace={release.namespace}"
    release.place.kubectl("create", "secret", "tls", "served", where, f"--cert={files[0]}", f"--key={files[1]}")
    await _upgraded(release, "tls.secretName=served")
    await _seen(lambda: len(release.pods()) == 1, "the old pod to go")
    trusted = ssl.create_default_context(cafile=authority.file)
    async with httpx.AsyncClient(trust_env=False, verify=trusted) as client:
        answer = await client.get(
            f"https{release.url.removeprefix('http')}/runs", headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status_code == 200
        with pytest.raises(httpx.HTTPError):
            await client.get(f"{release.url}/runs")
    await _upgraded(release, "tls.secretName=")
    await _seen(lambda: len(release.pods()) == 1, "the pod with TLS to go")
    release.place.kubectl("delete", "secret/served", where)
    assert release.url == installed


async def test_uninstall_leaves_nothing(
    installed: str, release: Release, before: set[str], in_cluster_kubeconfig: str, token: str
) -> None:
    """Also not of what callers have stored, and of a run in progress."""
    async with Client(installed, in_cluster_kubeconfig) as client:
        client.http.headers["Authorization"] = f"Bearer {token}"
        stored = await client.http.put("/clusters/mine", json={"kubeconfig": in_cluster_kubeconfig, "ttl": 3600})
        assert stored.status_code < 300, stored.text
        async with client.stream("echo up; sleep 300") as stream:
            await stream.first("stdout")
            await anyio.to_thread.run_sync(release.uninstall)
    await _seen(lambda: release.runners not in namespaces(release.place), "the runner namespace to go")
    release.place.kubectl("delete", "secret/tokens", f"--namespace={release.namespace}")
    assert everything(release.place) - before == set()
