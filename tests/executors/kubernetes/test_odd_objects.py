"""Objects of ours that somebody has changed are passed over, logged and counted; they end nothing."""

import base64
from typing import Any

import pytest

from k8s_mcp.cluster.connection import Cluster
from k8s_mcp.cluster.leases import make_lease
from k8s_mcp.cluster.objects import PodTemplate
from k8s_mcp.cluster.watch import Watch
from k8s_mcp.errors import Unavailable
from k8s_mcp.executors.kubernetes.executor import KubernetesExecutor
from k8s_mcp.executors.kubernetes.replicas import Replicas, holder_of
from tests.observe.test_audit import spec
from tests.support.fake_api import Said, http, talking_to

_FILES = {"command": "id", "stdin": "", "kubeconfig": "k"}
_RUN = spec()


def names(name: str) -> dict[str, str]:
    return {"name": name, "uid": "u", "resourceVersion": "7"}


def encoded(files: dict[str, str]) -> dict[str, str]:
    return {name: base64.b64encode(text.encode()).decode() for name, text in files.items()}


@pytest.mark.parametrize(
    "data",
    [None, {}, encoded({"command": "id"}), {**encoded(_FILES), "command": "a"}, {**encoded(_FILES), "stdin": "/w=="}],
    ids=["none", "empty", "without kubeconfig", "no base64", "no UTF-8"],
)
async def test_a_run_whose_secret_was_changed_is_not_taken_over(data: Any) -> None:
    counted: list[str] = []
    answer = http("200 OK", {"kind": "Secret", "metadata": names(_RUN.name), "data": data})
    async with talking_to(lambda _call, _body: Said(answer)) as (_, api):
        cluster = Cluster("", "", "here", on_odd_object=counted.append)
        cluster.api = api
        with pytest.raises(Unavailable, match="changed"):
            await KubernetesExecutor(cluster, PodTemplate("image"), "me").recover(_RUN)
    assert counted == ["secrets"]


@pytest.mark.parametrize("changed", [None, {}, {"holderIdentity": None}, {"holderIdentity": ""}], ids=str)
async def test_a_lease_that_names_nobody_ends_nothing(changed: Any) -> None:
    mine = {**make_lease("me", 30), "metadata": names("k8s-mcp-server-me")}
    odd = {**make_lease("other", 30), "metadata": names("k8s-mcp-server-other"), "spec": changed}
    counted: list[str] = []

    def answer(call: str, _: bytes) -> Said:
        if call.startswith("GET") and "labelSelector" in call:
            metadata = {"resourceVersion": "7"}
            return Said(http("200 OK", {"kind": "LeaseList", "metadata": metadata, "items": [mine, odd]}))
        return Said(http("200 OK", mine))

    async with talking_to(answer) as (server, api):
        cluster = Cluster("", "", "here", on_odd_object=counted.append)
        cluster.api, cluster.watch = api, Watch(api)
        replicas = Replicas(cluster, "me")
        async with replicas.open():
            assert (replicas.trouble, list(map(holder_of, replicas.leases))) == ("", ["me", ""])
    assert set(counted) == {"leases"}
    deleted = [call.rpartition("/")[2] for call in server.asked if call.startswith("DELETE")]
    assert deleted == ["k8s-mcp-server-me"]
