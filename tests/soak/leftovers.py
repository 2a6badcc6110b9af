"""What the service has left in its namespace once it has nothing to do."""

import json
import time

import anyio

from tests.e2e.place import Place
from tests.soak.replicas import MOST_WARM

_OURS = "--selector=app.kubernetes.io/managed-by=k8s-mcp-server"
_HANDLE = "handle-"
_WARM = "k8s-mcp-server/warm"
_PAUSE = 2.0


async def until_nothing_left(place: Place, replicas: int, seconds: float) -> tuple[list[str], float]:
    """Waits until no Job, pod or Secret of a run is left, no more warm pods than may wait, and no more Leases than
    there are replicas.

    What there still was after so many seconds, and how long it took.
    """
    began = time.monotonic()
    while True:
        left = await _left(place, replicas)
        took = time.monotonic() - began
        if not left or took > seconds:
            return left, took
        await anyio.sleep(_PAUSE)


async def _left(place: Place, replicas: int) -> list[str]:
    said = await place.akubectl("get", "jobs,pods,secrets,leases", f"--namespace={place.namespace}", _OURS, "-o=json")
    things: list[str] = []
    leases: list[str] = []
    waiting: list[str] = []
    for item in json.loads(said)["items"]:
        metadata = item["metadata"]
        name = f"{item['kind']} {metadata['name']} of {metadata['creationTimestamp']}"
        if item["kind"] == "Lease":
            leases.append(f"{name} of {item['spec'].get('holderIdentity')}")
        elif item["kind"] in ("Job", "Pod") and _WARM in metadata["labels"]:
            waiting.append(name)
        elif not metadata["name"].startswith(_HANDLE):
            annotations = {key: value for key, value in metadata.get("annotations", {}).items() if "k8s-mcp" in key}
            things.append(f"{name} {json.dumps(annotations)}")
    things += leases if len(leases) > replicas else []
    return things + (waiting if len(waiting) > 2 * MOST_WARM else [])  # a Job and a pod each
