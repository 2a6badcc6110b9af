"""The objects of a run: hardened, bounded, as the operator chose, and with nothing in them that is the caller's."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

import pytest

from k8s_mcp.cluster.leases import make_lease
from k8s_mcp.cluster.objects import (
    MANAGED_BY,
    MANAGER,
    PROXY_CONTAINER,
    RUN,
    RUNNER_CONTAINER,
    PodTemplate,
    make_job,
    make_pod_spec,
    make_secret,
    read_run,
)
from k8s_mcp.cluster.run_files import run_files
from k8s_mcp.cluster.sizes import file_size, log_rate
from k8s_mcp.cluster.verdict import Verdict, read_verdict, written
from k8s_mcp.models import Access, Ended, RunSpec
from k8s_mcp.runner.supervise import BURST

TEMPLATE = PodTemplate(image="registry.example.com/runner:1")
ISOLATION = pytest.mark.parametrize("isolation", [True, False])
SPEC = RunSpec(
    run_id="0123456789abcdef" * 2,
    name="run-0123",
    owner="owner-hash",
    digest="request-hash",
    server="https://192.0.2.1:6443",
    timeout=300,
    created="2026-05-04T10:00:00.000Z",
    command="echo marker-command",
    stdin="marker-stdin",
    kubeconfig="marker-kubeconfig",
    proxied_kubeconfig="marker-proxied",
    contexts=("marker-context", "another"),
    rule="readers (line 4)",
)


def job(template: PodTemplate = TEMPLATE) -> Any:
    return make_job(SPEC, "replica-1", template)


def containers(template: PodTemplate = TEMPLATE) -> Iterator[Any]:
    spec = make_pod_spec("run-0123", template)
    yield from spec["containers"]
    yield from spec.get("initContainers", ())


def container(name: str, template: PodTemplate = TEMPLATE) -> Any:
    return next(one for one in containers(template) if one["name"] == name)


# The pod is what the Pod Security Standard "restricted" asks for, and more


@ISOLATION
def test_pod_and_containers_are_restricted(isolation: bool) -> None:
    template = replace(TEMPLATE, isolation=isolation)
    pod = make_pod_spec("run-0123", template)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"}
    names = [one["name"] for one in containers(template)]
    assert names == ([RUNNER_CONTAINER, PROXY_CONTAINER] if isolation else [RUNNER_CONTAINER])
    for one in containers(template):
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not any("hostPort" in port for port in one.get("ports", ()))


@ISOLATION
def test_pod_has_no_account_token_and_no_service_links(isolation: bool) -> None:
    pod = make_pod_spec("run-0123", replace(TEMPLATE, isolation=isolation))
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert {next(key for key in volume if key != "name") for volume in pod["volumes"]} == {"secret", "emptyDir"}


def test_every_container_is_bounded() -> None:
    for one in containers():
        assert one["resources"]["limits"].keys() == {"cpu", "memory", "ephemeral-storage"}


def test_only_tmp_is_writable_and_it_is_bounded_memory() -> None:
    pod = make_pod_spec("run-0123", TEMPLATE)
    tmp = next(volume for volume in pod["volumes"] if "emptyDir" in volume)
    assert tmp["emptyDir"] == {"medium": "Memory", "sizeLimit": TEMPLATE.tmp_size}
    for one in containers():
        writable = [mount["mountPath"] for mount in one["volumeMounts"] if not mount.get("readOnly")]
        assert writable == (["/tmp"] if one["name"] == RUNNER_CONTAINER else [])


@pytest.mark.parametrize("access", get_args(Access))
def test_rules_come_with_the_secret_and_the_pod_is_the_same(access: Access) -> None:
    rule = {"name": "r", "access": access, "secrets": "masked"}
    spec = replace(SPEC, access=access, gate_rules=(rule,))
    assert json.loads(run_files(spec, isolation=True)["gate"])["rules"] == [rule]
    made = make_job(spec, "replica-1", TEMPLATE)
    assert made["spec"] == job()["spec"]
    assert told_of(made).access == access


def test_access_of_a_job_that_names_none_we_know_is_read_only() -> None:
    made = make_job(replace(SPEC, access="full"), "replica-1", TEMPLATE)
    made["metadata"]["annotations"]["k8s-mcp-server/access"] = "something newer"
    assert told_of(made).access == "read_only"


def told_of(made: dict[str, Any]) -> RunSpec:
    told = read_run(made)
    assert told is not None
    return told


# Nothing of the caller's


@ISOLATION
def test_job_holds_neither_command_nor_credential(isolation: bool) -> None:
    assert "marker-" not in json.dumps(job(replace(TEMPLATE, isolation=isolation)))


def test_with_isolation_the_credential_is_mounted_for_the_proxy_alone() -> None:
    files = run_files(SPEC, isolation=True)
    pod = make_pod_spec("run-0123", TEMPLATE)
    secrets = {volume["name"]: volume["secret"] for volume in pod["volumes"] if "secret" in volume}
    mounted = {
        one["name"]: {item["key"] for mount in one["volumeMounts"] for item in _items(secrets, mount["name"])}
        for one in containers()
    }
    with_credential = {key for key, content in files.items() if content == SPEC.kubeconfig}
    assert with_credential == {"credentials"}
    assert mounted[RUNNER_CONTAINER].isdisjoint(with_credential)
    assert mounted[PROXY_CONTAINER] == {"credentials", "gate"}
    assert mounted[RUNNER_CONTAINER] | mounted[PROXY_CONTAINER] == files.keys()


def _items(secrets: dict[str, Any], volume: str) -> list[Any]:
    return secrets[volume]["items"] if volume in secrets else []


def test_without_isolation_every_file_of_the_secret_is_mounted() -> None:
    template = replace(TEMPLATE, isolation=False)
    pod = make_pod_spec("run-0123", template)
    items = [item["key"] for volume in pod["volumes"] for item in volume.get("secret", {}).get("items", ())]
    assert set(items) == run_files(SPEC, isolation=False).keys()


def test_files_of_the_run_are_readable_for_its_group_only() -> None:
    volumes = make_pod_spec("run-0123", TEMPLATE)["volumes"]
    assert {volume["secret"]["defaultMode"] for volume in volumes if "secret" in volume} == {0o440}


# The Job


def test_job_begins_suspended_and_never_runs_twice() -> None:
    spec = job()["spec"]
    assert spec["suspend"] is True
    assert (spec["backoffLimit"], spec["completions"], spec["parallelism"]) == (0, 1, 1)
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["podFailurePolicy"]["rules"] == [
        {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    ]
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_the_runner_times_out_before_the_job() -> None:
    spec = job()["spec"]
    assert spec["activeDeadlineSeconds"] > SPEC.timeout + TEMPLATE.grace + TEMPLATE.start_timeout
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] > TEMPLATE.grace


def test_job_and_pod_are_labelled_as_ours_and_expire() -> None:
    labels = {MANAGED_BY: MANAGER, RUN: SPEC.run_id}
    assert job()["metadata"]["labels"] == labels
    assert job()["spec"]["template"]["metadata"]["labels"] == labels
    assert job()["spec"]["ttlSecondsAfterFinished"] > 0


def test_a_job_tells_any_replica_what_it_needs_to_go_on() -> None:
    told = told_of(job())
    kept = ("run_id", "name", "owner", "digest", "server", "timeout", "created", "rule")
    assert [getattr(told, name) for name in kept] == [getattr(SPEC, name) for name in kept]
    assert (told.command, told.kubeconfig, told.stdin) == ("", "", None)


def test_a_foreign_job_with_our_label_is_not_taken_for_a_run() -> None:
    assert read_run({"metadata": {"name": "job", "labels": {MANAGED_BY: MANAGER}}}) is None


@pytest.mark.parametrize(
    ("annotation", "value"), [("timeout", "soon"), ("created", "yesterday"), ("max-output", "much"), ("owner", None)]
)
def test_a_job_whose_annotations_somebody_has_spoilt_is_not_taken_for_a_run(
    annotation: str, value: str | None
) -> None:
    made = job()
    made["metadata"]["annotations"][f"k8s-mcp-server/{annotation}"] = value
    if value is None:
        del made["metadata"]["annotations"][f"k8s-mcp-server/{annotation}"]
    assert read_run(made) is None


@ISOLATION
def test_a_job_says_how_it_was_made(*, isolation: bool) -> None:
    assert told_of(make_job(SPEC, "replica-1", replace(TEMPLATE, isolation=isolation))).isolated is isolation


@pytest.mark.parametrize(
    "ended",
    [Ended("error", None, "StartTimeout", "why"), Ended("error", 137, "OOMKilled", "x"), Ended("done", 3)],
)
def test_an_owner_s_verdict_is_read_as_it_was_written(ended: Ended) -> None:
    assert read_verdict(written(Verdict(ended, 7))) == Verdict(ended, 7)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[]", "null", '"x"', '{"status": 1}'),
        '{"status": "fine", "exit_code": 0, "reason": "", "message": "", "output": 0}',
        '{"status": "done", "exit_code": 0, "reason": "", "message": ""}',
    ],
)
def test_what_is_no_verdict_is_none(text: str) -> None:
    assert read_verdict(text) is None


# Secret and Lease


def test_secret_belongs_to_its_job_and_cannot_be_changed() -> None:
    secret = make_secret("run-0123", SPEC.run_id, "job-uid", {"command": "echo 東京"})
    assert secret["metadata"]["ownerReferences"] == [
        {"apiVersion": "batch/v1", "kind": "Job", "name": "run-0123", "uid": "job-uid"}
    ]
    assert secret["immutable"] is True
    assert secret["metadata"]["labels"] == {MANAGED_BY: MANAGER, RUN: SPEC.run_id}
    assert base64.b64decode(secret["data"]["command"]).decode() == "echo 東京"


def test_lease_is_labelled_and_says_for_how_long() -> None:
    lease = make_lease("replica-1", 30)
    assert lease["metadata"]["labels"] == {MANAGED_BY: MANAGER}
    assert lease["spec"]["holderIdentity"] == "replica-1"
    assert lease["spec"]["leaseDurationSeconds"] == 30


# What the operator chose


def test_settings_are_honoured() -> None:
    template = PodTemplate(
        image="image:1",
        image_pull_policy="Always",
        image_pull_secrets=("one", "two"),
        cpu_request="1m",
        cpu_limit="2",
        memory_request="3Mi",
        memory_limit="4Gi",
        storage_limit="5Gi",
        tmp_size="6Mi",
        node_selector={"pool": "runners"},
        tolerations=({"key": "runners", "operator": "Exists"},),
        priority_class="low",
        runtime_class="gvisor",
        service_account="runner",
        grace=7,
    )
    pod = make_pod_spec("run-0123", template)
    runner = container(RUNNER_CONTAINER, template)
    assert {one["image"] for one in containers(template)} == {"image:1"}
    assert {one["imagePullPolicy"] for one in containers(template)} == {"Always"}
    assert pod["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}]
    assert runner["resources"]["limits"] == {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "5Gi"}
    assert runner["resources"]["requests"].items() >= {"cpu": "1m", "memory": "3Mi"}.items()
    assert pod["nodeSelector"] == {"pool": "runners"}
    assert pod["tolerations"] == [{"key": "runners", "operator": "Exists"}]
    assert pod["priorityClassName"] == "low"
    assert pod["runtimeClassName"] == "gvisor"
    assert pod["serviceAccountName"] == "runner"
    assert "--grace=7" in runner["args"]


def test_what_the_operator_left_open_is_not_in_the_pod() -> None:
    pod = make_pod_spec("run-0123", TEMPLATE)
    assert not pod.keys() & {
        "imagePullSecrets",
        "nodeSelector",
        "tolerations",
        "priorityClassName",
        "runtimeClassName",
    }


@pytest.mark.parametrize("limit", ["128Mi", "256Mi", "1Gi", "1.5G", "2000000000"])
def test_five_log_files_at_the_runners_rate_stay_under_the_storage_limit(limit: str) -> None:
    size = float(limit.rstrip("MGi")) * {"Mi": 2**20, "Gi": 2**30, "G": 10**9, "": 1}[limit.lstrip("0.123456789")]
    one_file = 10 * 2**20 + 10 * log_rate(limit)
    assert 5 * one_file <= size
    assert one_file + BURST <= size


def test_a_storage_limit_that_cannot_be_kept_slows_the_runner_down_but_not_to_nothing() -> None:
    assert 0 < log_rate("1Mi") < log_rate("128Mi")
    assert log_rate("not a quantity") > 0


def test_a_file_may_be_as_large_as_tmp_and_standard_input() -> None:
    assert file_size("128Mi") == 128 * 2**20
    assert file_size("1k") == file_size("not a quantity") == 2**20
    [runner] = make_pod_spec("run-0123", replace(TEMPLATE, tmp_size="64Mi"))["containers"]
    assert f"--file-size={64 * 2**20}" in runner["args"]
