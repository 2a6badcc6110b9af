"""Who lives, by what lists of Leases show."""

from typing import Any

import pytest

from k8s_mcp.cluster.connection import Cluster
from k8s_mcp.cluster.leases import make_lease
from k8s_mcp.cluster.watch import Watch
from k8s_mcp.executors.kubernetes.replicas import ROUND_SECONDS, Census, Replicas, holder_of, keeper_of_warm_pods
from tests.support.fake_api import Said, http, talking_to

DURATION = 30


def lease(holder: object, renewed: str = "1", **spec: object) -> dict[str, Any]:
    return {"spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": DURATION} | spec}


def lists(census: Census, begin: float, end: float, *leases: dict[str, Any]) -> None:
    at = begin
    while at <= end:
        census.take_note(list(leases), at)
        at += ROUND_SECONDS


def test_a_replica_lives_as_long_as_its_lease_is_renewed() -> None:
    census = Census()
    for number in range(20):
        census.take_note([lease("a", str(number))], number * ROUND_SECONDS)
        assert not census.is_gone("a")


def test_a_replica_is_gone_when_lists_show_its_lease_unrenewed_for_longer_than_it_is_good_for() -> None:
    census = Census()
    lists(census, 0, DURATION, lease("a"))
    assert not census.is_gone("a")
    census.take_note([lease("a")], DURATION + 1)
    assert census.is_gone("a")


def test_a_replica_that_renews_again_lives_again() -> None:
    census = Census()
    lists(census, 0, 50, lease("a"))
    assert census.is_gone("a")
    census.take_note([lease("a", "2")], 60)
    assert not census.is_gone("a")


def test_while_nothing_can_be_seen_nobody_dies_and_after_it_everybody_has_a_new_time() -> None:
    census = Census()
    lists(census, 0, 20, lease("a"))
    census.take_note([lease("a")], 500)
    assert not census.is_gone("a")
    lists(census, 510, 500 + DURATION, lease("a"))
    assert not census.is_gone("a")
    census.take_note([lease("a")], 500 + DURATION + 1)
    assert census.is_gone("a")


def test_a_lease_that_somebody_has_deleted_is_missed_for_several_lists() -> None:
    census = Census()
    lists(census, 0, 20, lease("a"))
    census.take_note([], 30)
    assert not census.is_gone("a")
    census.take_note([], 40)
    assert not census.is_gone("a")
    census.take_note([lease("a", "2")], 50)
    assert not census.is_gone("a")
    seen: list[bool] = []
    for at in (60, 70, 80, 90):
        census.take_note([], at)
        seen.append(census.is_gone("a"))
    assert seen == [False, False, False, True]


def test_a_replica_that_nobody_ever_saw_is_gone_after_several_lists() -> None:
    census = Census()
    assert not census.is_gone("a")
    lists(census, 0, 30)
    assert census.is_gone("a")


@pytest.mark.parametrize(
    "odd",
    [{}, {"spec": None}, {"spec": {}}, lease(None), lease(""), lease(7), lease(["a"]), {"spec": {"renewTime": 1}}],
)
def test_a_lease_without_a_holder_is_nobodys(odd: dict[str, Any]) -> None:
    assert holder_of(odd) == ""
    Census().take_note([odd], 1)


@pytest.mark.parametrize("seconds", [None, "long", -1, 0])
def test_a_lease_that_is_good_for_no_time_we_know_is_good_for_the_usual_one(seconds: object) -> None:
    census = Census()
    lists(census, 0, 20, lease("a", leaseDurationSeconds=seconds))
    assert not census.is_gone("a")


@pytest.mark.parametrize(
    ("taking_part", "others", "gone", "keeper"),
    [
        pytest.param("bc", "a", "", "b", id="the first of those that take part"),
        pytest.param("bc", "a", "b", "c", id="that live"),
        pytest.param("", "ab", "", "a", id="where none takes part, some one, to remove what is left"),
        pytest.param("b", "a", "b", "a", id="where none that takes part lives, too"),
        pytest.param("", "", "", "", id="nobody, while nobody was seen"),
    ],
)
def test_one_replica_keeps_the_warm_pods(taking_part: str, others: str, gone: str, keeper: str) -> None:
    leases = [make_lease(name, DURATION, keeps_warm=name in taking_part) for name in others + taking_part]
    assert keeper_of_warm_pods(leases, lambda name: name in gone) == keeper


@pytest.mark.parametrize(
    ("holders", "alone"),
    [
        pytest.param(["me"], True, id="the last one"),
        pytest.param([], True, id="its own Lease is gone already"),
        pytest.param(["me", "other"], False, id="another one lives"),
        pytest.param(None, False, id="nothing can be seen"),
    ],
)
async def test_the_last_replica_knows_that_it_is(holders: list[str] | None, alone: bool) -> None:
    def answer(_call: str, _body: bytes) -> Said:
        if holders is None:
            return Said(http("503 Service Unavailable"))
        metadata = {"uid": "u", "resourceVersion": "7"}
        items = [{**make_lease(name, DURATION), "metadata": {**metadata, "name": name}} for name in holders]
        return Said(http("200 OK", {"kind": "LeaseList", "metadata": {"resourceVersion": "7"}, "items": items}))

    async with talking_to(answer) as (_, api):
        cluster = Cluster("", "", "here")
        cluster.api, cluster.watch = api, Watch(api)
        assert await Replicas(cluster, "me").is_alone() is alone
