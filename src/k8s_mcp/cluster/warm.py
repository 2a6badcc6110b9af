"""The objects of a warm pod, which was started before anybody asked, and the patches that make it a run's.

No I/O. docs/kubernetes-executor.md, "Warm pods", has the states, and who may do what in each.
"""

import hashlib
import json
from typing import Any

from k8s_mcp.cluster import podstate
from k8s_mcp.cluster.objects import (
    MANAGED_BY,
    MANAGER,
    RUN,
    SAFE_TO_EVICT,
    Manifest,
    PodTemplate,
    deadline_of,
    make_job,
    make_pod_spec,
    run_annotations,
    single_job,
)
from k8s_mcp.models import RunSpec

WARM = "k8s-mcp-server/warm"
"""The label of what waits; it goes with the claim."""
TEMPLATE = "k8s-mcp-server/template"
"""The label that says of which settings a warm pod is."""
MOST_AGE = 3600.0
"""Seconds after which a warm pod that nobody claimed makes room for a new one."""
KEY_OF = "k8s-mcp-server/key-of"
"""The label of a key's Job whose run is in a warm pod; its value is the run's id."""
_RUNS_IN = "k8s-mcp-server/runs-in"  # its annotation: the warm pod's Job
_DEADLINE = int(MOST_AGE) + 600
_NAME = "warm-"
_TOLD = "k8s-mcp-server/told"
_OVER = frozenset(("Complete", "Failed", "FailureTarget", "SuccessCriteriaMet", "DisruptionTarget"))


def make_warm_job(unique: str, template: PodTemplate) -> Manifest:
    """A Job whose pod waits for the Secret of its own name. `unique` makes the name."""
    name = f"{_NAME}{unique}"
    labels = {MANAGED_BY: MANAGER, WARM: "true"}
    pod = {"metadata": {"labels": labels, "annotations": {SAFE_TO_EVICT: "true"}}}
    pod["spec"] = make_pod_spec(name, template, waits=True)
    metadata = {"name": name, "labels": {**labels, TEMPLATE: template_hash(template)}}
    return single_job(metadata, pod, template, suspend=False, deadline=_DEADLINE)


def template_hash(template: PodTemplate) -> str:
    """The same for pods that are the same."""
    spec = make_pod_spec("", template, waits=True)
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]


def claimed_job(run: RunSpec, replica: str, template: PodTemplate) -> Manifest:
    """A patch: the waiting Job is this run's, as if it had been made for it.

    Its deadline counts from its own start, which may be as long ago as it could wait.
    """
    return {
        "metadata": {
            "labels": {RUN: run.run_id, WARM: None},
            "annotations": run_annotations(run, replica, template),
        },
        "spec": {"activeDeadlineSeconds": _DEADLINE + deadline_of(run, template)},
    }


def told_pod(time: int, run: RunSpec | None = None) -> Manifest:
    """A patch, by which the kubelet looks at once whether the pod's Secret is there. `time` makes it a new one.
    With a run, the pod is that one's from then on.
    """
    told = {_TOLD: str(time)}
    if run is None:
        return {"metadata": {"annotations": told}}
    return {"metadata": {"labels": {RUN: run.run_id, WARM: None}, "annotations": {SAFE_TO_EVICT: "false", **told}}}


def make_key_job(run: RunSpec, replica: str, template: PodTemplate, warm: str) -> Manifest:
    """The Job of a key whose run is to be in the pod of the warm Job of that name. It is never started as it is: it
    has the key's name, so that there is no second one, and says where the run is.
    """
    job = make_job(run, replica, template)
    metadata = job["metadata"]
    labels = {MANAGED_BY: MANAGER, KEY_OF: run.run_id}
    return {
        **job,
        "metadata": {**metadata, "labels": labels, "annotations": {**metadata["annotations"], _RUNS_IN: warm}},
    }


def own_job(run: RunSpec) -> Manifest:
    """A patch: the key's Job is the run's own, as if no warm pod had waited."""
    return {"metadata": {"labels": {RUN: run.run_id, KEY_OF: None}, "annotations": {_RUNS_IN: None}}}


def bound_job(warm: Manifest) -> Manifest:
    """A patch: the key's Job goes when the warm Job that its run is in does. Kubernetes' garbage collector does that:
    https://kubernetes.io/docs/concepts/architecture/garbage-collection/#owners-dependents
    """
    metadata = warm["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
    return {"metadata": {"ownerReferences": [owner]}}


def is_of_key(job: Manifest) -> bool:
    """Whether it only stands for a key, whose run is somewhere else."""
    return KEY_OF in job["metadata"]["labels"]


def warm_job_of(job: Manifest) -> str:
    """Where the run of a key's Job is, or is to be: the warm Job's name; empty where it says nothing."""
    return str(job["metadata"]["annotations"].get(_RUNS_IN, ""))


def is_bound(job: Manifest) -> bool:
    """Whether Kubernetes removes a key's Job with the one that its run is in."""
    return bool(job["metadata"].get("ownerReferences"))


def is_run_of_key(warm: Manifest | None, job: Manifest) -> bool:
    """Whether the warm Job was claimed for the run of that key's Job."""
    run_id = job["metadata"]["labels"].get(KEY_OF)
    return warm is not None and run_id is not None and warm["metadata"]["labels"].get(RUN) == run_id


def was_warm(name: str) -> bool:
    """Whether the Job of that name was made before its run."""
    return name.startswith(_NAME)


def waits(thing: Manifest) -> bool:
    """Whether a Job or a pod is one that nobody has claimed."""
    return WARM in thing["metadata"]["labels"]


def is_ready(job: Manifest, pod: Manifest | None) -> bool:
    """Whether a run can have the waiting Job's pod: all of it is up, and nobody takes it away."""
    return pod is not None and podstate.has_started(pod) and not is_lost(job, pod) and podstate.is_ready(pod)


def is_lost(job: Manifest, pod: Manifest | None) -> bool:
    """Whether a waiting Job will have no pod that waits any more."""
    things: list[Any] = [job] if pod is None else [job, pod]
    over = any(
        condition["type"] in _OVER and condition["status"] == "True"
        for thing in things
        for condition in thing.get("status", {}).get("conditions", ())
    )
    going = any("deletionTimestamp" in thing["metadata"] for thing in things)
    return over or going or (pod is not None and podstate.terminated(pod) is not None)
