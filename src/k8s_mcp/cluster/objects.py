"""The Kubernetes objects of a run, as plain data. No I/O.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/
https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from k8s_mcp.cluster.sizes import file_size, log_rate
from k8s_mcp.models import Access, RunSpec

Manifest = dict[str, Any]

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "k8s-mcp-server"
RUN = "k8s-mcp-server/run"
REPLICA = "k8s-mcp-server/replica"
CANCELLED = "k8s-mcp-server/cancelled"
ENDED = "k8s-mcp-server/ended"
UNTIL_READ = "k8s-mcp-server/until-read"
FOLLOWED = "k8s-mcp-server/followed"
AWAITED = "k8s-mcp-server/awaited"
_OWNER = "k8s-mcp-server/owner"
_PRINCIPAL = "k8s-mcp-server/principal"
_DIGEST = "k8s-mcp-server/request"
_SERVER = "k8s-mcp-server/server"
_TIMEOUT = "k8s-mcp-server/timeout"
_CREATED = "k8s-mcp-server/created"
_ACCESS = "k8s-mcp-server/access"
_SERVERS = "k8s-mcp-server/servers"
_MAX_OUTPUT = "k8s-mcp-server/max-output"
_RULE = "k8s-mcp-server/rule"
_ISOLATION = "k8s-mcp-server/isolation"
_KEY = "k8s-mcp-server/key"
RUNNER_CONTAINER = "runner"
PROXY_CONTAINER = "credential-proxy"

_USER = 65532
_RUN_FILES = "/run/k8s-mcp/run"
_WORK = "/tmp"  # noqa: S108 - the pod's own, in memory
_RUN_KEYS = ("id", "command", "timeout", "stdin", "kubeconfig", "proxies")
_CREDENTIAL_FILES = "/run/k8s-mcp/credentials"
_RUNNER = ("python3", "-I", "-S", "/opt/k8s-mcp/k8s_mcp/runner/__main__.py")
_GATE = "/opt/k8s-mcp/gate"
_STORAGE_REQUEST = "16Mi"  # the log of nearly every command; without a request the scheduler counts the limit
_GATE_STORAGE = "64Mi"  # its record: five log files, see log_rate
SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
_DEADLINE_MARGIN = 60  # the runner's own timeout comes first; this one is for a runner that hangs


@dataclass(frozen=True)
class PodTemplate:
    """What an operator chooses about runner pods."""

    image: str
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    cpu_request: str = "50m"
    cpu_limit: str = "1"
    memory_request: str = "64Mi"
    memory_limit: str = "512Mi"
    storage_limit: str = "256Mi"
    tmp_size: str = "128Mi"
    node_selector: Mapping[str, str] = field(default_factory=dict[str, str])
    tolerations: tuple[Mapping[str, object], ...] = ()
    priority_class: str = ""
    runtime_class: str = ""
    service_account: str = "default"
    isolation: bool = True
    grace: float = 5
    start_timeout: float = 60
    ttl: int = 300


def make_job(run: RunSpec, replica: str, template: PodTemplate) -> Manifest:
    """A suspended Job for one run. The command and the kubeconfig are not in it: they come with the Secret."""
    labels = {MANAGED_BY: MANAGER, RUN: run.run_id}
    metadata = {"name": run.name, "labels": labels, "annotations": run_annotations(run, replica, template)}
    pod = {"metadata": {"labels": labels, "annotations": {SAFE_TO_EVICT: "false"}}}
    pod["spec"] = make_pod_spec(run.name, template)
    return single_job(metadata, pod, template, suspend=True, deadline=deadline_of(run, template))


def single_job(metadata: Manifest, pod: Manifest, template: PodTemplate, *, suspend: bool, deadline: int) -> Manifest:
    """A Job that has one pod, once; `deadline` in seconds from its start."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "suspend": suspend,
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            # A command must never run twice: no second pod while the first may live, none after a lost node.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "activeDeadlineSeconds": deadline,
            "ttlSecondsAfterFinished": template.ttl,
            "template": pod,
        },
    }


def deadline_of(run: RunSpec, template: PodTemplate) -> int:
    """Seconds in which a run's Job is over, one whose runner hangs excepted."""
    return int(run.timeout + template.grace + template.start_timeout) + _DEADLINE_MARGIN


def run_annotations(run: RunSpec, replica: str, template: PodTemplate) -> dict[str, str]:
    """What a Job says of the run that it is for, and of the replica that carries it out."""
    annotations = {
        REPLICA: replica,
        _OWNER: run.owner,
        _PRINCIPAL: run.principal,
        _DIGEST: run.digest,
        _SERVER: run.server,
        _TIMEOUT: str(run.timeout),
        _CREATED: run.created,
        _ACCESS: run.access,
        _SERVERS: " ".join(run.servers),
        _RULE: run.rule,
        _ISOLATION: "on" if template.isolation else "off",
    }
    if run.max_output is not None:
        annotations[_MAX_OUTPUT] = str(run.max_output)
    if run.key:
        annotations[_KEY] = run.key
    return annotations


