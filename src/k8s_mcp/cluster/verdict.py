"""How a run ended, as its owner notes it on the Job for those who follow it elsewhere, or later."""

import json

from k8s_mcp.cluster.objects import ENDED, UNTIL_READ, Manifest
from k8s_mcp.models import Ended

VERDICT = "k8s-mcp-server/verdict"
"""The Job's annotation."""
_SIZE = 4096


def verdict(ended: Ended) -> str:
    """How a run ended, as its owner notes it on the Job for those who follow it elsewhere."""
    said = {"status": ended.status, "exit_code": ended.exit_code, "reason": ended.reason}
    return json.dumps({**said, "message": ended.message[:_SIZE]})


def read_verdict(text: str) -> Ended | None:
    """What `verdict` has written; None for anything else."""
    try:
        said = json.loads(text)
        status, code = said["status"], said["exit_code"]
        if status not in ("done", "timeout", "cancelled", "error") or not isinstance(code, int | None):
            return None
        return Ended(status, code, str(said["reason"]), str(said["message"]))
    except (ValueError, KeyError, TypeError):
        return None


def kept_for(status: str, seconds: float, *, until_read: bool) -> Manifest:
    """A patch of the Job of a run that has ended: any replica can read its log for so long, then Kubernetes deletes
    it. With `until_read`, who reads its end does so before.

    https://kubernetes.io/docs/concepts/workloads/controllers/ttlafterfinished/
    """
    annotations = {ENDED: status} | ({UNTIL_READ: "true"} if until_read else {})
    return {"metadata": {"annotations": annotations}, "spec": {"ttlSecondsAfterFinished": int(seconds)}}
