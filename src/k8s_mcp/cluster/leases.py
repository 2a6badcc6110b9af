"""The Lease with which a replica says that it lives."""

from datetime import UTC, datetime

from k8s_mcp.cluster.objects import MANAGED_BY, MANAGER, Manifest
from k8s_mcp.cluster.warm import WARM


def lease_name(replica: str) -> str:
    """The name of a replica's Lease."""
    return f"{MANAGER}-{replica}"


def make_lease(replica: str, seconds: int, *, keeps_warm: bool = False) -> Manifest:
    """Says that a replica lives, for so many seconds from now; and whether it takes part in keeping pods warm."""
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    labels = {MANAGED_BY: MANAGER} | ({WARM: "true"} if keeps_warm else {})
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": lease_name(replica), "labels": labels},
        "spec": {"holderIdentity": replica, "leaseDurationSeconds": seconds, "renewTime": now},
    }
