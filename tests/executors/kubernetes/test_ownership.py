"""Whose a run is, by what its Job says."""

from typing import Any

import pytest

from k8s_mcp.cluster.objects import AWAITED, ENDED, FOLLOWED, REPLICA
from k8s_mcp.executors.kubernetes.ownership import Followers, Standing, awaited, owner_of, standing

OURS, ALIVE, DEAD = "ours", "alive", "dead"


def job(owner: str | None, annotations: dict[str, str] | None = None, *, deleting: bool = False) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "run-1", "uid": "1", "annotations": dict(annotations or {})}
    if owner is not None:
        metadata["annotations"][REPLICA] = owner
    if deleting:
        metadata["deletionTimestamp"] = "2026-11-29T00:00:00Z"
    return {"metadata": metadata}


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (None, Standing.UNKNOWN),
        (job(OURS), Standing.OWNED),
        (job(ALIVE), Standing.THEIRS),
        (job(DEAD), Standing.ORPHANED),
        (job(""), Standing.ORPHANED),
        (job(None), Standing.ORPHANED),
        (job(OURS, {ENDED: "done"}), Standing.OVER),
        (job(DEAD, {ENDED: "done"}), Standing.OVER),
        (job(OURS, deleting=True), Standing.GONE),
        (job(DEAD, deleting=True), Standing.GONE),
    ],
)
def test_standing(made: dict[str, Any] | None, expected: Standing) -> None:
    assert standing(made, OURS, lambda name: name == DEAD) is expected


def test_a_deleted_job_is_gone_whoever_it_names() -> None:
    assert standing(job(OURS), OURS, lambda _: False, deleted=True) is Standing.GONE


def test_a_job_without_annotations_has_no_owner() -> None:
    assert owner_of({"metadata": {"annotations": None}}) == ""


def test_followers_are_heard_of_by_our_own_clock_whatever_theirs_says() -> None:
    followers = Followers()
    followers.look(job(OURS), 10)
    assert followers.ago(10) == float("inf")
    followers.look(job(OURS, {FOLLOWED: "1999-01-01T00:00:00Z"}), 20)
    followers.look(job(OURS, {FOLLOWED: "1999-01-01T00:00:00Z"}), 25)
    assert followers.ago(26) == 6
    followers.look(job(OURS, {FOLLOWED: "2099-01-01T00:00:00Z"}), 30)
    assert followers.ago(31) == 1


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("600", 600), ("", 0), ("-1", 0), ("1e9", 0), ("inf", 0), ("٣", 0), ("99999999", 3600), ("9" * 5000, 0)],
)
def test_for_how_long_a_run_is_awaited_is_read_and_bounded(said: str, seconds: float) -> None:
    """Whoever may change Jobs can write anything there."""
    assert awaited(job(OURS, {AWAITED: said})) == seconds
    assert awaited(None) == awaited(job(OURS)) == 0
