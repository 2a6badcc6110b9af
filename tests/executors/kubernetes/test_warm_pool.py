"""How many pods wait, and which of them go: never more than allowed, never before runs, never two for one."""

from dataclasses import replace
from typing import Any

import pytest

from k8s_mcp.cluster.objects import make_job
from k8s_mcp.cluster.warm import MOST_AGE, make_key_job, make_warm_job, template_hash
from k8s_mcp.executors.kubernetes.warm_pool import MEMORY_SECONDS, Aim, Demand, Waiting, plan
from tests.cluster.test_objects import SPEC, TEMPLATE

Json = dict[str, Any]
AIM = Aim(kind=template_hash(TEMPLATE), target=2, start_timeout=60)
UP: Json = {
    "containerStatuses": [{"name": "runner", "state": {"running": {}}}],
    "conditions": [{"type": "Ready", "status": "True"}],
}


def waiting(unique: str, age: float = 10, *, up: bool = True, image: str = TEMPLATE.image, **changed: Any) -> Waiting:
    job = make_warm_job(unique, replace(TEMPLATE, image=image))
    job["metadata"] |= {"uid": unique, **changed}
    pod: Json = {"metadata": {"labels": {}}, "spec": {}, "status": UP}
    return Waiting(job, pod if up else None, age)


def names(retired: Any) -> list[str]:
    return [one.job["metadata"]["uid"] for one in retired]


def test_one_is_made_until_there_are_enough() -> None:
    assert plan([], AIM).create
    assert plan([waiting("a")], AIM).create
    assert plan([waiting("a"), waiting("b")], AIM) == plan([], replace(AIM, target=0))


@pytest.mark.parametrize(
    "aim",
    [
        pytest.param(replace(AIM, runs_wait=True), id="while a run waits for its own pod"),
        pytest.param(replace(AIM, target=9, unseen=2), id="while two are being started"),
        pytest.param(replace(AIM, target=1, unseen=1), id="while the one that is wanted is not seen yet"),
        pytest.param(replace(AIM, no_room=True), id="while runs find no place"),
    ],
)
def test_none_is_made(aim: Aim) -> None:
    assert not plan([], aim).create


def test_of_too_many_those_go_that_are_not_up_then_the_old() -> None:
    there = [waiting("old", 500), waiting("young", 5), waiting("starting", 1, up=False)]
    assert names(plan(there, AIM).retire) == ["starting"]
    assert names(plan(there, replace(AIM, target=1)).retire) == ["old", "starting"]
    assert names(plan(there, replace(AIM, no_room=True)).retire) == ["young", "old", "starting"]


def test_what_is_of_other_settings_or_will_not_start_goes_and_is_replaced() -> None:
    found = plan([waiting("other", image="registry.example.com/other:1")], AIM)
    assert (names(found.retire), found.create, found.failed) == (["other"], True, False)
    found = plan([waiting("late", 61, up=False)], AIM)
    assert (names(found.retire), found.create, found.failed) == (["late"], True, True)


def test_one_that_died_by_itself_goes_and_the_next_waits_a_while() -> None:
    """Else pods of an image that is of no use would come and go without an end."""
    died = waiting("died")
    assert died.pod is not None
    died.pod["status"] = {"containerStatuses": [{"name": "runner", "state": {"terminated": {"exitCode": 1}}}]}
    found = plan([died], AIM)
    assert (names(found.retire), found.failed) == (["died"], True)
    died.pod["metadata"]["deletionTimestamp"] = "now"
    assert not plan([died], AIM).failed


def test_the_old_go_one_by_one_each_when_the_others_are_up() -> None:
    old = [waiting("a", MOST_AGE + 2), waiting("b", MOST_AGE + 1)]
    found = plan(old, AIM)
    assert (names(found.retire), found.create) == (["a"], True)
    assert names(plan([old[1], waiting("new", 1, up=False)], AIM).retire) == []
    assert names(plan([old[1], waiting("new", 2)], AIM).retire) == ["b"]


def test_what_is_on_its_way_out_is_neither_counted_nor_deleted_again() -> None:
    found = plan([waiting("going", deletionTimestamp="now")], AIM)
    assert (names(found.retire), found.create) == ([], True)


def runs(*ids: str, key: bool = False) -> dict[str, Json]:
    name = "of-its-key" if key else "run-0123"
    specs = [replace(SPEC, run_id=one, name=name, key="of-its-key" if key else "") for one in ids]
    return {spec.run_id: make_job(spec, "replica-1", TEMPLATE) for spec in specs}


def test_as_many_are_wanted_as_came_at_once_and_at_least_one() -> None:
    demand = Demand()
    assert demand.target(5) == 1
    demand.look(runs("a", "b", "c"), 0)
    demand.look(runs("c"), 1)
    assert (demand.target(5), demand.target(2)) == (3, 2)
    demand.look(runs("d"), 10)
    assert demand.target(5) == 3
    demand.look({}, MEMORY_SECONDS + 1)
    assert demand.target(5) == 1


def test_runs_with_a_key_want_one_as_any_other_does_and_the_jobs_of_keys_want_none() -> None:
    demand = Demand()
    of_keys = {f"key-{one}": make_key_job(SPEC, "replica-1", TEMPLATE, one) for one in ("warm-1", "warm-2", "warm-3")}
    demand.look(runs("a", "b", key=True) | of_keys | {"warm": make_warm_job("0", TEMPLATE)}, 0)
    assert demand.target(5) == 2