def read_run(job: Manifest) -> RunSpec | None:
    """The run that a Job was made for, as far as the Job tells: without command and kubeconfig.

    None for a Job that tells of none, or of one in a way that no replica of ours writes.
    """
    metadata = job["metadata"]
    annotations: dict[str, str] = metadata.get("annotations") or {}
    try:
        datetime.fromisoformat(annotations[_CREATED])
        return RunSpec(
            run_id=metadata["labels"][RUN],
            name=metadata["name"],
            owner=annotations[_OWNER],
            digest=annotations[_DIGEST],
            server=annotations[_SERVER],
            timeout=int(annotations[_TIMEOUT]),
            created=annotations[_CREATED],
            access=_access(annotations.get(_ACCESS, "full")),
            ended=annotations.get(ENDED, ""),
            servers=tuple(annotations.get(_SERVERS, annotations[_SERVER]).split()),
            max_output=int(annotations[_MAX_OUTPUT]) if _MAX_OUTPUT in annotations else None,
            rule=annotations.get(_RULE, ""),
            isolated=annotations.get(_ISOLATION) == "on",
            principal=annotations.get(_PRINCIPAL, ""),
            key=annotations.get(_KEY, ""),
        )
    except (KeyError, ValueError):
        return None


def make_pod_spec(secret: str, template: PodTemplate, *, waits: bool = False) -> Manifest:
    """The pod of a run whose files are in the Secret of that name; `waits`, if there is none yet: for a warm pod."""
    spec: Manifest = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "serviceAccountName": template.service_account,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": int(template.grace) + 5,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_runner(template, waits)],
        "volumes": [
            _secret_volume("run", secret, _RUN_KEYS, optional=waits),
            {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": template.tmp_size}},
        ],
    }
    if template.isolation:
        spec["initContainers"] = [_proxy(template)]
        spec["volumes"].append(_secret_volume("credentials", secret, ("credentials", "gate"), optional=waits))
    if template.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in template.image_pull_secrets]
    if template.node_selector:
        spec["nodeSelector"] = dict(template.node_selector)
    if template.tolerations:
        spec["tolerations"] = [dict(toleration) for toleration in template.tolerations]
    if template.priority_class:
        spec["priorityClassName"] = template.priority_class
    if template.runtime_class:
        spec["runtimeClassName"] = template.runtime_class
    return spec


def make_secret(name: str, run_id: str, job_uid: str, files: Mapping[str, str]) -> Manifest:
    """The run's files, immutable, owned by its Job: whoever deletes the Job takes the Secret along."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "labels": {MANAGED_BY: MANAGER, RUN: run_id},
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job_uid}],
        },
        "immutable": True,
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in files.items()},
    }


def _runner(template: PodTemplate, waits: bool) -> Manifest:
    return {
        "name": RUNNER_CONTAINER,
        "image": template.image,
        "imagePullPolicy": template.image_pull_policy,
        "command": [*_RUNNER],
        "args": [
            f"--run={_RUN_FILES}",
            f"--work={_WORK}",
            f"--grace={template.grace:g}",
            f"--rate={log_rate(template.storage_limit)}",
            f"--file-size={file_size(template.tmp_size)}",
            "--termination-log=/dev/termination-log",
            *(["--wait=yes"] if waits else []),
        ],
        "workingDir": _WORK,
        "resources": {
            "requests": {
                "cpu": template.cpu_request,
                "memory": template.memory_request,
                "ephemeral-storage": _STORAGE_REQUEST,
            },
            "limits": {
                "cpu": template.cpu_limit,
                "memory": template.memory_limit,
                "ephemeral-storage": template.storage_limit,
            },
        },
        "securityContext": _container_security(),
        "volumeMounts": [
            {"name": "run", "mountPath": _RUN_FILES, "readOnly": True},
            {"name": "tmp", "mountPath": _WORK},
        ],
    }


def _proxy(template: PodTemplate) -> Manifest:
    return {
        "name": PROXY_CONTAINER,
        "image": template.image,
        "imagePullPolicy": template.image_pull_policy,
        "restartPolicy": "Always",
        "command": [_GATE, f"{_CREDENTIAL_FILES}/gate", f"{_CREDENTIAL_FILES}/kubeconfig"],
        "resources": {
            "requests": {"cpu": "10m", "memory": "16Mi"},
            "limits": {"cpu": template.cpu_limit, "memory": "256Mi", "ephemeral-storage": _GATE_STORAGE},
        },
        "securityContext": _container_security(),
        "volumeMounts": [{"name": "credentials", "mountPath": _CREDENTIAL_FILES, "readOnly": True}],
    }


def _access(value: str) -> Access:
    """Read-only where another version of the service wrote a word that this one does not know."""
    return value if value in ("full", "dry_run") else "read_only"


def _container_security() -> Manifest:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def _secret_volume(name: str, secret: str, keys: tuple[str, ...], *, optional: bool) -> Manifest:
    items = [{"key": key, "path": {"credentials": "kubeconfig"}.get(key, key)} for key in keys]
    volume: Manifest = {"secretName": secret, "defaultMode": 0o440, "items": items}
    return {"name": name, "secret": {**volume, "optional": True} if optional else volume}
