"""What a pod says about its run, told in Kubernetes' own words."""

from typing import Any

import pytest

from k8s_mcp.cluster import podstate
from k8s_mcp.cluster.objects import PROXY_CONTAINER, RUNNER_CONTAINER
from k8s_mcp.cluster.watched import Watched

Fields = dict[str, Any]


def pod(runner: Fields | None = None, proxy: Fields | None = None, **status: Any) -> Fields:
    """A pod with these states of its containers."""
    if runner is not None:
        status["containerStatuses"] = [{"name": RUNNER_CONTAINER, "state": runner}]
    if proxy is not None:
        status["initContainerStatuses"] = [{"name": PROXY_CONTAINER, "state": proxy}]
    return {"metadata": {"name": "run-1-abcde"}, "status": status}


def watched(pod: Fields | None = None, job: Fields | None = None, **more: Any) -> Watched:
    known = Watched()
    known.pod, known.job = pod, job
    for name, value in more.items():
        setattr(known, name, value)
    return known


def waiting(reason: str, message: str = "why") -> Fields:
    return {"waiting": {"reason": reason, "message": message}}


def condition(kind: str, status: str = "True", **fields: str) -> Fields:
    return {"type": kind, "status": status, **fields}


TERMINATED = {"terminated": {"exitCode": 3, "reason": "Error"}}


def test_a_pod_the_kubelet_has_not_seen_has_no_state() -> None:
    assert podstate.runner_state({"metadata": {}}) == {}
    assert not podstate.has_started(pod())
    assert podstate.terminated(pod()) is None


@pytest.mark.parametrize(
    ("state", "started"), [({"running": {}}, True), (TERMINATED, True), (waiting("ContainerCreating"), False)]
)
def test_a_log_can_be_read_once_the_runner_runs_or_has_ended(state: Fields, started: bool) -> None:
    assert podstate.has_started(pod(state)) is started


def test_only_the_runner_container_says_that_the_run_ended() -> None:
    assert podstate.terminated(pod(TERMINATED)) == TERMINATED["terminated"]
    assert podstate.terminated(pod({"running": {}}, proxy=TERMINATED)) is None


@pytest.mark.parametrize(
    ("said", "died"),
    [
        ({}, False),
        ({"state": {"running": {}}, "restartCount": 0}, False),
        ({"state": {"terminated": {"exitCode": 0}}}, False),
        ({"state": {"terminated": {"exitCode": 137}}}, True),
        ({"state": waiting("CrashLoopBackOff"), "lastState": {"terminated": {"exitCode": 1}}}, True),
        ({"state": {"running": {}}, "restartCount": 1}, True),
        ({"state": {"terminated": {}}}, True),
    ],
)
def test_a_gate_that_died_is_known(said: Fields, died: bool) -> None:
    assert podstate.has_gate_died({"status": {"initContainerStatuses": [{"name": PROXY_CONTAINER, **said}]}}) is died
    other = {"name": "other", "restartCount": 3}
    assert not podstate.has_gate_died({"status": {"initContainerStatuses": [other]}})
    assert not podstate.has_gate_died(None)


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "ErrImageNeverPull", "CreateContainerConfigError"])
def test_pending_for_a_containers_reason(reason: str) -> None:
    assert podstate.why_pending(watched(pod(waiting(reason)))) == (reason, "why")
    assert podstate.why_pending(watched(pod(proxy=waiting(reason)))) == (reason, "why")


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing"])
def test_an_ordinary_start_is_no_reason(reason: str) -> None:
    assert podstate.why_pending(watched(pod(waiting(reason)))) is None


def test_pending_because_no_node_takes_it() -> None:
    full = pod(conditions=[condition("PodScheduled", "False", reason="Unschedulable", message="0/1 nodes")])
    assert podstate.why_pending(watched(full)) == ("Unschedulable", "0/1 nodes")


def test_pending_without_a_pod_is_told_from_the_latest_warning() -> None:
    warnings = [{"reason": "Older", "message": "x"}, {"reason": "FailedCreate", "message": "exceeded quota"}]
    assert podstate.why_pending(watched(warnings=warnings)) == ("FailedCreate", "exceeded quota")
    assert podstate.why_pending(watched()) is None


def test_gone_for_the_pods_own_reason() -> None:
    evicted = pod(TERMINATED, reason="Evicted", message="disk full")
    assert podstate.why_gone(watched(evicted, pod_deleted=True)) == ("Evicted", "disk full")


def test_gone_by_disruption() -> None:
    drained = pod(conditions=[condition("DisruptionTarget", reason="EvictionByEvictionAPI", message="drain")])
    assert podstate.why_gone(watched(drained)) == ("EvictionByEvictionAPI", "drain")


def test_a_deleted_job_says_more_than_its_deleted_pod() -> None:
    reason = podstate.why_gone(watched(pod(), job={"status": {}}, job_deleted=True, pod_deleted=True))
    assert reason is not None
    assert reason[0] == "JobDeleted"


def test_a_deleted_pod_is_gone() -> None:
    reason = podstate.why_gone(watched(pod(), pod_deleted=True))
    assert reason is not None
    assert reason[0] == "PodDeleted"


def test_a_job_over_its_deadline_is_gone() -> None:
    job = {"status": {"conditions": [condition("Failed", reason="DeadlineExceeded", message="too long")]}}
    assert podstate.why_gone(watched(pod({"running": {}}), job)) == ("DeadlineExceeded", "too long")


def test_a_failed_command_is_no_reason_that_its_run_is_gone() -> None:
    job = {"status": {"conditions": [condition("Failed", reason="BackoffLimitExceeded", message="1 pod failed")]}}
    assert podstate.why_gone(watched(pod(TERMINATED), job)) is None


def test_a_run_in_order_is_not_gone() -> None:
    assert podstate.why_gone(watched(pod({"running": {}}), {"status": {}})) is None
    assert podstate.why_gone(watched()) is None


def test_a_job_being_deleted_is_leaving_before_it_is_gone() -> None:
    deleting = {"metadata": {"deletionTimestamp": "2026-05-04T10:00:00Z"}, "status": {}}
    known = watched(pod({"running": {}}), deleting)
    assert podstate.why_gone(known) is None
    reason = podstate.why_leaving(known)
    assert reason is not None
    assert reason[0] == "JobDeleted"
