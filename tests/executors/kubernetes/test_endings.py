"""How a run ended whose runner was told to end."""

import asyncio
from typing import Any

import pytest

from k8s_mcp.cluster.objects import CANCELLED
from k8s_mcp.cluster.verdict import VERDICT, Verdict, written
from k8s_mcp.cluster.watched import Watched
from k8s_mcp.executors.kubernetes.endings import who_told
from k8s_mcp.models import Ended

Json = dict[str, Any]


def job(version: int, **annotations: str) -> Json:
    return {"metadata": {"uid": "1", "resourceVersion": str(version), "annotations": annotations}}


@pytest.mark.parametrize(
    ("annotations", "ended"),
    [
        pytest.param({CANCELLED: "true"}, Ended("cancelled"), id="one of us, who noted it"),
        pytest.param({VERDICT: written(Verdict(Ended("cancelled"), 0))}, Ended("cancelled"), id="one of us, at last"),
        pytest.param({}, Ended("error", None, "JobDeleted", "somebody deleted the run's Job"), id="somebody else"),
    ],
)
async def test_an_owner_that_was_cut_off_learns_who_it_was_with_the_end_of_its_job(
    annotations: dict[str, str], ended: Ended
) -> None:
    watched = Watched()
    watched.note_job(job(1))
    told = asyncio.create_task(who_told(watched))
    await asyncio.sleep(0)
    watched.note_job(job(2, **annotations), deleted=True)
    assert await told == ended
