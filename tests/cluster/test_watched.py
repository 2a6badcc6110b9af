"""States of a Job and its pod come on several ways, in any order: the later one counts."""

from typing import Any

import pytest

from k8s_mcp.cluster import podstate
from k8s_mcp.cluster.watched import Watched

Fields = dict[str, Any]


def job(version: int = 1, **status: Any) -> Fields:
    return {"metadata": {"uid": "job", "resourceVersion": str(version)}, "status": status}


def pod(version: int, of: str = "job") -> Fields:
    labels = {"batch.kubernetes.io/controller-uid": of}
    return {"metadata": {"name": "it", "labels": labels, "resourceVersion": str(version)}}


def watched(*pods: Fields, **status: Any) -> Watched:
    known = Watched()
    known.note_job(job(**status))
    for each in pods:
        known.note_pod(each)
    return known


def test_an_older_state_that_comes_later_changes_nothing() -> None:
    known = watched(pod(5))
    known.note_pod(pod(4))
    assert known.pod == pod(5)


@pytest.mark.parametrize("version", [5, 6])
def test_a_pod_that_is_gone_stays_so_whatever_was_said_of_it_before(version: int) -> None:
    known = watched(pod(5))
    known.note_pod(pod(version), deleted=True)
    known.note_pods([pod(5)], 5)
    assert not known.has_pod


@pytest.mark.parametrize(("version", "gone"), [(5, True), (4, False)])
def test_a_list_without_the_pod_says_that_it_is_gone_unless_it_is_from_before(version: int, gone: bool) -> None:
    known = watched(pod(5))
    known.note_pods([], version)
    assert known.pod_deleted is gone


@pytest.mark.parametrize("others", [[], [pod(9, of="a former Job of that name")]])
@pytest.mark.parametrize(("status", "gone"), [({"failed": 1}, True), ({"succeeded": 1}, True), ({}, False)])
def test_a_pod_that_nobody_saw_is_gone_if_its_job_says_that_it_has_ended(
    others: list[Fields], status: Fields, gone: bool
) -> None:
    known = watched(**status)
    assert podstate.is_missed(known) is gone
    known.note_pods(others, 9)
    assert (podstate.why_gone(known) == podstate.POD_DELETED) is gone
    assert not podstate.is_missed(known)


def test_a_pod_that_was_missed_is_taken_up_when_it_is_there() -> None:
    known = watched(failed=1)
    known.note_pods([pod(7)], 9)
    assert (known.pod, known.pod_deleted) == (pod(7), False)
    assert not podstate.is_missed(known)
