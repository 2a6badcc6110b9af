"""A Job that was claimed in vain is given back only while the run is still ours, and nobody has ended it."""

import json
from typing import Any

import pytest

from k8s_mcp.cluster.connection import Cluster
from k8s_mcp.cluster.objects import CANCELLED, REPLICA, PodTemplate
from k8s_mcp.cluster.warm import claimed_job
from k8s_mcp.cluster.watch import Watch
from k8s_mcp.cluster.watched import Watched
from k8s_mcp.executors.kubernetes.replicas import Replicas
from k8s_mcp.executors.kubernetes.warm_objects import WarmObjects
from tests.observe.test_audit import spec
from tests.support.fake_api import Said, http, talking_to

Json = dict[str, Any]
RUN, TEMPLATE = spec(), PodTemplate("image")
CONFLICT = {"kind": "Status", "status": "Failure", "reason": "Conflict", "code": 409}
NOT_FOUND = {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}


def claimed(version: int, **annotations: str) -> Json:
    """The run's Job after the claim, in a later version with other annotations."""
    metadata = claimed_job(RUN, "me", TEMPLATE)["metadata"]
    labels = {name: value for name, value in metadata["labels"].items() if value is not None}
    return {
        "kind": "Job",
        "metadata": {
            "name": RUN.name,
            "uid": "u",
            "resourceVersion": str(version),
            "labels": labels,
            "annotations": {**metadata["annotations"], **annotations},
        },
        "spec": {},
    }


@pytest.mark.parametrize(
    ("there", "given_back"),
    [
        pytest.param(claimed(7), True, id="as it was seen"),
        pytest.param(claimed(8), True, id="changed by Kubernetes"),
        pytest.param(claimed(8, **{CANCELLED: "true"}), False, id="cancelled on another replica"),
        pytest.param(claimed(8, **{REPLICA: "other"}), False, id="taken over by another replica"),
        pytest.param(None, False, id="gone"),
    ],
)
async def test_it_is_deleted_only_while_the_run_may_go_on_elsewhere(there: Json | None, given_back: bool) -> None:
    deleted: list[str] = []

    def answer(call: str, body: bytes) -> Said:
        if there is None:
            return Said(http("404 Not Found", NOT_FOUND))
        version = there["metadata"]["resourceVersion"]
        if call.startswith("DELETE"):
            seen = json.loads(body)["preconditions"]
            if seen["uid"] != "u" or seen.get("resourceVersion", version) != version:
                return Said(http("409 Conflict", CONFLICT))
            deleted.append(version)
        return Said(http("200 OK", there))

    async with talking_to(answer) as (_, api):
        cluster = Cluster("", "", "here")
        cluster.api, cluster.watch = api, Watch(api)
        watched = Watched()
        watched.job = claimed(7)
        objects = WarmObjects(cluster, RUN, "me", Replicas(cluster, "me"), TEMPLATE, watched)
        assert await objects.take_back() is given_back
    assert bool(deleted) is given_back
