"""A pod that cannot start: the client hears why, in Kubernetes' own words, and nothing is left afterwards."""

import json
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest

from tests.e2e.place import IMAGE, Json, Place
from tests.support.client import Client
from tests.support.service import Service, StartService, wait_for

pytestmark = pytest.mark.cluster

START_TIMEOUT = 3.0
REFUSED: Json = {  # a pod spec that only the policies below have something against
    "nodeSelector": {"refused": "yes"},
    "restartPolicy": "Never",
    "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "main",
            "image": IMAGE,
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
}
ClientOf = Callable[[Service], Client]


@pytest.fixture
def start(serve_kubernetes: StartService) -> StartService:
    """A service that waits for pods a short time only."""

    def start_with(**changed: object) -> Service:
        return serve_kubernetes(start_timeout=START_TIMEOUT, **changed)

    return start_with


async def fails_to_start(client: Client, place: Place) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The `pending` events and the final one of a run that ends at the start deadline."""
    began = time.monotonic()
    seen = await client.run("echo never", timeout=1)
    took = time.monotonic() - began
    assert seen.stdout == seen.stderr == []
    assert seen.final["status"] == "error"
    assert seen.final["exit_code"] is None
    assert seen.final["message"].startswith(f"not started within {START_TIMEOUT:g} s: ")
    assert START_TIMEOUT <= took < START_TIMEOUT + 4
    await place.nothing_left(seen.run_id)
    pending = seen.controls[1:-1]
    assert pending
    assert {event["status"] for event in pending} == {"pending"}
    assert seen.final["reason"] in [event["reason"] for event in pending]
    assert len({event["reason"] for event in pending}) == len(pending), "one event for each reason"
    return pending, seen.final


def said(events: list[dict[str, Any]], reason: str) -> str:
    """What was said with that reason."""
    return next(event["message"] for event in events if event["reason"] == reason)


async def test_image_that_cannot_be_pulled(start: StartService, client_of: ClientOf, place: Place) -> None:
    service = start(runner_image="registry.invalid/k8s-mcp-test/missing:1")
    async with client_of(service) as client:
        events, final = await fails_to_start(client, place)
    assert "missing:1" in said(events, "ErrImagePull")
    assert final["reason"] in {"ErrImagePull", "ImagePullBackOff"}


async def test_image_that_may_not_be_pulled(start: StartService, client_of: ClientOf, place: Place) -> None:
    service = start(runner_image="k8s-mcp-test/missing:1", runner_image_pull_policy="Never")
    async with client_of(service) as client:
        events, _ = await fails_to_start(client, place)
    assert "missing:1" in said(events, "ErrImageNeverPull")


async def test_no_node_fits(start: StartService, client_of: ClientOf, place: Place) -> None:
    service = start(runner_node_selector=json.dumps({"k8s-mcp-test/no-such": "node"}))
    async with client_of(service) as client:
        events, final = await fails_to_start(client, place)
    assert "node" in said(events, "Unschedulable")
    assert final["reason"] in {"Unschedulable", "FailedScheduling"}


@contextmanager
def quota(place: Place, **hard: str) -> Generator[None]:
    """A ResourceQuota in the namespace of runner pods, in force."""
    where = f"--namespace={place.namespace}"
    limits = {name.replace("_", "."): value for name, value in hard.items()}
    manifest = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tight"}, "spec": {"hard": limits}}
    place.kubectl("create", where, "--filename=-", stdin=json.dumps(manifest))
    try:
        used = ("get", "resourcequota/tight", where, "--output=jsonpath={.status.used}")
        wait_for(lambda: place.kubectl(*used), what="the quota to be in force")
        yield
    finally:
        place.kubectl("delete", "resourcequota/tight", where)


async def test_quota_exceeded(start: StartService, client_of: ClientOf, place: Place) -> None:
    service = start()
    with quota(place, pods="0"):
        async with client_of(service) as client:
            events, final = await fails_to_start(client, place)
    assert "exceeded quota: tight" in said(events, "FailedCreate")
    assert final["reason"] == "FailedCreate"


async def test_quota_without_room_for_the_secret(start: StartService, client_of: ClientOf, place: Place) -> None:
    """The Job is there already; it must not stay."""
    service = start()
    with quota(place, secrets="0"):
        async with client_of(service) as client:
            seen = await client.run("echo never")
    assert (seen.final["status"], seen.final["exit_code"]) == ("error", None)
    assert seen.final["reason"] == "Forbidden"
    assert "exceeded quota: tight" in seen.final["message"]
    await place.nothing_left(seen.run_id)


async def test_admission_refuses_the_pod(start: StartService, client_of: ClientOf, place: Place) -> None:
    """Such as a priority class that does not exist."""
    service = start(runner_priority_class="no-such-class")
    async with client_of(service) as client:
        events, _ = await fails_to_start(client, place)
    assert "no-such-class" in said(events, "FailedCreate")


@contextmanager
def policy(place: Place, resource: Json, refuse: str, message: str) -> Generator[None]:
    """A ValidatingAdmissionPolicy for the namespace of runner pods, in force."""
    name = f"{place.namespace}-{resource['resources'][0]}"
    objects = [
        {
            "kind": "ValidatingAdmissionPolicy",
            "spec": {
                "matchConstraints": {"resourceRules": [{"operations": ["CREATE"], **resource}]},
                "validations": [{"expression": f"!({refuse})", "message": message}],
            },
        },
        {
            "kind": "ValidatingAdmissionPolicyBinding",
            "spec": {
                "policyName": name,
                "validationActions": ["Deny"],
                "matchResources": {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": place.namespace}}
                },
            },
        },
    ]
    common = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    manifests = "\n---\n".join(json.dumps({**common, **one}) for one in objects)
    place.kubectl("apply", "--filename=-", stdin=manifests)
    try:
        yield
    finally:
        place.kubectl("delete", "--filename=-", stdin=manifests)


async def test_policy_refuses_the_pod(start: StartService, client_of: ClientOf, place: Place) -> None:
    service = start(runner_node_selector=json.dumps({"refused": "yes"}))
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
    spec = 'has(object.spec.nodeSelector) && "refused" in object.spec.nodeSelector'
    with policy(place, pods, spec, "this company has no such nodes"):
        await in_force(place, {"apiVersion": "v1", "kind": "Pod", "spec": REFUSED})
        async with client_of(service) as client:
            events, _ = await fails_to_start(client, place)
    assert "this company has no such nodes" in said(events, "FailedCreate")


async def in_force(place: Place, refused: Json) -> None:
    """Wait until a policy refuses that object."""
    manifest = {**refused, "metadata": {"generateName": "probe-"}}
    dry_run = ("create", f"--namespace={place.namespace}", "--dry-run=server", "--filename=-")
    with anyio.fail_after(30):
        while True:
            try:
                await place.akubectl(*dry_run, stdin=json.dumps(manifest))
            except AssertionError as error:
                if "ValidatingAdmissionPolicy" in str(error):
                    return
            await anyio.sleep(0.1)


async def test_policy_refuses_the_job(start: StartService, client_of: ClientOf, place: Place) -> None:
    service = start(runner_node_selector=json.dumps({"refused": "yes"}))
    jobs = {"apiGroups": ["batch"], "apiVersions": ["v1"], "resources": ["jobs"]}
    spec = 'has(object.spec.template.spec.nodeSelector) && "refused" in object.spec.template.spec.nodeSelector'
    with policy(place, jobs, spec, "this company has no such Jobs"):
        await in_force(place, {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": REFUSED}}})
        async with client_of(service) as client:
            seen = await client.run("echo never")
    assert (seen.final["status"], seen.final["exit_code"]) == ("error", None)
    assert seen.final["reason"] in {"Invalid", "Forbidden"}
    assert "this company has no such Jobs" in seen.final["message"]
    await place.nothing_left(seen.run_id)


async def test_image_without_the_runner(start: StartService, client_of: ClientOf, place: Place) -> None:
    service = start(runner_image=IMAGE, credential_isolation=False)
    async with client_of(service) as client:
        seen = await client.run("echo never")
    assert (seen.final["status"], seen.final["reason"]) == ("error", "StartError")
    assert "python3" in seen.final["message"]
    await place.nothing_left(seen.run_id)


async def test_image_without_the_proxy(start: StartService, client_of: ClientOf, place: Place) -> None:
    service = start(runner_image=IMAGE)
    async with client_of(service) as client:
        events, _ = await fails_to_start(client, place)
    assert {event["reason"] for event in events} & {"RunContainerError", "CrashLoopBackOff", "StartError"}


async def test_waiting_for_a_node_does_not_count_in_the_timeout(
    serve_kubernetes: StartService, client_of: ClientOf, place: Place
) -> None:
    label = f"{place.namespace}/late"
    service = serve_kubernetes(runner_node_selector=json.dumps({label: "yes"}))
    async with client_of(service) as client, client.stream("echo ran; sleep 0.5; echo end", timeout=2) as stream:
        await stream.first("control")
        assert (await stream.first("control")).control["reason"] in {"Unschedulable", "FailedScheduling"}
        await anyio.sleep(2.5)  # longer than the timeout
        await place.akubectl("label", "nodes", "--all", f"{label}=yes")
        try:
            seen = await stream.to_end()
        finally:
            await place.akubectl("label", "nodes", "--all", f"{label}-")
    assert seen.stdout == ["ran", "end"]
    assert seen.final == {"status": "done", "exit_code": 0}


async def test_cancelled_while_pending(serve_kubernetes: StartService, client_of: ClientOf, place: Place) -> None:
    service = serve_kubernetes(runner_node_selector=json.dumps({"k8s-mcp-test/no-such": "node"}))
    async with client_of(service) as client, client.stream("echo never") as stream:
        started, pending = await stream.first("control"), await stream.first("control")
        assert pending.control["status"] == "pending"
        await client.cancel(started.control["run_id"])
        seen = await stream.to_end()
    assert seen.final == {"status": "cancelled", "exit_code": None}
    await place.nothing_left(seen.run_id)
