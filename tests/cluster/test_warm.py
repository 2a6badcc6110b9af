"""The Job of a warm pod: as a run's, but for its Secret; and what makes it one run's."""

from dataclasses import replace
from typing import Any, cast

import pytest

from k8s_mcp.cluster.objects import REPLICA, RUN, deadline_of, make_job, read_run
from k8s_mcp.cluster.warm import MOST_AGE, TEMPLATE, WARM, claimed_job, is_ready, make_warm_job, template_hash, waits
from k8s_mcp.models import RunSpec
from tests.cluster.test_objects import SPEC
from tests.cluster.test_objects import TEMPLATE as POD

Json = dict[str, Any]


def merged(target: Json, patch: Json) -> Json:
    """RFC 7386, as the API server does it."""
    found = {key: value for key, value in target.items() if key not in patch}
    for key, value in patch.items():
        if value is not None:
            found[key] = merged(target.get(key, {}), cast("Json", value)) if isinstance(value, dict) else value
    return found


def volumes(job: Json) -> list[Json]:
    return [one["secret"] for one in job["spec"]["template"]["spec"]["volumes"] if "secret" in one]


def test_its_pod_is_a_runs_pod_whose_secret_may_come_later() -> None:
    warm = make_warm_job("0123", POD)
    cold = make_job(replace(SPEC, name=warm["metadata"]["name"]), "replica-1", POD)
    assert [volume.pop("optional") for volume in volumes(warm)] == [True, True]
    assert [volume.pop("optional", False) for volume in volumes(cold)] == [False, False]
    arguments = warm["spec"]["template"]["spec"]["containers"][0]["args"]
    arguments.remove("--wait=yes")
    assert warm["spec"]["template"]["spec"] == cold["spec"]["template"]["spec"]
    differing = {name for name, value in cold["spec"].items() if warm["spec"][name] != value}
    assert differing == {"suspend", "activeDeadlineSeconds", "template"}
    assert warm["spec"]["suspend"] is False


def test_what_waits_is_no_run() -> None:
    job = make_warm_job("0123", POD)
    assert waits(job)
    assert read_run(job) is None
    assert RUN not in job["metadata"]["labels"] | job["spec"]["template"]["metadata"]["labels"]
    assert job["spec"]["activeDeadlineSeconds"] > MOST_AGE


@pytest.mark.parametrize("spec", [SPEC, replace(SPEC, key="by-key", max_output=9)])
def test_a_claimed_one_says_of_its_run_what_a_job_of_its_own_would(spec: RunSpec) -> None:
    waiting = make_warm_job("0123", POD)
    job = merged(waiting, claimed_job(spec, "replica-1", POD))
    assert not waits(job)
    assert WARM not in job["metadata"]["labels"]
    own = make_job(replace(spec, name=job["metadata"]["name"]), "replica-1", POD)
    assert read_run(job) == read_run(own)
    assert job["metadata"]["annotations"] == own["metadata"]["annotations"]
    assert job["metadata"]["annotations"][REPLICA] == "replica-1"
    # However long it waited, the run has the time that any run has.
    left = job["spec"]["activeDeadlineSeconds"] - waiting["spec"]["activeDeadlineSeconds"]
    assert left == deadline_of(spec, POD)


@pytest.mark.parametrize(
    "changed",
    [{"image": "registry.example.com/runner:2"}, {"memory_limit": "1Gi"}, {"isolation": False}, {"grace": 7}],
)
def test_other_settings_are_another_template(changed: Json) -> None:
    other = replace(POD, **changed)
    assert template_hash(other) != template_hash(POD)
    assert make_warm_job("1", other)["metadata"]["labels"][TEMPLATE] == template_hash(other)
    assert template_hash(replace(POD)) == template_hash(POD)


RUNNING: Json = {"containerStatuses": [{"name": "runner", "state": {"running": {}}}]}
UP: Json = {**RUNNING, "conditions": [{"type": "Ready", "status": "True"}]}
ENDED: Json = {
    "containerStatuses": [{"name": "runner", "state": {"terminated": {"exitCode": 143}}}],
    "conditions": [{"type": "Ready", "status": "True"}],
}


@pytest.mark.parametrize(
    ("job", "pod", "ready"),
    [
        pytest.param({}, {"status": UP}, True, id="up"),
        pytest.param({}, None, False, id="no pod yet"),
        pytest.param({}, {"status": RUNNING}, False, id="its node does not answer, or it is not up"),
        pytest.param({}, {"status": ENDED}, False, id="ended"),
        pytest.param({}, {"status": UP, "deletionTimestamp": "now"}, False, id="on its way out"),
        pytest.param({"deletionTimestamp": "now"}, {"status": UP}, False, id="its Job is on its way out"),
        pytest.param(
            {},
            {"status": {**UP, "conditions": [{"type": "DisruptionTarget", "status": "True"}]}},
            False,
            id="evicted",
        ),
        pytest.param({"failed": True}, {"status": UP}, False, id="over its deadline"),
    ],
)
def test_only_one_that_is_all_up_and_stays_is_ready(job: Json, pod: Json | None, ready: bool) -> None:
    conditions = [{"type": "FailureTarget", "status": "True"}] if job.pop("failed", False) else []
    the_job: Json = {"metadata": {**job, "labels": {}}, "status": {"conditions": conditions}}
    the_pod: Json | None = None
    if pod is not None:
        status = pod.pop("status")
        the_pod = {"metadata": {**pod, "labels": {}}, "spec": {}, "status": status}
    assert is_ready(the_job, the_pod) is ready
