"""How a run ended, as its owner notes it on the Job for those who follow it elsewhere."""

import json

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
