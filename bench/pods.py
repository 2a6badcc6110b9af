"""The floors on a cluster: what the same containers take without the service."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from k8s_mcp.cluster.client import Api
from k8s_mcp.cluster.gate_file import FIRST_PORT, gate_file
from k8s_mcp.cluster.objects import RUNNER_CONTAINER, PodTemplate, make_pod_spec

PODS, JOBS, SECRETS = "/api/v1/pods", "/apis/batch/v1/jobs", "/api/v1/secrets"
_LOG = "/api/v1/pods:log"
_SILENCE = 120.0
LABEL = "k8s-mcp-bench"
SELECTION = {"labelSelector": LABEL}

Manifest = dict[str, Any]


def secret(name: str, kubeconfig: str) -> Manifest:
    """The files of a run, as the service would make them."""
    files = {
        "id": "0" * 32,
        "command": "echo ready",
        "timeout": "60",
        "stdin": "",
        "kubeconfig": kubeconfig,
        "proxies": str(FIRST_PORT),
        "credentials": kubeconfig,
        "gate": gate_file(["first"], [{"name": "bench", "access": "full", "secrets": "full"}]),
    }
    return {"metadata": {"name": name, "labels": {LABEL: ""}}, "immutable": True, "stringData": files}


def pod(name: str, template: PodTemplate, command: Sequence[str] = ()) -> Manifest:
    """A runner pod without a Job, with `command` in the runner's place if there is one."""
    spec = make_pod_spec(name, template)
    if command:
        spec["containers"][0] |= {"command": list(command), "args": []}
    return {"metadata": {"name": name, "labels": {LABEL: ""}}, "spec": spec}


def job(name: str, template: PodTemplate, *, isolated: bool) -> Manifest:
    """A Job with a runner pod; not `isolated`, with nothing in it but a shell: no Secret, no sidecar."""
    spec = make_pod_spec(LABEL, template)
    if not isolated:
        spec["containers"][0] |= {"command": ["bash", "-c", "echo ready"], "args": [], "volumeMounts": []}
        spec |= {"initContainers": [], "volumes": []}
    labels = {LABEL: ""}
    template_ = {"metadata": {"labels": labels}, "spec": spec}
    return {"metadata": {"name": name, "labels": labels}, "spec": {"backoffLimit": 0, "template": template_}}


def printing_pod(name: str, times: int, template: PodTemplate) -> Manifest:
    """An ordinary pod that prints the text in the Secret of its name many times over, with no limits on it."""
    manifest = pod(name, template, ["bash", "-c", f"for i in $(seq {times}); do cat /text/text; done"])
    spec = manifest["spec"]
    spec |= {"initContainers": [], "volumes": [{"name": "text", "secret": {"secretName": name}}]}
    spec["containers"][0] |= {"resources": {}, "volumeMounts": [{"name": "text", "mountPath": "/text"}]}
    return manifest


async def time_to_first_log(api: Api, files: Manifest, manifest: Manifest) -> float:
    """Create the Secret and the pod, follow its log as soon as it has one; seconds until the first byte."""
    name = manifest["metadata"]["name"]
    start = time.perf_counter()
    await api.create(SECRETS, files)
    await api.create(PODS, manifest)
    await until_running(api, name)
    params = {"container": RUNNER_CONTAINER, "follow": "true"}
    async with api.stream("get", _LOG, name, params, _SILENCE) as content:
        await content.readany()
    taken = time.perf_counter() - start
    await remove_all(api)
    return taken


async def time_to_complete(api: Api, jobs: Sequence[Manifest]) -> float:
    """Create all the Jobs at once; seconds until the last one is complete."""
    start = time.perf_counter()
    await asyncio.gather(*(api.create(JOBS, one) for one in jobs))
    complete = set[str]()
    async with aclosing(changes(api, JOBS, SELECTION)) as stream:
        async for change in stream:
            if change["object"].get("status", {}).get("succeeded"):
                complete.add(change["object"]["metadata"]["name"])
            if len(complete) == len(jobs):
                break
    taken = time.perf_counter() - start
    await remove_all(api)
    return taken


async def until_running(api: Api, name: str) -> None:
    """Until the pod's runner container has started."""
    async with aclosing(changes(api, PODS, {"fieldSelector": f"metadata.name={name}"})) as stream:
        async for change in stream:
            for status in change["object"].get("status", {}).get("containerStatuses", ()):
                if status["name"] == RUNNER_CONTAINER and status["state"].keys() & {"running", "terminated"}:
                    return


async def remove_all(api: Api) -> None:
    """Everything that was made here, and wait until its pods are gone."""
    for path in (JOBS, PODS, SECRETS):
        for item in (await api.list(path, SELECTION))["items"]:
            await api.delete(path, item["metadata"]["name"], grace=0)
    await until_gone(api)


async def until_gone(api: Api, selection: dict[str, str] | None = None) -> None:
    """Until the namespace has no pod, or none that is selected so."""
    listed = await api.list(PODS, selection or {})
    there = {item["metadata"]["name"] for item in listed["items"]}
    if not there:
        return
    since = {"resourceVersion": listed["metadata"]["resourceVersion"]}  # one that goes meanwhile is seen going
    async with aclosing(changes(api, PODS, {**(selection or {}), **since})) as stream:
        async for change in stream:
            name = change["object"]["metadata"]["name"]
            there.discard(name) if change["type"] == "DELETED" else there.add(name)
            if not there:
                return


async def changes(api: Api, path: str, params: dict[str, str]) -> AsyncGenerator[Any]:
    """What is there, and then what changes."""
    rest = b""
    async with api.stream("watch", path, "", {**params, "watch": "true"}, _SILENCE) as content:
        async for data, _ in content.iter_chunks():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield json.loads(line)
