"""How a run ended whose log does not say so, or does not say why."""

import asyncio
from contextlib import suppress

from k8s_mcp.cluster import podstate
from k8s_mcp.cluster.client import ApiError, ApiUnreachable
from k8s_mcp.cluster.verdict import verdict_of
from k8s_mcp.cluster.watched import Watched
from k8s_mcp.executors.base import read_exit
from k8s_mcp.models import Ended
from k8s_mcp.runner.frames import Decoder, Frame, decode

_REASON_SECONDS = 5.0  # in which Kubernetes says why it has ended a pod
_JOB_SECONDS = 1.0  # in which the Job says why, after its pod is seen to be deleted: they come on two connections
_KILLED = 137  # then a termination message is the command's: the runner did not come to write one
LOST = ("ReplicaLost", "the replica that was starting the run is gone; the command was never started")
_MADE_UP = ("ContainerStatusUnknown",)  # with it the kubelet reports an exit code that it has not seen


def without_exit_frame(watched: Watched, decoder: Decoder, *, cancelled: bool) -> tuple[Frame | None, Ended]:
    """Believe the termination message (then it is the frame), the container's exit code, the pod's reason.

    Never 0: the command can write the termination message, and could so call itself a success.
    """
    pod = watched.pod
    state = (podstate.terminated(pod) if pod else None) or {}
    code = None if state.get("reason") in _MADE_UP else state.get("exitCode")
    said = state.get("message", "").strip()
    frame = decode(said.encode())
    reported = read_exit([frame]) if frame else None
    if frame and reported and code not in (None, 0, _KILLED) and reported.exit_code in (None, code):
        return frame, reported
    if cancelled:
        return None, Ended("cancelled")
    foreign = b"\n".join(decoder.foreign).decode("utf-8", "replace")
    message = foreign or (not frame and said) or "the runner did not report an exit code"
    reason, message = podstate.why_gone(watched) or (state.get("reason", "RunnerLost"), message)
    if reason == "Completed":
        reason, message = "NoExitFrame", "the pod ended, but its log does not say how the command did"
    return None, Ended("error", code or None, reason, message)


async def who_told(watched: Watched) -> Ended:
    """The runner was told to end, by none of us as far as is known here: whoever takes the pod away says why. That it
    was one of us after all can come to be known only with the news that the Job goes.
    """
    leaving = None
    with suppress(TimeoutError):
        async with asyncio.timeout(_REASON_SECONDS):
            while (leaving := podstate.why_leaving(watched)) is None:
                await watched.changed()
    with suppress(TimeoutError):
        async with asyncio.timeout(_JOB_SECONDS):
            while leaving == podstate.POD_DELETED:
                await watched.changed()
                leaving = podstate.why_leaving(watched)
    if podstate.is_cancelled(watched.job):
        return Ended("cancelled")
    told = verdict_of(watched.job)
    if told is not None:
        return told.ended
    return Ended("error", None, *(leaving or ("Terminated", "somebody told the runner to end")))


def of_error(error: ApiError | ApiUnreachable) -> Ended:
    """Of a run that could not be made."""
    if isinstance(error, ApiError):
        return Ended("error", None, error.reason or "ApiError", error.message)
    return Ended("error", None, "ApiUnreachable", str(error))
