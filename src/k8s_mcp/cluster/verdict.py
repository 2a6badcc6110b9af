"""How a run ended, as its owner notes it on the Job for those who follow it elsewhere, or later."""

import json
from dataclasses import dataclass

from k8s_mcp.cluster.objects import ENDED, UNTIL_READ, Manifest
from k8s_mcp.cluster.shapes import Json
from k8s_mcp.models import Ended

VERDICT = "k8s-mcp-server/verdict"
"""The Job's annotation."""
_SIZE = 4096


@dataclass(frozen=True)
class Verdict:
    """`ended`, after `output` bytes of both streams: who has read fewer does not know what came before the end."""

    ended: Ended
    output: int


def written(verdict: Verdict) -> str:
    """As the Job has it."""
    ended = verdict.ended
    said = {"status": ended.status, "exit_code": ended.exit_code, "reason": ended.reason, "whole": ended.whole}
    return json.dumps({**said, "message": ended.message[:_SIZE], "output": verdict.output})


def read_verdict(text: str) -> Verdict | None:
    """What `written` has made; None for anything else."""
    try:
        said = json.loads(text)
        status, code, output = said["status"], said["exit_code"], said["output"]
        known = status in ("done", "timeout", "cancelled", "error")
        if not (known and isinstance(code, int | None) and isinstance(output, int)):
            return None
        whole = said.get("whole") is not False
        return Verdict(Ended(status, code, str(said["reason"]), str(said["message"]), whole), output)
    except (ValueError, KeyError, TypeError):
        return None


def verdict_of(job: Json | None) -> Verdict | None:
    """How the owner says on the Job that the run ended, where its log does not tell everybody."""
    annotations: Json = (job or {}).get("metadata", {}).get("annotations") or {}
    return read_verdict(annotations.get(VERDICT, ""))


def kept_for(status: str, seconds: float, untold: Verdict | None, *, until_read: bool) -> Manifest:
    """A patch of the Job of a run that has ended: any replica can read its log for so long, then Kubernetes deletes
    it. With `until_read`, who reads its end does so before. `untold`: how it ended, if its log does not say.

    https://kubernetes.io/docs/concepts/workloads/controllers/ttlafterfinished/
    """
    annotations = {ENDED: status} | ({UNTIL_READ: "true"} if until_read else {})
    annotations |= {VERDICT: written(untold)} if untold else {}
    return {"metadata": {"annotations": annotations}, "spec": {"ttlSecondsAfterFinished": int(seconds)}}
