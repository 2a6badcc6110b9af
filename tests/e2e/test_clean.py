"""`k8s-mcp clean` removes what killed services left, and nothing else."""

import subprocess
import sys

import httpx
import pytest

from tests.e2e.place import Place
from tests.support.client import Client
from tests.support.service import StartService

pytestmark = pytest.mark.cluster

FAILED = 1
KINDS = "jobs,pods,secrets,leases"


def clean(settings: dict[str, object], *words: str) -> subprocess.CompletedProcess[str]:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    call = [sys.executable, "-m", "k8s_mcp", "clean", *options, *words]
    return subprocess.run(call, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


async def ours(place: Place) -> set[str]:
    items = await place.items(KINDS, "app.kubernetes.io/managed-by=k8s-mcp-server")
    return {f"{item['kind']}/{item['metadata']['name']}" for item in items}


async def test_clean_removes_all_of_a_killed_service_and_nothing_else(
    place: Place, settings: dict[str, object], serve_kubernetes: StartService, kubeconfig: str
) -> None:
    where = f"--namespace={place.namespace}"
    place.kubectl("create", "secret", "generic", "somebody-elses", "--from-literal=a=b", where)
    service = serve_kubernetes()
    async with Client(service.url, kubeconfig) as client, client.stream("echo go; sleep 300") as stream:
        await stream.first("stdout")
        handle = {"kubeconfig": kubeconfig, "ttl": 3600}
        (await client.http.put("/clusters/prod", json=handle)).raise_for_status()
        service.kill()
        with pytest.raises(httpx.HTTPError):
            await stream.to_end()
    left = await ours(place)
    assert {name.partition("/")[0] for name in left} == {"Job", "Pod", "Secret", "Lease"}

    listed = clean(settings, "--dry-run")
    assert listed.returncode == 0
    for name in left:
        assert name.partition("/")[2] in listed.stdout
    assert "1 of the Secrets are cluster handles" in listed.stdout
    unasked = clean(settings)
    assert unasked.returncode == FAILED
    assert "--yes" in unasked.stderr
    assert await ours(place) == left

    done = clean(settings, "--yes")
    assert done.returncode == 0, done.stderr
    assert await ours(place) == set()
    assert await place.items("secrets", "", place.namespace) != []
    assert place.kubectl("get", "secret", "somebody-elses", where, "--output=name").strip() == "secret/somebody-elses"


def test_nothing_to_clean(place: Place, settings: dict[str, object]) -> None:
    done = clean(settings)
    assert done.returncode == 0, done.stderr
    assert "nothing of k8s-mcp-server is in" in done.stdout


def test_clean_says_when_it_cannot(place: Place, settings: dict[str, object]) -> None:
    done = clean({**settings, "kubeconfig": place.proxied_kubeconfig("http://127.0.0.1:9")}, "--yes")
    assert done.returncode == FAILED
    assert done.stderr.splitlines()[-1].startswith("k8s-mcp: ")
    assert "Traceback" not in done.stderr
