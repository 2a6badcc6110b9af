"""What a pod's and a Job's state says about a run. Pure functions over the API's objects.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from k8s_mcp.cluster.client import Json
from k8s_mcp.cluster.objects import CANCELLED, PROXY_CONTAINER, RUNNER_CONTAINER
from k8s_mcp.cluster.watched import Watched

_ORDINARY = frozenset(("ContainerCreating", "PodInitializing"))
Reason = tuple[str, str]
_JOB_DELETED: Reason = ("JobDeleted", "somebody deleted the run's Job")
POD_DELETED: Reason = ("PodDeleted", "somebody deleted the run's pod")


def runner_state(pod: Json) -> Json:
    """The runner container's `state`: waiting, running or terminated; empty before the kubelet has said anything."""
    for status in pod.get("status", {}).get("containerStatuses", ()):
        if status["name"] == RUNNER_CONTAINER:
            return status.get("state", {})
    return {}


def has_started(pod: Json | None) -> bool:
    """Whether there is a pod whose runner's log can be read."""
    state = runner_state(pod) if pod is not None else {}
    return "running" in state or "terminated" in state


def is_ready(pod: Json) -> bool:
    """Whether all of it is up, and its node lives, as far as Kubernetes knows."""
    conditions = pod.get("status", {}).get("conditions", ())
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def has_no_node(pod: Json) -> bool:
    """Whether the scheduler has found no place for it."""
    return not pod["spec"].get("nodeName")


def terminated(pod: Json) -> Json | None:
    """How the runner container ended, if it has."""
    return runner_state(pod).get("terminated")


def has_gate_died(pod: Json | None) -> bool:
    """Whether the gate has ended otherwise than by being told to: then something may have happened unrecorded."""
    for status in (pod or {}).get("status", {}).get("initContainerStatuses", ()):
        if status["name"] == PROXY_CONTAINER:
            ends = [status.get(state, {}).get("terminated") for state in ("state", "lastState")]
            return bool(status.get("restartCount")) or any(
                end is not None and end.get("exitCode") != 0 for end in ends
            )
    return False


def why_pending(watched: Watched) -> Reason | None:
    """Why the command has not started, in Kubernetes' own words; None when all goes its ordinary way."""
    pod = watched.pod
    if pod is not None:
        status = pod.get("status", {})
        for condition in status.get("conditions", ()):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return condition.get("reason", "Unschedulable"), condition.get("message", "")
        containers = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
        for container in containers:
            waiting = container.get("state", {}).get("waiting", {})
            if waiting.get("reason") and waiting["reason"] not in _ORDINARY:
                return waiting["reason"], waiting.get("message", "")
    if watched.warnings:
        latest = watched.warnings[-1]
        return latest.get("reason", ""), latest.get("message", "")
    return None


def is_cancelled(job: Json | None) -> bool:
    """Whether a replica has ended the run of this Job, rather than somebody else."""
    return CANCELLED in ((job or {}).get("metadata", {}).get("annotations") or {})


def why_leaving(watched: Watched) -> Reason | None:
    """Why the run is ending, as soon as that is known: before the pod is gone."""
    gone = why_gone(watched)
    if gone:
        return gone
    if _is_deleting(watched.job):
        return _JOB_DELETED
    return POD_DELETED if _is_deleting(watched.pod) else None


def _is_deleting(thing: Json | None) -> bool:
    return thing is not None and "deletionTimestamp" in thing["metadata"]


def why_gone(watched: Watched) -> Reason | None:
    """Why the run cannot go on, if its pod or its Job is gone or has failed for a reason of its own."""
    pod = watched.pod
    if pod is not None:
        status = pod.get("status", {})
        if status.get("reason"):  # Evicted, NodeLost, Shutdown, …
            return status["reason"], status.get("message", "")
        for condition in status.get("conditions", ()):
            if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
                return condition.get("reason", "DisruptionTarget"), condition.get("message", "")
    if watched.job_deleted:
        return _JOB_DELETED
    for condition in (watched.job or {}).get("status", {}).get("conditions", ()):
        if (
            condition["type"] in ("Failed", "FailureTarget")
            and condition["status"] == "True"
            and condition.get("reason") != "BackoffLimitExceeded"
        ):
            return condition.get("reason", "Failed"), condition.get("message", "")
    return POD_DELETED if watched.pod_deleted else None


def is_over(watched: Watched) -> bool:
    """Whether the runner writes nothing more."""
    ended = watched.pod is not None and terminated(watched.pod) is not None
    return ended or why_gone(watched) is not None


def is_missed(watched: Watched) -> bool:
    """Whether the run's pod has ended without having been seen: its log is still to be read, or it is gone."""
    return watched.pod is None and not watched.pod_deleted and watched.pod_has_ended


def place(pod: Json | None) -> dict[str, str]:
    """Where the command runs: `pod`, `pod_uid`, `node`, as far as that is known."""
    if pod is None:
        return {}
    metadata = pod["metadata"]
    found = {"pod": metadata["name"], "pod_uid": metadata["uid"], "node": pod["spec"].get("nodeName", "")}
    return {name: value for name, value in found.items() if value}
